//! The download: the swarm on a thread of its own, which goes on serving until the hand-over.
//!
//! Decides nothing about who sends what (the core does) and nothing about what follows a stall (the stage does).

mod progress;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use boottorrent_net::driver::{self, Driver, Event, Options, Torrent, TorrentId, listen};
use boottorrent_net::verify::Content;
use boottorrent_swarm::swarm::Progress;
use boottorrent_swarm::{InfoHash, Mac, PeerId};

pub(crate) use progress::{Meter, line};

use crate::lease::{self, Whereabouts};
use crate::linger::Company;

/// The port that other nodes dial: BitTorrent's customary one.
const PEER_PORT: u16 = 6881;
/// How often the other threads see new figures; a person reads no faster.
const PUBLISH: Duration = Duration::from_millis(100);
/// What the tracker gets to hear our goodbye; it forgets nodes by itself too.
const GOODBYE: Duration = Duration::from_millis(200);
/// Notes of one WINDOW; what a hostile peer causes beyond that is counted, not shown.
const MAX_NOTES: u32 = 8;
const NOTES_WINDOW: Duration = Duration::from_secs(10);
/// Notes that wait for somebody to take them.
const MAX_UNREAD: usize = 64;
/// Links of a node: the core keeps about 50, foreign ones may come on top.
const MAX_LINKS: usize = 256;
/// Addresses that a next worker is told: twice what the core links to.
const MAX_NODES: usize = 100;

#[derive(Debug)]
pub(crate) enum Error {
    Driver(driver::Error),
    Thread(std::io::Error),
    /// Without a lease there is no network.
    Nowhere,
    /// The thread ended: it said why.
    Ended(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "cannot start the network thread: {error}"),
            Self::Nowhere => f.write_str("this node has no address yet"),
            Self::Ended(why) => write!(f, "the network thread ended: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<driver::Error> for Error {
    fn from(error: driver::Error) -> Self {
        Self::Driver(error)
    }
}

/// Whom to ask for what.
pub(crate) struct Order {
    pub(crate) info_hash: InfoHash,
    pub(crate) mac: Mac,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) master: Ipv4Addr,
    pub(crate) tracker_port: u16,
    pub(crate) seed_port: u16,
    /// Nodes that an earlier worker was linked to: the tracker may be gone.
    pub(crate) nodes: Vec<SocketAddrV4>,
}

/// What the swarm looks like now.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) progress: Option<Progress>,
    pub(crate) complete: bool,
    pub(crate) company: Company,
    pub(crate) bytes_master: u64,
    pub(crate) bytes_peers: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) duplicates: u64,
    /// Nodes that gave something.
    pub(crate) givers: usize,
    /// Where other nodes listen.
    pub(crate) nodes: Vec<SocketAddrV4>,
    /// What keeps the tracker from answering.
    pub(crate) tracker: Option<String>,
    /// One for each piece: it is here and verified.
    pub(crate) pieces: Vec<bool>,
    notes: Vec<String>,
    stop: bool,
    place: Place,
    ended: Option<String>,
}

/// Where serving others stands beside what else the node does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Bytes that others get in a second; none: no bound.
    pub(crate) rate: Option<u64>,
    /// Of the thread.
    pub(crate) nice: i32,
}

/// A download, and then a seed, in the background.
pub(crate) struct Download {
    pub(crate) info_hash: InfoHash,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Download {
    /// Starts with the pieces that `good` names.
    pub(crate) fn start(order: &Order, content: Arc<Content>, good: &[bool]) -> Result<Self, Error> {
        let at = order.whereabouts.now().ok_or(Error::Nowhere)?;
        let mut driver = Driver::new(Options {
            listeners: listener(PEER_PORT).into_iter().collect(),
            peer_id: PeerId::for_node(order.mac),
            source: Ipv4Addr::UNSPECIFIED,
            max_links: MAX_LINKS,
        })?;
        let own = driver.listen_port().map(|port| SocketAddrV4::new(at.address, port));
        let torrent = driver.add(Torrent {
            info_hash: order.info_hash,
            have: content.have(good),
            content,
            masters: vec![SocketAddrV4::new(order.master, order.seed_port)],
            peers: order.nodes.clone(),
            trackers: vec![SocketAddrV4::new(order.master, order.tracker_port)],
            own,
            near_prefix: at.prefix,
            max_peers: None,
        })?;
        // A master that is gone takes its tracker along: the others are on the same wire.
        driver.find_locally(torrent, at.address);
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let mut seat = Seat { torrent, whereabouts: order.whereabouts.clone(), at };
        let thread = std::thread::Builder::new()
            .name("swarm".into())
            .spawn(move || {
                let ended =
                    serve(&mut driver, &mut seat, &shared).unwrap_or_else(|error| Some(error.to_string()));
                lock(&shared).ended = Some(ended.unwrap_or_else(|| "it was asked to".into()));
            })
            .map_err(Error::Thread)?;
        Ok(Self { info_hash: order.info_hash, state, thread: Some(thread) })
    }

    pub(crate) fn state(&self) -> Result<State, Error> {
        let state = lock(&self.state);
        match &state.ended {
            Some(why) => Err(Error::Ended(why.clone())),
            None => Ok(state.clone()),
        }
    }

    /// What happened since the last call, as sentences.
    pub(crate) fn notes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).notes)
    }

    /// From now on, until it is told otherwise.
    pub(crate) fn stand(&self, place: Place) {
        lock(&self.state).place = place;
    }

    /// Says goodbye to peers and tracker.
    pub(crate) fn stop(mut self) {
        lock(&self.state).stop = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a thread that panicked has ended the process already
        }
    }
}

/// The torrent, and the address by which others know us.
struct Seat {
    torrent: TorrentId,
    whereabouts: Whereabouts,
    at: lease::Place,
}

impl Seat {
    /// After a lease that has changed: links from the old address are dead, and the tracker has to know the new one.
    fn follow(&mut self, driver: &mut Driver) {
        if let Some(now) = self.whereabouts.now().filter(|now| *now != self.at) {
            self.at = now;
            driver.moved(self.torrent, now.address, now.prefix);
        }
    }
}

/// Serves until it is asked to end, or why it cannot go on with this image.
fn serve(
    driver: &mut Driver,
    seat: &mut Seat,
    shared: &Mutex<State>,
) -> Result<Option<String>, driver::Error> {
    let torrent = seat.torrent;
    let mut publish_at = Duration::ZERO;
    let mut allowance = Allowance::default();
    let mut place = Place::default();
    loop {
        driver.turn(Some(PUBLISH))?;
        seat.follow(driver);
        let wanted = lock(shared).place;
        if wanted != place {
            place = wanted;
            driver.bound_upload(place.rate);
            let _ = crate::sys::set_thread_nice(place.nice); // process 1's child may; elsewhere it stays as it is
        }
        let now = crate::clock::now();
        let mut notes = Vec::from_iter(allowance.renew(now));
        let mut gone = None;
        while let Some(event) = driver.next_event() {
            if let Event::Withdrawn(_, error) = &event {
                gone = Some(error.to_string());
            }
            notes.extend(sentence(event).filter(|_| allowance.spend()));
        }
        if now >= publish_at || !notes.is_empty() {
            publish_at = now + PUBLISH;
            publish(driver, torrent, shared, notes);
        }
        if gone.is_some() {
            return Ok(gone);
        }
        if lock(shared).stop {
            return driver.stop(GOODBYE).map(|()| None);
        }
    }
}

/// How much may still be said: the network must not fill the consoles.
#[derive(Default)]
struct Allowance {
    ends: Duration,
    said: u32,
}

impl Allowance {
    fn spend(&mut self) -> bool {
        self.said = self.said.saturating_add(1);
        self.said <= MAX_NOTES
    }

    /// At the end of a window: how many notes it swallowed.
    fn renew(&mut self, now: Duration) -> Option<String> {
        if now < self.ends {
            return None;
        }
        self.ends = now + NOTES_WINDOW;
        let swallowed = std::mem::take(&mut self.said).saturating_sub(MAX_NOTES);
        (swallowed > 0)
            .then(|| format!("{swallowed} more notes of this kind in {} s", NOTES_WINDOW.as_secs()))
    }
}

fn publish(driver: &Driver, torrent: TorrentId, shared: &Mutex<State>, notes: Vec<String>) {
    let peers = driver.peers(torrent);
    let sum = |pick: fn(&_) -> u64, master: bool| -> u64 {
        peers.iter().filter(|peer| peer.is_master == master).map(pick).sum()
    };
    let mut state = lock(shared);
    state.progress = driver.progress(torrent);
    state.complete = driver.is_complete(torrent);
    state.company = match (peers.iter().all(|peer| peer.is_master), driver.lonely(torrent)) {
        (true, true) => Company::Nobody,
        (false, true) => Company::Content,
        (_, false) => Company::Needy,
    };
    state.bytes_master = sum(|peer| peer.bytes_in, true);
    state.bytes_peers = sum(|peer| peer.bytes_in, false);
    state.bytes_sent = peers.iter().map(|peer| peer.bytes_out).sum();
    state.duplicates = peers.iter().map(|peer| peer.duplicates).sum();
    state.givers = peers.iter().filter(|peer| peer.bytes_in > 0).count();
    let nodes = peers.iter().filter(|peer| !peer.is_master).map(|peer| peer.addr);
    state.nodes = nodes.take(MAX_NODES).collect();
    state.tracker = driver.tracker_trouble(torrent).map(str::to_owned);
    if let (Some(have), Some(progress)) = (driver.have(torrent), state.progress) {
        state.pieces = bits(have.as_bytes(), progress.pieces as usize);
    }
    state.notes.extend(notes);
    // Nobody takes them while a person reads the menu: the newest are worth more.
    let old = state.notes.len().saturating_sub(MAX_UNREAD);
    state.notes.drain(..old);
}

/// A bitfield as it is on the wire: the first piece is the highest bit (BEP 3).
fn bits(bytes: &[u8], pieces: usize) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte << bit & 0x80 != 0)).take(pieces).collect()
}

/// Where others dial us: if this port is in use any other does, since the tracker tells it. Without one it would tell us
/// of nobody.
fn listener(port: u16) -> Option<TcpListener> {
    let on = |port| listen(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
    on(port).or_else(|_| on(0)).ok()
}

fn sentence(event: Event) -> Option<String> {
    match event {
        Event::FalsePiece(_, piece) => {
            Some(format!("refused: piece {piece} is not the one that the site signed; its sender is dropped"))
        }
        Event::Withdrawn(_, error) => Some(error.to_string()),
        Event::Warning(kind, detail) => Some(format!("{kind}: {detail}")),
        Event::Complete(_) | Event::Retired(_) => None,
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_piece_is_the_highest_bit() {
        assert_eq!(
            bits(&[0b1010_0000, 0b0100_0000], 10),
            [true, false, true, false, false, false, false, false, false, true]
        );
    }

    #[test]
    fn a_node_whose_port_is_in_use_listens_on_another() {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let first = listener(0).unwrap();
        let second = listener(port(&first)).unwrap();
        assert!(port(&second) != 0 && port(&second) != port(&first));
    }

    #[test]
    fn a_flood_of_notes_is_counted_instead_of_shown() {
        let mut allowance = Allowance::default();
        assert_eq!(allowance.renew(Duration::from_secs(1)), None);
        let shown = (0..100).filter(|_| allowance.spend()).count();
        assert_eq!(shown, MAX_NOTES as usize);
        assert_eq!(allowance.renew(Duration::from_secs(5)), None, "the window is not over");
        let summary = allowance.renew(Duration::from_secs(11)).unwrap();
        assert!(summary.starts_with("92 more notes"), "{summary}");
        assert!(allowance.spend());
    }
}
