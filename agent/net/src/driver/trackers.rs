//! Announces over UDP: one socket for all torrents and trackers, one BEP 15 client for each pair. Decides which answer is
//! worth telling the core; when to announce is the core's, when to repeat is the client's.

use super::limits::{MAX_TRACKERS, TRACKER_DATAGRAM, TRACKER_TURN};
use boottorrent_swarm::Time;
use boottorrent_swarm::announce::{Announce, AnnounceClient, Outcome, Step};
use boottorrent_swarm::swarm::{Input, Swarm};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

/// The datagram socket of a driver.
pub(super) struct TrackerSocket(UdpSocket);

impl TrackerSocket {
    pub(super) fn new(source: Ipv4Addr) -> io::Result<TrackerSocket> {
        let socket = UdpSocket::bind((source, 0))?;
        socket.set_nonblocking(true)?;
        Ok(TrackerSocket(socket))
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.0
    }

    /// Hands every datagram that waits to `take`.
    pub(super) fn receive(&self, mut take: impl FnMut(SocketAddrV4, &[u8])) {
        let mut datagram = [0; TRACKER_DATAGRAM];
        for _ in 0..TRACKER_TURN {
            match self.0.recv_from(&mut datagram) {
                Ok((length, SocketAddr::V4(from))) => take(from, &datagram[..length]),
                Ok(_) => {}
                // An ICMP error of an earlier datagram: the client's own timer repeats it.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}

struct Tracker {
    address: SocketAddrV4,
    client: AnnounceClient,
}

/// The trackers of one torrent: all are asked, since a tracker that lives knows the others' peers soon.
pub(super) struct Trackers {
    all: Vec<Tracker>,
    /// How the last announces ended, for people.
    pub(super) trouble: Option<String>,
}

impl Trackers {
    pub(super) fn new(addresses: &[SocketAddrV4], mut seed: impl FnMut() -> u64) -> Trackers {
        let tracker = |&address| Tracker { address, client: AnnounceClient::new(seed()) };
        Trackers { all: addresses.iter().take(MAX_TRACKERS).map(tracker).collect(), trouble: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.all.iter().any(|t| t.client.is_busy())
    }

    pub(super) fn announce(&mut self, now: Time, announce: Announce) {
        self.all.iter_mut().for_each(|t| t.client.announce(now, announce));
    }

    pub(super) fn datagram(&mut self, now: Time, from: SocketAddrV4, bytes: &[u8]) {
        self.all.iter_mut().filter(|t| t.address == from).for_each(|t| t.client.datagram(now, bytes));
    }

    pub(super) fn wake_at(&self) -> Option<Time> {
        self.all.iter().filter_map(|t| t.client.wake_at()).min()
    }

    /// Sends what is due, and tells the core each answer; a failure only when nobody is left who may answer.
    pub(super) fn run(&mut self, now: Time, socket: &TrackerSocket, swarm: &mut Swarm) {
        let mut failed = false;
        for tracker in &mut self.all {
            while let Some(step) = tracker.client.poll(now) {
                match step {
                    // A full buffer or an unreachable net is a lost datagram: the client repeats it.
                    Step::Send(datagram) => {
                        let _ = socket.0.send_to(&datagram, tracker.address);
                    }
                    Step::Done(Outcome::Peers { interval_s, peers, .. }) => {
                        self.trouble = None;
                        swarm.handle(now, Input::Peers { peers: &peers, interval_s });
                    }
                    Step::Done(Outcome::Refused(words)) => {
                        let words: String = String::from_utf8_lossy(&words)
                            .chars()
                            .filter(|c| !c.is_control())
                            .take(100)
                            .collect();
                        self.trouble = Some(format!("tracker {} refuses: {words}", tracker.address));
                        failed = true;
                    }
                    Step::Done(Outcome::Silent) => {
                        self.trouble = Some(format!("tracker {} does not answer", tracker.address));
                        failed = true;
                    }
                }
            }
        }
        if failed && !self.is_busy() {
            swarm.handle(now, Input::AnnounceFailed);
        }
    }
}
