//! The stages' work, each step in the words of the module that does it.
//!
//! Decides what one stage hands to the next. Never decides what follows a failure: the table does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::catalog::{Catalog, Image};
use boottorrent_swarm::template::Values;

use super::{Done, Failure};
use crate::directory::Directory;
use crate::download::{Download, Meter, Order, State};
use crate::image::{Plan, Shared};
use crate::memory::{Bill, Memory, own_peak_kib};
use crate::worker::{Boot, Keeper};
use crate::{choice, clock, handover, lease, linger, link, load, modules, mounts};

/// A swarm that gives no new piece for so long makes the node ask for a newer catalog.
const STALL: Duration = Duration::from_secs(30);
/// How long that question may take; the swarm goes on meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often stages that wait for the swarm look at it.
const LOOK: Duration = Duration::from_millis(100);

type Outcome = Result<Done, Failure>;

pub(super) fn modules(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let report = boot.report.clone();
    let (summary, watch) = modules::load_for_hardware(&mut |sentence| report.note("modules", sentence))?;
    let late = boot.report.clone();
    // Without the thread, devices that show up late stay without a driver; those that are here have theirs.
    if let Err(error) = watch.start(move |sentence| late.note("modules", sentence)) {
        boot.report.note("modules", &format!("devices that come later get no driver: {error}"));
    }
    Ok(Done::new(summary.to_string()))
}

pub(super) fn link(boot: &mut Boot, deadline: Duration) -> Outcome {
    let report = &boot.report;
    let cards = loop {
        let cards = link::cards(boot.cmdline.boot_card);
        if !cards.is_empty() {
            break cards;
        }
        if clock::now() >= deadline {
            return Err(link::Error::NoCard.into());
        }
        report.progress("  waiting for a network card to show up");
        clock::pause(LOOK);
    };
    link::up(&cards)?;
    boot.cards = link::wait_for_carrier(&cards, deadline, |text| report.progress(&format!("  {text}")))?;
    let names: Vec<String> = boot.cards.iter().map(|card| format!("{} {}", card.name, card.mac)).collect();
    Ok(Done::new(format!("carrier on {}", names.join(", "))))
}

pub(super) fn lease(boot: &mut Boot, deadline: Duration) -> Outcome {
    boot.keeper.dismiss();
    boot.keeper = Keeper::default();
    if let Some(before) = boot.lease.take() {
        // An address without a master behind it: the next card may be on the right network.
        boot.lease_turn += 1;
        before.give_up();
    }
    let turn = boot.lease_turn.checked_rem(boot.cards.len()).unwrap_or(0);
    let card = Boot::need(boot.cards.get(turn), "a card with carrier")?;
    let report = boot.report.clone();
    let acquired = lease::Client::new(&card).and_then(|mut client| {
        let lease = client.acquire(deadline, |text| report.progress(&format!("  {text}")))?;
        Ok((client, lease))
    });
    let (client, lease) = acquired.inspect_err(|_| boot.lease_turn += 1)?;
    boot.master = boot.cmdline.master.or(lease.next_server).or(Some(lease.server));
    boot.lease = Some(lease.clone());
    let name = boot.name();
    boot.report.identify(&name, lease.card.mac, boot.master);
    let done = Done::new(lease.to_string()).with("ip", lease.address);
    let keeper = boot.keeper.clone();
    // A lease that nobody renews still lasts for hours: no reason to stop.
    let thread = std::thread::Builder::new().name("lease".into());
    if let Err(error) = thread.spawn(move || client.keep(lease, &report, &keeper)) {
        boot.report.note("lease", &format!("nobody renews the lease: {error}"));
    }
    Ok(done)
}

pub(super) fn catalog(boot: &mut Boot, deadline: Duration) -> Outcome {
    let lease = Boot::need(boot.lease.as_ref(), "the lease")?;
    let master = Boot::need(boot.master.as_ref(), "the master")?;
    let key = Boot::site_key()?;
    let directory = Directory { master, key: &key, deadline };
    let catalog = directory.catalog()?;
    let node = directory.node(lease.card.mac, &catalog.site)?;
    boot.overlay = node.as_ref().map(|node| directory.overlay(node)).transpose()?.unwrap_or_default();
    boot.node = node;
    let name = boot.name();
    // The kernel's own name is for people who debug.
    let _ = nix::unistd::sethostname(&name);
    boot.report.identify(&name, lease.card.mac, Some(master));
    let (site, generation, images) = (catalog.site.clone(), catalog.generation, catalog.images.len());
    boot.catalog = Some(catalog);
    Ok(Done::new(format!("site {site}, generation {generation}, {images} images; this node is {name}"))
        .with("generation", generation))
}

pub(super) fn choice(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let catalog = Boot::need(boot.catalog.as_ref(), "the catalog")?;
    let (image, by) = choice::choose(boot, &catalog)?;
    let done = Done::new(format!("{} ({by})", image.title)).with("os", &image.name);
    if boot.download.as_ref().is_some_and(|download| download.info_hash != image.info_hash)
        && let Some(download) = boot.download.take()
    {
        download.stop();
    }
    boot.image = Some(image);
    Ok(done)
}

pub(super) fn memory(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let plan = Plan::new(&image, &boot.overlay)?;
    let stored = plan.stored(Path::new(mounts::IMAGE), &image);
    let bill = Bill::new(plan.bytes(), stored, image.memory, Memory::read()?);
    let bill = bill.check().inspect_err(|_| choice::forget())?;
    Ok(Done::new(bill.to_string()))
}

pub(super) fn download(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    if boot.download.is_none() {
        start_download(boot, &image)?;
    }
    let download = boot.download.as_ref().ok_or_else(|| Failure::new("the download did not start"))?;
    let mut meter = Meter::default();
    let (mut pieces, mut moved_at) = (0, clock::now());
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
            boot.report.progress(&meter.line(now, &state, progress));
            if progress.pieces_done != pieces {
                (pieces, moved_at) = (progress.pieces_done, now);
            }
        }
        if state.complete {
            break state;
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
    let lease = Boot::need(boot.lease.as_ref(), "the lease")?;
    let master = Boot::need(boot.master.as_ref(), "the master")?;
    let catalog = Boot::need(boot.catalog.as_ref(), "the catalog")?;
    let key = Boot::site_key()?;
    let deadline = clock::now() + STALL;
    let list = Directory { master, key: &key, deadline }.pieces(image)?;
    let geometry = image.geometry()?;
    let verifier = Verifier::from_sha256_list(&list, geometry.pieces())
        .ok_or_else(|| Failure::new("the piece list is not for this image"))?;
    let laying = Plan::new(image, &boot.overlay)?.lay(Path::new(mounts::IMAGE), image)?;
    let store = Box::new(Shared(Arc::clone(&laying.shelf)));
    let content = Arc::new(Content { geometry, store, verifier });
    // A worker that died leaves pieces behind. They are hashed again, not believed by a journal: what made it die may
    // have made it write nonsense, and a gigabyte takes a second or two.
    let good = if laying.found { check_again(boot, &content)? } else { Vec::new() };
    let order = Order {
        info_hash: image.info_hash,
        mac: lease.card.mac,
        address: lease.address,
        master,
        tracker_port: catalog.tracker_port,
        seed_port: catalog.seed_port,
    };
    boot.download = Some(Download::start(&order, content, &good)?);
    boot.laid = Some((laying.laid, laying.shelf));
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
    let fresh = Directory { master, key: &key, deadline: clock::now() + ASK_AGAIN }.catalog();
    match fresh {
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

fn with_bytes(done: Done, state: &State) -> Done {
    done.with("bytes_master", state.bytes_master)
        .with("bytes_peers", state.bytes_peers)
        .with("bytes_sent", state.bytes_sent)
        .with("duplicates", state.duplicates)
}

pub(super) fn load(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let (laid, shelf) = Boot::need(boot.laid.as_ref(), "the image's place")?;
    let lease = Boot::need(boot.lease.as_ref(), "the lease")?;
    let master = Boot::need(boot.master.as_ref(), "the master")?;
    let site = boot.catalog.as_ref().map(|catalog| catalog.site.clone()).unwrap_or_default();
    let own = boot.node.as_ref().map(|node| node.cmdline.clone()).unwrap_or_default();
    let (mac, ip, hostname, master) =
        (lease.card.mac.to_string(), lease.address.to_string(), boot.name(), master.to_string());
    let values = Values { mac: &mac, ip: &ip, hostname: &hostname, master: &master, site: &site };
    let cmdline = load::cmdline(&image.cmdline, &own, &values).inspect_err(|_| choice::forget())?;
    shelf.seal()?;
    load::load(&laid, &cmdline).inspect_err(|_| choice::forget())?;
    Ok(Done::new(format!("command line: {cmdline}")))
}

pub(super) fn linger(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let Some(download) = &boot.download else { return Ok(Done::new("nothing to serve")) };
    let mut watch = linger::Watch::new(image.linger, clock::now());
    loop {
        let state = download.state()?;
        let now = clock::now();
        if let Some(why) = watch.over(now, state.company, state.bytes_sent) {
            return Ok(with_bytes(Done::new(why), &state));
        }
        let mb = state.bytes_sent as f64 / 1e6;
        boot.report.progress(&format!("  serving other nodes: {mb:.1} MB sent; the next kernel is loaded"));
        clock::pause(LOOK);
    }
}

pub(super) fn kexec(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let begun = clock::now();
    let mut done = Done::new(format!("starting {}", image.title)).with("os", &image.name);
    if let Some(download) = boot.download.take() {
        if let Ok(state) = download.state() {
            done = with_bytes(done, &state);
        }
        download.stop();
    }
    let took = clock::now().saturating_sub(begun);
    Err(handover::kexec(&boot.report, took, done.params, &done.text).into())
}
