//! `boottorrent-agent fetch`: the node's engine, downloading into files. Decides when a download is over and what is
//! told about it; never touches a file outside the folder it was given.

mod options;
mod places;
mod screen;
mod after;
mod stats;

use crate::clock;
use after::After;
use boottorrent_net::driver::{self, Driver, Event, MAX_LINKS, Torrent, TorrentId};
use boottorrent_net::storage::{Download, Layout};
use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::metainfo::Metainfo;
use boottorrent_swarm::swarm::Have;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use options::{Options, Parsed};
use screen::Screen;
use stats::{Meter, Stats};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How often the loop looks at progress, signals apart.
const LOOK: Duration = Duration::from_millis(100);
/// How long the trackers may take to hear that we leave.
const FAREWELL: Duration = Duration::from_millis(500);
/// What shells say of a program that a signal ended.
const INTERRUPTED: u8 = 130;
/// A .torrent of 2^20 pieces is 20 MiB; nothing sensible is three times as long.
const MAX_TORRENT: u64 = 64 << 20;

/// `boottorrent-agent fetch ...`, the arguments behind `fetch`.
pub(crate) fn main(parser: lexopt::Parser) -> ExitCode {
    let outcome = match options::parse(parser) {
        Ok(Parsed::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Parsed::Run(options)) => run(&options),
        Err(sentence) => Err(sentence),
    };
    match outcome {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("boottorrent-agent fetch: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Why the download ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Interrupted,
}

fn run(options: &Options) -> Result<ExitCode, String> {
    let metainfo = read_torrent(options)?;
    let mut screen = Screen::new(&metainfo.name);
    // Before any thread is made, so that all of them leave signals to the descriptor.
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGINT);
    mask.add(Signal::SIGTERM);
    mask.thread_block().map_err(|e| format!("cannot block signals: {e}"))?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    let signals = SignalFd::with_flags(&mask, flags).map_err(|e| format!("cannot make a signalfd: {e}"))?;

    let mut meter = Meter::start(clock::now());
    let (content, have, found) = prepare(options, &metainfo, &mut screen)?;
    let mut driver = make_driver(options)?;
    driver.bound_upload(options.seed_rate);
    let id = add(&mut driver, options, &metainfo, content, have)?;
    meter.begin(clock::now(), found);
    let end = download(&mut driver, id, &signals, &mut screen, &mut meter)?;
    meter.end(clock::now());
    let code = if end == End::Complete {
        screen.complete(&meter, driver.progress(id).unwrap_or_default());
        let mut after = After::begin(options, &mask, clock::now())?;
        after.wait(&mut driver, id, &signals, &mut meter)?;
        after.code()
    } else {
        screen.interrupted(driver.progress(id).unwrap_or_default());
        ExitCode::from(INTERRUPTED)
    };
    meter.look();
    let stats = Stats::take(&driver, id, &metainfo, &meter, end == End::Complete);
    driver.stop(FAREWELL).map_err(|e| e.to_string())?;
    if let Some(path) = &options.stats {
        std::fs::write(path, stats.json()).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(code)
}

fn read_torrent(options: &Options) -> Result<Metainfo, String> {
    let path = options.torrent.display();
    let size = std::fs::metadata(&options.torrent).map_err(|e| format!("{path}: {e}"))?.len();
    if size > MAX_TORRENT {
        return Err(format!("{path}: {size} bytes are no torrent; give the .torrent file, not the image"));
    }
    let bytes = std::fs::read(&options.torrent).map_err(|e| format!("{path}: {e}"))?;
    Metainfo::parse(&bytes).map_err(|e| format!("{path}: {e}"))
}

fn verifier(options: &Options, metainfo: &Metainfo) -> Result<Verifier, String> {
    let Some(path) = &options.pieces else { return Ok(Verifier::Sha1(metainfo.sha1_list().to_vec())) };
    let list = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let pieces = metainfo.geometry.pieces();
    Verifier::from_sha256_list(&list, pieces).ok_or_else(|| {
        format!("{}: is no list of {pieces} SHA-256 digests, 32 bytes each, for this torrent", path.display())
    })
}

/// The files with their space taken, and what of them is good already: the bytes of it come last.
fn prepare(
    options: &Options,
    metainfo: &Metainfo,
    screen: &mut Screen,
) -> Result<(Arc<Content>, Have, u64), String> {
    let verifier = verifier(options, metainfo)?;
    let backings = places::places(&options.to, metainfo)?;
    let layout = Layout::plain(metainfo.files.iter().map(|f| f.length));
    let store = Download::open(&backings, layout).map_err(|e| e.to_string())?;
    let found = store.found();
    let geometry = metainfo.geometry;
    let content = Arc::new(Content { geometry, store: Box::new(store), verifier });
    if !found {
        return Ok((content, Have::None, 0));
    }
    let good = content.check_all(&mut |done| screen.checking(done, geometry.pieces(), clock::now()));
    let good = good.map_err(|e| e.to_string())?;
    let pieces = geometry.all().filter(|p| good.get(p.index() as usize) == Some(&true));
    let bytes = pieces.map(|piece| u64::from(geometry.piece_size(piece))).sum();
    let have = content.have(&good);
    Ok((content, have, bytes))
}

fn make_driver(options: &Options) -> Result<Driver, String> {
    let at = options.listen;
    let listener = driver::listen(at).map_err(|e| {
        format!("cannot listen on {at}: {e}; give --listen a free port of this machine, or leave it out")
    })?;
    let options = driver::Options {
        listeners: vec![listener],
        peer_id: driver::random_peer_id(),
        source: *at.ip(),
        max_links: MAX_LINKS,
    };
    Driver::new(options).map_err(|e| e.to_string())
}

fn add(
    driver: &mut Driver,
    options: &Options,
    metainfo: &Metainfo,
    content: Arc<Content>,
    have: Have,
) -> Result<TorrentId, String> {
    let trackers =
        if options.trackers.is_empty() { places::trackers(metainfo) } else { options.trackers.clone() };
    if trackers.is_empty() && options.peers.is_empty() && have != Have::All && metainfo.private {
        return Err(format!(
            "{}: is private and names no tracker of the form udp://ADDRESS:PORT; give --tracker or --peer",
            options.torrent.display()
        ));
    }
    let own = driver.listen_port().map(|port| std::net::SocketAddrV4::new(*options.listen.ip(), port));
    let torrent = Torrent {
        info_hash: metainfo.info_hash,
        content,
        have,
        masters: options.peers.clone(),
        peers: Vec::new(),
        trackers,
        own: own.filter(|a| *a.ip() != Ipv4Addr::UNSPECIFIED),
        near_prefix: 0,
        max_peers: None,
    };
    let id = driver.add(torrent).map_err(|e| e.to_string())?;
    if !metainfo.private {
        driver.find_locally(id, *options.listen.ip());
    }
    Ok(id)
}

fn download(
    driver: &mut Driver,
    id: TorrentId,
    signals: &SignalFd,
    screen: &mut Screen,
    meter: &mut Meter,
) -> Result<End, String> {
    loop {
        take_events(driver, meter)?;
        if driver.is_complete(id) {
            return Ok(End::Complete);
        }
        let now = clock::now();
        if screen.due(now) {
            meter.look();
            screen.progress(driver.progress(id).unwrap_or_default(), driver.tracker_trouble(id), now);
        }
        if turn(driver, signals)? {
            return Ok(End::Interrupted);
        }
    }
}

/// What happened meanwhile: counted where it cost nothing, an error where our own files are at fault.
fn take_events(driver: &mut Driver, meter: &mut Meter) -> Result<(), String> {
    while let Some(event) = driver.next_event() {
        match event {
            Event::Withdrawn(_, error) => return Err(error.to_string()),
            Event::FalsePiece(..) => meter.false_pieces += 1,
            Event::Warning(kind, detail) => meter.warn(kind, &detail),
            Event::Complete(_) | Event::Retired(_) => {}
        }
    }
    Ok(())
}

/// One round of the driver; whether a signal asks to end.
fn turn(driver: &mut Driver, signals: &SignalFd) -> Result<bool, String> {
    driver.turn(Some(LOOK)).map_err(|e| e.to_string())?;
    // Looked at, not waited for: a second wait beside the driver's own costs as much as a packet.
    Ok(matches!(signals.read_signal(), Ok(Some(_))))
}
