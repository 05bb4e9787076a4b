//! What is to happen, in order of time and then of asking. Decides nothing else.

use crate::network::Step;
use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::Piece;
use boottorrent_swarm::swarm::Conn;
use boottorrent_swarm::wire::OwnedMessage;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(crate) enum Event {
    Start(usize),
    Fault(usize, bool),
    Wake(usize),
    Linked(Conn),
    Refused(usize, usize),
    Shake(Conn),
    Messages(Conn, Vec<OwnedMessage>),
    Network(Step),
    Closed(Conn),
    Verified(usize, Piece, bool),
    Peers(usize),
    Sample,
}

#[derive(Debug)]
struct Entry {
    ns: u64,
    sequence: u64,
    event: Event,
}

impl Ord for Entry {
    /// The earliest is the greatest, since a heap gives that first.
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.ns, other.sequence).cmp(&(self.ns, self.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Entry {}

/// Nanoseconds, since a block at 10 Gbit/s takes 13 of the core's microseconds; the core is told the whole ones.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Entry>,
    sequence: u64,
    now: u64,
}

impl Agenda {
    pub(crate) fn now_ns(&self) -> u64 {
        self.now
    }

    pub(crate) fn at(&mut self, time: Time, event: Event) {
        self.at_ns(time.0.saturating_mul(1000), event);
    }

    pub(crate) fn at_ns(&mut self, ns: u64, event: Event) {
        self.sequence += 1;
        self.heap.push(Entry { ns: ns.max(self.now), sequence: self.sequence, event });
    }

    pub(crate) fn next(&mut self) -> Option<(Time, Event)> {
        let entry = self.heap.pop()?;
        self.now = entry.ns;
        Some((Time(entry.ns / 1000), entry.event))
    }
}
