//! One epoll loop that performs the outputs of many torrents' cores on kernel sockets. Decides only what the core can't
//! see: which torrent a stranger means, when descriptors run out, how much one link may do in a turn.
//!
//! A driver is a descriptor itself: where other things are waited for, poll it with them and then call [`Driver::turn`]
//! with no patience.

mod accept;
mod clock;
mod limits;
mod link;
pub(crate) mod pace;
mod rate;
mod strangers;
mod outputs;
mod chores;
mod trackers;
mod local;
mod roam;

pub use accept::listen;
pub use limits::{BACKLOG, MAX_LINKS};

use crate::storage;
use crate::trackers::Trackers;
use crate::verify::{Content, Hasher, Landing};
use boottorrent_swarm::bitfield::Bitfield;
use boottorrent_swarm::swarm::{Config, Conn, Have, Input, PeerStat, Progress, Swarm};
use boottorrent_swarm::{InfoHash, PeerId, Time};
use clock::Clock;
use limits::{MAX_EVENTS, POLL_TURN, READ_BUFFER};
use link::Link;
use local::LocalSockets;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rate::Bucket;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use trackers::TrackerSocket;

/// What a driver is made of.
pub struct Options {
    /// Inherited, or made by [`listen`]; none: only dials.
    pub listeners: Vec<TcpListener>,
    /// Who we are, for every torrent.
    pub peer_id: PeerId,
    /// Where dials and announces come from; unspecified: the kernel's choice.
    pub source: Ipv4Addr,
    /// Links of all torrents together.
    pub max_links: usize,
}

/// A torrent to take part in.
pub struct Torrent {
    pub info_hash: InfoHash,
    pub content: Arc<Content>,
    pub have: Have,
    /// Static seeds, held as long as the torrent.
    pub masters: Vec<SocketAddrV4>,
    /// Peers known from elsewhere.
    pub peers: Vec<SocketAddrV4>,
    pub trackers: Vec<SocketAddrV4>,
    /// Our own address as the tracker will list it, if it is known.
    pub own: Option<SocketAddrV4>,
    /// Whose address has so many bits in common with ours is near, and links to others are spared; 0: everybody is.
    pub near_prefix: u8,
    /// Links of this torrent; none: a node's usual bound.
    pub max_peers: Option<u32>,
}

/// A torrent of this driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentId(u32);

/// What an owner may want to tell people.
#[derive(Debug)]
pub enum Event {
    /// The last piece is verified.
    Complete(TorrentId),
    /// Our own bytes can't be vouched for: the torrent is gone from this driver.
    Withdrawn(TorrentId, storage::Error),
    /// A piece that was not what the list says; its senders are dropped by the core.
    FalsePiece(TorrentId, u32),
    /// A retired torrent has no link any more: it is gone.
    Retired(TorrentId),
    /// Something on the network went wrong and cost nothing but itself: kind and detail.
    Warning(&'static str, String),
}

/// Why the loop can't go on, or not begin.
#[derive(Debug)]
pub enum Error {
    /// A system call that only fails when the machine is out of something.
    System { what: &'static str, source: io::Error },
    /// The same torrent twice.
    Twice(InfoHash),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System { what, source } => write!(f, "cannot {what}: {source}"),
            Error::Twice(info_hash) => write!(f, "torrent {info_hash} is there already"),
        }
    }
}

impl std::error::Error for Error {}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |e| Error::System { what, source: e.into() }
}

/// A torrent's core with what it acts upon.
struct Seat {
    info_hash: InfoHash,
    swarm: Swarm,
    landing: Landing,
    trackers: Trackers,
    links: usize,
    retiring: bool,
    /// Peers may be looked for on the local network.
    local: bool,
}

/// What an epoll entry stands for: the kind above, the number below.
const LINK: u64 = 0;
const LISTENER: u64 = 1 << 32;
const TRACKER: u64 = 2 << 32;
const HASHER: u64 = 3 << 32;
const LOCAL: u64 = 4 << 32;

/// The loop.
pub struct Driver {
    clock: Clock,
    epoll: Epoll,
    listeners: accept::Listeners,
    tracker_socket: TrackerSocket,
    /// Opened by the first torrent that may be looked for on the local network.
    local: Option<LocalSockets>,
    hasher: Hasher,
    links: BTreeMap<Conn, Link>,
    seats: BTreeMap<u32, Seat>,
    by_hash: HashMap<InfoHash, u32>,
    /// Ends of dials and greetings.
    deadlines: BTreeSet<(Time, Conn)>,
    /// Links with something to send.
    dirty: Vec<Conn>,
    /// Links that have sent in this turn.
    fed: Vec<Conn>,
    /// The bound on uploads, if there is one, and the links that wait for it.
    bucket: Option<Bucket>,
    held: VecDeque<Conn>,
    events: VecDeque<Event>,
    peer_id: PeerId,
    source: Ipv4Addr,
    max_links: usize,
    /// Tells our announces from another's with the same address (BEP 15).
    key: u32,
    next_conn: Conn,
    next_seat: u32,
    /// What epoll says.
    ready: Vec<EpollEvent>,
    read_buffer: Vec<u8>,
    send_buffer: Vec<u8>,
}

impl Driver {
    /// # Errors
    /// The machine is out of descriptors or memory.
    pub fn new(options: Options) -> Result<Driver, Error> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system("make an epoll"))?;
        let listeners = accept::Listeners::new(options.listeners).map_err(system("prepare the listener"))?;
        let tracker_socket = TrackerSocket::new(options.source).map_err(system("open a UDP socket"))?;
        let hasher = Hasher::new().map_err(system("start the hash thread"))?;
        let watch = |fd: BorrowedFd<'_>, data| {
            epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, data)).map_err(system("watch a descriptor"))
        };
        for (n, listener) in (0..).zip(listeners.iter()) {
            watch(listener.as_fd(), LISTENER | n)?;
        }
        watch(tracker_socket.socket().as_fd(), TRACKER)?;
        watch(hasher.as_fd(), HASHER)?;
        Ok(Driver {
            clock: Clock::start(),
            epoll,
            listeners,
            tracker_socket,
            local: None,
            hasher,
            links: BTreeMap::new(),
            seats: BTreeMap::new(),
            by_hash: HashMap::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            fed: Vec::new(),
            bucket: None,
            held: VecDeque::new(),
            events: VecDeque::new(),
            peer_id: options.peer_id,
            source: options.source,
            max_links: options.max_links,
            key: random() as u32,
            next_conn: 0,
            next_seat: 0,
            ready: vec![EpollEvent::empty(); POLL_TURN],
            read_buffer: vec![0; READ_BUFFER],
            send_buffer: Vec::new(),
        })
    }

    /// Takes part in a torrent from now on.
    ///
    /// # Errors
    /// It is there already.
    pub fn add(&mut self, torrent: Torrent) -> Result<TorrentId, Error> {
        if self.by_hash.contains_key(&torrent.info_hash) {
            return Err(Error::Twice(torrent.info_hash));
        }
        let now = self.clock.now();
        let seed = random();
        let geometry = torrent.content.geometry;
        let mut config = Config::new(torrent.info_hash, self.peer_id, geometry, torrent.have, seed);
        config.listen_port = self.listeners.port();
        config.own = torrent.own;
        config.near_prefix = torrent.near_prefix;
        config.master = torrent.masters;
        if let Some(max_peers) = torrent.max_peers {
            config.max_peers = max_peers;
        }
        let mut swarm = Swarm::new(now, config);
        if !torrent.peers.is_empty() {
            swarm.handle(now, Input::Peers { peers: &torrent.peers });
        }
        let trackers = Trackers::new(&torrent.trackers, random);
        let seat = Seat {
            info_hash: torrent.info_hash,
            swarm,
            landing: Landing::new(torrent.content, false),
            trackers,
            links: 0,
            retiring: false,
            local: false,
        };
        let id = self.next_seat;
        self.next_seat += 1;
        self.seats.insert(id, seat);
        self.by_hash.insert(torrent.info_hash, id);
        self.perform(id, now);
        Ok(TorrentId(id))
    }

    /// Goes on serving a torrent while it has links, then lets it go.
    pub fn retire(&mut self, torrent: TorrentId) {
        if let Some(seat) = self.seats.get_mut(&torrent.0) {
            seat.retiring = true;
        }
        self.let_go(torrent.0);
    }

    /// Takes a retired torrent back into service; whether it was still there.
    pub fn keep(&mut self, torrent: TorrentId) -> bool {
        self.seats.get_mut(&torrent.0).map(|seat| seat.retiring = false).is_some()
    }

    /// Serves the same torrent from other files from now on.
    pub fn replace(&mut self, torrent: TorrentId, content: Arc<Content>) {
        if let Some(seat) = self.seats.get_mut(&torrent.0)
            && seat.landing.content.geometry == content.geometry
        {
            seat.landing = Landing::new(content, false);
        }
    }

    /// Bounds what all torrents together send, in bytes a second; none: as much as the network takes.
    pub fn bound_upload(&mut self, rate: Option<u64>) {
        if self.bucket.as_ref().map(Bucket::rate) != rate {
            let now = self.clock.now();
            self.bucket = rate.map(|rate| Bucket::new(rate, now));
        }
    }

    /// More peers, from wherever the owner knows them.
    pub fn tell_peers(&mut self, torrent: TorrentId, peers: &[SocketAddrV4]) {
        let now = self.clock.now();
        if let Some(seat) = self.seats.get_mut(&torrent.0) {
            seat.swarm.handle(now, Input::Peers { peers });
        }
        self.perform(torrent.0, now);
    }

    /// One round: waits for the network, a timer or `patience`, and performs what follows.
    ///
    /// # Errors
    /// epoll itself failed.
    pub fn turn(&mut self, patience: Option<Duration>) -> Result<(), Error> {
        let patience = timeout(self.patience(patience));
        let count = match self.epoll.wait(&mut self.ready, patience) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(e) => return Err(system("wait for the network")(e)),
        };
        let now = self.clock.now();
        for n in 0..count {
            let Some(event) = self.ready.get(n).copied() else { break };
            let number = (event.data() & 0xffff_ffff) as u32;
            match event.data() & !0xffff_ffff {
                LISTENER => self.accept(number as usize, now),
                TRACKER => self.tracker_answers(now),
                HASHER => self.verdicts(now),
                LOCAL => self.local_announces(now),
                LINK => self.link_ready(number, event.events(), now),
                _ => {}
            }
        }
        self.timers(now);
        Ok(())
    }

    /// Turns until `done` says so.
    ///
    /// # Errors
    /// As [`Driver::turn`].
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Driver) -> bool) -> Result<(), Error> {
        while !done(self) {
            self.turn(Some(Duration::from_millis(100)))?;
        }
        Ok(())
    }

    /// Says goodbye to peers and trackers, and waits `grace` at most for the trackers to hear it.
    ///
    /// # Errors
    /// As [`Driver::turn`].
    pub fn stop(&mut self, grace: Duration) -> Result<(), Error> {
        let now = self.clock.now();
        let all: Vec<u32> = self.seats.keys().copied().collect();
        for id in all {
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.swarm.handle(now, Input::Stop);
            }
            self.perform(id, now);
        }
        let end = now + grace;
        while self.seats.values().any(|s| s.trackers.is_busy()) {
            let left = end.since(self.clock.now());
            if left.is_zero() {
                break;
            }
            self.turn(Some(left))?;
        }
        Ok(())
    }

    /// When [`Driver::turn`] has something to do though no descriptor is ready.
    #[must_use]
    pub fn patience(&self, most: Option<Duration>) -> Option<Duration> {
        let cores = self.seats.values().flat_map(|s| [s.swarm.wake_at(), s.trackers.wake_at()]);
        let links = self.deadlines.first().map(|(at, _)| *at);
        let held = self.held.front().map(|_| self.bucket.as_ref().map_or(Time(0), Bucket::ready_at));
        let wake = cores.flatten().chain(links).chain(self.listeners.rests_until).chain(held).min();
        let wake = wake.map(|at| at.since(self.clock.now()));
        wake.into_iter().chain(most).min()
    }

    /// The oldest thing that has happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How far the torrent is; none: it is gone.
    #[must_use]
    pub fn progress(&self, torrent: TorrentId) -> Option<Progress> {
        self.seats.get(&torrent.0).map(|s| s.swarm.progress())
    }

    /// Which pieces are here and verified; none: the torrent is gone.
    #[must_use]
    pub fn have(&self, torrent: TorrentId) -> Option<&Bitfield> {
        self.seats.get(&torrent.0).map(|s| s.swarm.have())
    }

    /// Whether all of it is here and verified.
    #[must_use]
    pub fn is_complete(&self, torrent: TorrentId) -> bool {
        self.seats.get(&torrent.0).is_some_and(|s| s.swarm.is_complete())
    }

    /// Whether nobody that we are linked to needs anything from us.
    #[must_use]
    pub fn lonely(&self, torrent: TorrentId) -> bool {
        self.seats.get(&torrent.0).is_none_or(|s| s.swarm.lonely())
    }

    /// Who gave and took what, the departed ones too.
    #[must_use]
    pub fn peers(&self, torrent: TorrentId) -> Vec<PeerStat> {
        self.seats.get(&torrent.0).map(|s| s.swarm.peer_stats().collect()).unwrap_or_default()
    }

    /// What keeps the trackers from answering, as a sentence.
    #[must_use]
    pub fn tracker_trouble(&self, torrent: TorrentId) -> Option<&str> {
        self.seats.get(&torrent.0).and_then(|s| s.trackers.trouble.as_deref())
    }

    /// Links of all torrents, and those that have not said which.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// The port that peers are told.
    #[must_use]
    pub fn listen_port(&self) -> Option<u16> {
        self.listeners.port()
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            let warning = self.events.iter().position(|e| matches!(e, Event::Warning(..))).unwrap_or(0);
            self.events.remove(warning);
        }
        self.events.push_back(event);
    }
}

impl AsFd for Driver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// A peer id for whoever is no node with a MAC of its own.
#[must_use]
pub fn random_peer_id() -> PeerId {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let (a, b) = (random(), random());
    let letter = |n: usize| {
        let word = if n < 6 { a >> (5 * n) } else { b >> (5 * (n - 6)) };
        ALPHABET[(word & 31) as usize]
    };
    PeerId::random(std::array::from_fn(letter))
}

/// From the system's random numbers, by way of the standard library's hash keys: forged answers must not guess them.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Rounded up: a wake-up before the timer would only spin.
fn timeout(patience: Option<Duration>) -> EpollTimeout {
    let Some(patience) = patience else { return EpollTimeout::NONE };
    let ms = patience.as_micros().div_ceil(1000);
    u16::try_from(ms).map_or(EpollTimeout::from(u16::MAX), EpollTimeout::from)
}

#[cfg(test)]
mod tests;
