//! The trackers of a torrent, one BEP 15 client for each. Decides which answer is worth telling the core; when to announce
//! is the core's, when to repeat is the client's, and sockets are the drivers'.

use boottorrent_swarm::Time;
use boottorrent_swarm::announce::{Announce, AnnounceClient, Outcome, Step};
use boottorrent_swarm::swarm::{Input, Swarm};
use std::net::SocketAddrV4;

/// Trackers of one torrent; more would be a forged list.
const MAX_TRACKERS: usize = 8;

struct Tracker {
    address: SocketAddrV4,
    client: AnnounceClient,
}

/// The trackers of one torrent: all are asked, since a tracker that lives knows the others' peers soon.
pub(crate) struct Trackers {
    all: Vec<Tracker>,
    /// How the last announces ended, for people.
    pub(crate) trouble: Option<String>,
}

impl Trackers {
    pub(crate) fn new(addresses: &[SocketAddrV4], mut seed: impl FnMut() -> u64) -> Trackers {
        let tracker = |&address| Tracker { address, client: AnnounceClient::new(seed()) };
        Trackers { all: addresses.iter().take(MAX_TRACKERS).map(tracker).collect(), trouble: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.all.iter().any(|t| t.client.is_busy())
    }

    pub(crate) fn announce(&mut self, now: Time, announce: Announce) {
        self.all.iter_mut().for_each(|t| t.client.announce(now, announce));
    }

    pub(crate) fn datagram(&mut self, now: Time, from: SocketAddrV4, bytes: &[u8]) {
        self.all.iter_mut().filter(|t| t.address == from).for_each(|t| t.client.datagram(now, bytes));
    }

    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.all.iter().filter_map(|t| t.client.wake_at()).min()
    }

    /// Hands what is due to `send`, and tells the core each answer; a failure only when nobody is left who may answer.
    pub(crate) fn run(&mut self, now: Time, swarm: &mut Swarm, mut send: impl FnMut(SocketAddrV4, &[u8])) {
        let mut failed = false;
        for tracker in &mut self.all {
            while let Some(step) = tracker.client.poll(now) {
                match step {
                    Step::Send(datagram) => send(tracker.address, &datagram),
                    Step::Done(Outcome::Peers { interval_s, leechers, peers, .. }) => {
                        self.trouble = None;
                        swarm.handle(now, Input::Tracked { peers: &peers, interval_s, leechers });
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
