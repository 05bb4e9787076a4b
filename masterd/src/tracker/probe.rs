//! The tracker's core for the fuzz targets (tests/fuzz): a datagram in, the answer out. Opens nothing; no program uses it.

use std::net::{Ipv4Addr, SocketAddrV4};

use boottorrent_swarm::Time;

use super::config::TrackerConfig;
use super::core::Tracker;
use super::http;

/// A tracker without its socket.
#[derive(Debug)]
pub struct Probe {
    tracker: Tracker,
}

impl Probe {
    #[must_use]
    pub fn new(config: TrackerConfig) -> Probe {
        let mut tracker = Tracker::new([7; 32], 1);
        tracker.configure(config);
        Probe { tracker }
    }

    /// The answer, empty where there is none, and whether the datagram is counted as odd.
    pub fn datagram(&mut self, now: Time, from: SocketAddrV4, datagram: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let odd = self.tracker.handle(now, from, datagram, &mut out).is_err();
        (out, odd)
    }

    /// The answer to an HTTP request; none where it goes on.
    pub fn http(&mut self, now: Time, from: Ipv4Addr, input: &[u8]) -> Option<Vec<u8>> {
        http::exchange(now, from, input, &mut self.tracker).map(|(answer, _)| answer)
    }

    pub fn expire(&mut self, now: Time) {
        self.tracker.expire(now);
    }

    /// Peers that are remembered.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.tracker.torrents.peers()
    }
}
