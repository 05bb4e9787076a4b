//! The step that takes longest: the swarm is started, watched, and asked about when it stands still.
//!
//! Decides when a standstill is worth a sentence. Never ends a download that may still come.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::catalog::{Catalog, Image};
use boottorrent_swarm::record::{PROGRESS, Params};

use super::cable::Cable;
use super::{Done, Failure, LOOK, Outcome};
use crate::directory::Directory;
use crate::download::{Download, Meter, Order, State, line};
use crate::image::{Plan, Shared};
use crate::kept::Kept;
use crate::memory::own_peak_kib;
use crate::worker::Boot;
use crate::{clock, mounts};

/// A swarm that gives no new piece for so long makes the node ask for a newer catalog.
const STALL: Duration = Duration::from_secs(30);
/// How long that question may take; the swarm goes on meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often the cable is looked at, and who else is there; and how often the master is told how far this is.
pub(super) const LOOK_AROUND: Duration = Duration::from_secs(1);
/// A worker that starts again may hold what nobody else has: those who lost their link to it wait up to this long before
/// they dial again (the fifth wait of a series that begins at 250 ms and doubles).
const COME_BACK: Duration = Duration::from_secs(8);

pub(in crate::stages) fn download(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    if boot.download.is_none() {
        start_download(boot, &image)?;
    }
    let mut cable = Cable::of(boot.current_lease()?.card);
    let download = boot.download.as_ref().ok_or_else(|| Failure::new("the download did not start"))?;
    let mut meter = Meter::default();
    let (mut pieces, mut moved_at) = (0, clock::now());
    let (mut look_at, mut nodes) = (clock::now(), Vec::new());
    let kept = Kept::of_this_boot();
    let state = loop {
        let state = match download.state() {
            Ok(state) => state,
            Err(error) => {
                boot.download = None;
                return Err(error.into());
            }
        };
        for note in download.notes() {
            boot.report.note("download", &note);
        }
        let now = clock::now();
        if let Some(progress) = &state.progress {
            let figures = meter.figures(now, &image.title, &state, progress);
            let line = line(&figures);
            boot.report.downloading(figures, &line);
            if progress.pieces_done != pieces {
                (pieces, moved_at) = (progress.pieces_done, now);
            }
        }
        if state.complete {
            break state;
        }
        if now >= look_at {
            look_at = now + LOOK_AROUND;
            boot.report.figures("download", figures(&state));
            cable.look(&boot.report, &boot.courier, "download")?;
            if state.nodes != nodes {
                nodes.clone_from(&state.nodes);
                kept.keep_nodes(&nodes);
            }
        }
        if now.saturating_sub(moved_at) >= STALL {
            stalled(boot, &image, &state)?;
            moved_at = clock::now();
        }
        clock::pause(LOOK);
    };
    Ok(summary(&state).with("agent_kib", own_peak_kib()))
}

fn start_download(boot: &mut Boot, image: &Image) -> Result<(), Failure> {
    let lease = boot.current_lease()?;
    let master = Boot::need(boot.master.as_ref(), "the master")?;
    let catalog = Boot::need(boot.catalog.as_ref(), "the catalog")?;
    let key = Boot::site_key()?;
    let deadline = clock::now() + STALL;
    let waiting = |text: &str| boot.report.progress(&format!("  {text}"));
    let directory = Directory { master, key: &key, deadline, waiting: &waiting };
    let kept = Kept::of_this_boot();
    let list = directory.pieces(image, &kept)?;
    let geometry = image.geometry()?;
    let verifier = Verifier::from_sha256_list(&list, geometry.pieces())
        .ok_or_else(|| Failure::new("the piece list is not for this image"))?;
    let plan = Plan::new(image, &boot.overlay)?;
    let laying = plan.lay(Path::new(mounts::IMAGE), image)?;
    let store = Box::new(Shared(Arc::clone(&laying.shelf)));
    let content = Arc::new(Content { geometry, store, verifier });
    // A worker that died leaves pieces behind. They are hashed again, not believed by a journal: what made it die may
    // have made it write nonsense, and a gigabyte takes a second or two.
    let good = if laying.found { check_again(boot, &content)? } else { Vec::new() };
    let order = Order {
        info_hash: image.info_hash,
        mac: lease.card.mac,
        whereabouts: boot.whereabouts.clone(),
        master,
        tracker_port: catalog.tracker_port,
        seed_port: catalog.seed_port,
        nodes: kept.nodes(),
    };
    if laying.found {
        boot.alone_from = clock::now() + COME_BACK;
    }
    boot.download = Some(Download::start(&order, content, &good)?);
    boot.laid = Some((plan, laying.laid, laying.shelf));
    Ok(())
}

fn check_again(boot: &Boot, content: &Arc<Content>) -> Result<Vec<bool>, Failure> {
    let pieces = content.geometry.pieces();
    let report = &boot.report;
    let good = content.check_all(&mut |done| {
        report.progress(&format!("  checking what is here: {done} of {pieces} pieces"))
    })?;
    let kept = good.iter().filter(|good| **good).count();
    report.note("download", &format!("{kept} of {pieces} pieces were here already"));
    Ok(good)
}

/// Nothing came for a while. The swarm goes on; a newer generation would make it pointless.
fn stalled(boot: &Boot, image: &Image, state: &State) -> Result<(), Failure> {
    let peers = state.progress.as_ref().map_or(0, |progress| progress.peers_connected);
    let tracker = state.tracker.as_deref().unwrap_or("the tracker answers");
    let stall_s = STALL.as_secs();
    boot.report.note(
        "download",
        &format!("no new piece for {stall_s} s: {peers} peers, {tracker}; waiting on, and asking for a newer catalog"),
    );
    let (Some(master), Ok(key)) = (boot.master, Boot::site_key()) else { return Ok(()) };
    let deadline = clock::now() + ASK_AGAIN;
    match (Directory { master, key: &key, deadline, waiting: &|_| () }).catalog() {
        Ok(fresh) if is_superseded(&fresh, image) => {
            Err(Failure::new(format!("{} was replaced by generation {}", image.name, fresh.generation)))
        }
        _ => Ok(()),
    }
}

fn is_superseded(catalog: &Catalog, image: &Image) -> bool {
    catalog.image(&image.name).is_none_or(|now| now.info_hash != image.info_hash)
}

fn summary(state: &State) -> Done {
    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let total = state.progress.as_ref().map_or(0, |progress| progress.bytes_total);
    let text = format!(
        "{} verified: {} from the master, {} from nodes; {} gave something",
        mb(total),
        mb(state.bytes_master),
        mb(state.bytes_peers),
        state.givers
    );
    with_bytes(Done::new(text), state)
}

/// What the master's table shows of a stage in which the swarm is at work.
pub(super) fn figures(state: &State) -> Params {
    let progress = state.progress.unwrap_or_default();
    let values = [
        progress.bytes_total.saturating_sub(progress.bytes_left),
        progress.bytes_total,
        progress.peers_connected.into(),
        state.bytes_master,
        state.bytes_peers,
        state.bytes_sent,
    ];
    PROGRESS.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
}

pub(super) fn with_bytes(done: Done, state: &State) -> Done {
    done.with("bytes_master", state.bytes_master)
        .with("bytes_peers", state.bytes_peers)
        .with("bytes_sent", state.bytes_sent)
        .with("duplicates", state.duplicates)
}
