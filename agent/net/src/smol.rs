//! The swarm core over smoltcp: TCP in user space on whatever carries frames. Decides what the kernel driver decides, for
//! one torrent; asks for neither clock nor socket: `poll(now)` and `wake_at(now)` are the whole contract.
//!
//! It hashes in place, since it has no thread of its own, and looks for nobody on the local network (BEP 14).

mod limits;
mod link;
mod strangers;
mod outputs;
mod ethernet;
mod packet;

pub use ethernet::{Ethernet, Frames, Place};
pub use limits::{MAX_LINKS, SOCKET_BUFFER};
pub use packet::{PacketLink, finish_frames};

use crate::driver::Torrent;
use crate::storage;
use crate::stream::Hangup;
use crate::trackers::Trackers;
use crate::verify::Landing;
use boottorrent_swarm::swarm::{Config, Conn, Input, PeerStat, Progress, Swarm};
use boottorrent_swarm::{InfoHash, PeerId, Rng, Time};
use limits::{EGRESS_TURN, INGRESS_TURN, MAX_EVENTS, TRACKER_BYTES, TRACKER_DATAGRAMS};
use link::{Link, Stage};
use smoltcp::iface::{self, Interface, PollIngressSingleResult, PollResult, SocketHandle, SocketSet};
use smoltcp::phy;
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

/// What a driver is made of.
#[derive(Debug, Clone)]
pub struct Options {
    pub address: Ipv4Addr,
    pub prefix_length: u8,
    /// Where others may dial; none: only dials.
    pub port: Option<u16>,
    pub peer_id: PeerId,
    /// Of sequence numbers, ports, transactions and ties: the same seed, frames and times give the same frames.
    pub seed: u64,
    /// Bytes of each socket's buffer, in each direction.
    pub socket_buffer: usize,
    pub max_links: usize,
}

/// What an owner may want to tell people.
#[derive(Debug)]
pub enum Event {
    /// The last piece is verified.
    Complete,
    /// A piece that was not what the list says; its senders are dropped by the core.
    FalsePiece(u32),
    /// Our own bytes can't be vouched for: nothing is served any more.
    Withdrawn(storage::Error),
    /// Something on the network went wrong and cost nothing but itself: kind and detail.
    Warning(&'static str, String),
}

/// Why a driver can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// Not an address that one host can have, or no such network.
    Address(Ipv4Addr, u8),
    /// Port 0 can't be listened at.
    Port,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Address(address, length) => {
                write!(f, "{address}/{length}: give one host's address and a prefix of 0 to 32 bits")
            }
            Error::Port => f.write_str("port 0 can't be listened at: name another"),
        }
    }
}

impl std::error::Error for Error {}

/// One torrent over one device.
pub struct Driver<D> {
    device: D,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// Those that nobody has dialled yet.
    listeners: Vec<SocketHandle>,
    tracker_socket: SocketHandle,
    swarm: Swarm,
    landing: Landing,
    info_hash: InfoHash,
    trackers: Trackers,
    links: BTreeMap<Conn, Link>,
    /// Sockets of links that are over, until their last bytes are gone.
    leaving: VecDeque<(Time, SocketHandle)>,
    /// Ends of dials and greetings.
    deadlines: BTreeSet<(Time, Conn)>,
    /// Links with something to send.
    dirty: Vec<Conn>,
    events: VecDeque<Event>,
    options: Options,
    /// Tells our announces from another's with the same address (BEP 15).
    key: u32,
    next_conn: Conn,
    next_port: u16,
    withdrawn: bool,
    /// The device has more than one poll takes.
    hurry: bool,
}

impl<D: phy::Device> Driver<D> {
    /// Takes part in the torrent from `now` on. The device must be one for IP packets ([`Ethernet`] makes one).
    ///
    /// # Errors
    /// An address or a port that can't be.
    pub fn new(now: Time, mut device: D, options: Options, torrent: Torrent) -> Result<Driver<D>, Error> {
        let Options { address, prefix_length, .. } = options;
        let odd = address.is_unspecified() || address.is_multicast() || address.is_broadcast();
        if odd || prefix_length > 32 {
            return Err(Error::Address(address, prefix_length));
        }
        if options.port == Some(0) {
            return Err(Error::Port);
        }
        let mut lots = Rng::new(options.seed);
        let mut config = iface::Config::new(HardwareAddress::Ip);
        config.random_seed = lots.next_u64();
        let mut interface = Interface::new(config, &mut device, instant(now));
        // Room for two addresses by default, and this is the first.
        interface.update_ip_addrs(|all| {
            let _ = all.push(IpCidr::new(address.into(), prefix_length));
        });
        let mut sockets = SocketSet::new(Vec::new());
        let next_port = ports::FIRST + lots.below(u32::from(ports::COUNT)) as u16;
        let mut socket = udp::Socket::new(datagrams(), datagrams());
        // A port of its own, and the socket is new: neither can be refused.
        let _ = socket.bind(next_port);
        let tracker_socket = sockets.add(socket);
        let key = lots.next_u32();
        let trackers = Trackers::new(&torrent.trackers, || lots.next_u64());
        let swarm = swarm(now, &options, &torrent, lots.next_u64());
        let mut driver = Driver {
            device,
            interface,
            sockets,
            listeners: Vec::new(),
            tracker_socket,
            swarm,
            // Here is nobody else to hash.
            landing: Landing::new(torrent.content, true),
            info_hash: torrent.info_hash,
            trackers,
            links: BTreeMap::new(),
            leaving: VecDeque::new(),
            deadlines: BTreeSet::new(),
            dirty: Vec::new(),
            events: VecDeque::new(),
            options,
            key,
            next_conn: 0,
            next_port,
            withdrawn: false,
            hurry: false,
        };
        driver.listen(now);
        driver.perform(now);
        Ok(driver)
    }

    /// Takes in what the device has, performs what follows, and hands the device what is to leave.
    pub fn poll(&mut self, now: Time) {
        let mut frames = 0;
        while frames < INGRESS_TURN {
            let (device, sockets) = (&mut self.device, &mut self.sockets);
            let result = self.interface.poll_ingress_single(instant(now), device, sockets);
            if result == PollIngressSingleResult::None {
                break;
            }
            self.listen(now);
            frames += 1;
        }
        if frames > 0 {
            self.tracker_answers(now);
        }
        self.serve_links(now);
        self.timers(now);
        self.perform(now);
        let mut rounds = 0;
        while rounds < EGRESS_TURN {
            let (device, sockets) = (&mut self.device, &mut self.sockets);
            if self.interface.poll_egress(instant(now), device, sockets) == PollResult::None {
                break;
            }
            rounds += 1;
        }
        self.forget_gone();
        self.hurry = frames == INGRESS_TURN || rounds == EGRESS_TURN;
    }

    /// When [`Driver::poll`] has something to do though no frame comes: at once where that is in the past.
    pub fn wake_at(&mut self, now: Time) -> Option<Time> {
        if self.hurry {
            return Some(now);
        }
        let stack = self.interface.poll_at(instant(now), &self.sockets);
        let stack = stack.map(|at| Time(u64::try_from(at.total_micros()).unwrap_or(0)));
        let links = self.deadlines.first().map(|(at, _)| *at);
        let leaving = self.leaving.front().map(|(at, _)| *at);
        let core = if self.withdrawn { None } else { self.swarm.wake_at() };
        [stack, links, leaving, core, self.trackers.wake_at()].into_iter().flatten().min()
    }

    /// More peers, from wherever the owner knows them.
    pub fn tell_peers(&mut self, now: Time, peers: &[SocketAddrV4]) {
        self.swarm.handle(now, Input::Peers { peers });
        self.perform(now);
    }

    /// Says goodbye to peers and trackers; the next polls carry it out.
    pub fn stop(&mut self, now: Time) {
        self.swarm.handle(now, Input::Stop);
        self.perform(now);
    }

    /// The oldest thing that has happened.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How far the download is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.swarm.progress()
    }

    /// Whether all of it is here and verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.swarm.is_complete()
    }

    /// Whether nobody that we are linked to needs anything from us.
    #[must_use]
    pub fn lonely(&self) -> bool {
        self.swarm.lonely()
    }

    /// Whether all that is to be said has been said: links are closed, and trackers know.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.sockets() == 0 && !self.trackers.is_busy()
    }

    /// Who gave and took what, the departed ones too.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStat> {
        self.swarm.peer_stats().collect()
    }

    /// The device itself, for an owner that waits for it.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Links, and connections on their way to be one or gone.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.links.len() + self.leaving.len()
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn serve_links(&mut self, now: Time) {
        let all: Vec<Conn> = self.links.keys().copied().collect();
        for conn in all {
            let Some(link) = self.links.get_mut(&conn) else { continue };
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(link.handle);
            match link.stage {
                Stage::Dialling => self.dialled(conn, now),
                Stage::Greeting => self.greeted(conn, now),
                Stage::Member => {
                    if let Err(hangup) = link.receive(socket, now, &mut self.swarm, &mut self.landing) {
                        self.hang_up(conn, hangup, now);
                    } else if link.can_flush(socket) {
                        self.mark(conn);
                    }
                }
            }
        }
    }

    fn timers(&mut self, now: Time) {
        if self.swarm.wake_at().is_some_and(|at| at <= now) {
            self.swarm.handle(now, Input::Tick);
        }
        while let Some(&(at, conn)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            self.too_late(conn, now);
        }
        self.reset_late(now);
    }

    fn tracker_answers(&mut self, now: Time) {
        let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.tracker_socket);
        while let Ok((datagram, meta)) = socket.recv() {
            let smoltcp::wire::IpAddress::Ipv4(from) = meta.endpoint.addr;
            self.trackers.datagram(now, SocketAddrV4::new(from, meta.endpoint.port), datagram);
        }
    }

    /// Gives the torrent up: its bytes are not what they were.
    fn withdraw(&mut self, error: storage::Error, now: Time) {
        self.swarm.handle(now, Input::Stop);
        self.withdrawn = true;
        let all: Vec<Conn> = self.links.keys().copied().collect();
        all.into_iter().for_each(|conn| self.forget(conn, now));
        self.tell(Event::Withdrawn(error));
    }

    /// The link is over by the peer's doing or the stack's: the core is told, people only where it is odd.
    fn hang_up(&mut self, conn: Conn, hangup: Hangup, now: Time) {
        let Some(link) = self.links.get(&conn) else { return };
        let (peer, stage) = (link.peer, link.stage);
        // The core's word, with its reason, is waiting to be performed.
        if matches!(hangup, Hangup::Refused) {
            return;
        }
        if let Hangup::Wire(error) = &hangup {
            self.tell(Event::Warning("malformed peer message", format!("{peer}: {error}")));
        }
        self.forget(conn, now);
        match stage {
            Stage::Dialling => self.swarm.handle(now, Input::DialFailed { peer }),
            Stage::Member => self.swarm.handle(now, Input::Closed { conn }),
            Stage::Greeting => {}
        }
        if let Hangup::Store(error) = hangup {
            self.withdraw(error, now);
        }
    }
}

/// The core of a driver.
fn swarm(now: Time, options: &Options, torrent: &Torrent, seed: u64) -> Swarm {
    let geometry = torrent.content.geometry;
    let have = torrent.have.clone();
    let mut config = Config::new(torrent.info_hash, options.peer_id, geometry, have, seed);
    config.listen_port = options.port;
    config.own = torrent.own.or(options.port.map(|port| SocketAddrV4::new(options.address, port)));
    config.near_prefix = torrent.near_prefix;
    config.master.clone_from(&torrent.masters);
    if let Some(max_peers) = torrent.max_peers {
        config.max_peers = max_peers;
    }
    let mut swarm = Swarm::new(now, config);
    if !torrent.peers.is_empty() {
        swarm.handle(now, Input::Peers { peers: &torrent.peers });
    }
    swarm
}

fn datagrams() -> udp::PacketBuffer<'static> {
    udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; TRACKER_DATAGRAMS], vec![0; TRACKER_BYTES])
}

/// smoltcp's time has the same unit, and a sign.
fn instant(now: Time) -> Instant {
    Instant::from_micros(i64::try_from(now.0).unwrap_or(i64::MAX))
}

/// Ports that dials come from (RFC 6335, 6).
mod ports {
    pub(super) const FIRST: u16 = 49_152;
    pub(super) const COUNT: u16 = 16_384;
}

#[cfg(test)]
mod tests;
