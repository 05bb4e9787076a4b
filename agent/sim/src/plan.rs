//! What a run is given and what it tells. Decides the bound that a run is measured by.

use crate::idle::Idle;
use crate::network::WIRE_COST;
use boottorrent_swarm::Rng;
use core::time::Duration;

/// What befalls a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Power is cut: the others hear nothing, neither an end nor an answer.
    PowerCut,
    /// The process ends: its links are closed.
    Exit,
}

/// A node that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// 0 is the master, nodes count from 1.
    pub node: u32,
    pub at: Duration,
    pub kind: FaultKind,
}

/// Nodes stand in racks, filled in order, and share an uplink; the master stands outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Racks {
    /// Nodes of each.
    pub nodes: u32,
    /// Bytes a second, in each direction.
    pub uplink: u64,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes beside the master.
    pub nodes: u32,
    /// Bytes of the image.
    pub total: u64,
    /// Bytes.
    pub piece_length: u32,
    /// Bytes a second of each node's link, in each direction.
    pub rate: u64,
    /// The same for the master.
    pub master_rate: u64,
    /// One way.
    pub latency: Duration,
    pub seed: u64,
    /// Nodes start at random within this.
    pub spread: Duration,
    /// The last so many nodes start this much later still.
    pub late: (u32, Duration),
    /// The last so many nodes have links of so many bytes a second.
    pub slow: (u32, u64),
    pub racks: Option<Racks>,
    /// Bits that the addresses of nodes near each other have in common, if that is not what the network is like.
    pub near_prefix: Option<u8>,
    /// The racks are of one subnet: a node knows its own from the tracker alone.
    pub told_racks: bool,
    pub faults: Vec<Fault>,
    /// So many nodes and the one behind each, in the order of peer ids, cannot reach each other.
    pub strangers: u32,
    /// The master ends for good as soon as the nodes together hold one copy.
    pub master_leaves: bool,
    /// The last so many nodes say that they have everything, and send false bytes.
    pub false_senders: u32,
    /// Look at who is idle, and why.
    pub samples: bool,
    /// The run ends here at the latest.
    pub limit: Duration,
}

impl Plan {
    /// `nodes` nodes and a master on equal links, started within 100 ms.
    #[must_use]
    pub fn new(nodes: u32, total: u64, piece_length: u32, rate: u64, seed: u64) -> Plan {
        Plan {
            nodes,
            total,
            piece_length,
            rate,
            master_rate: rate,
            latency: Duration::from_micros(100),
            seed,
            spread: Duration::from_millis(100),
            late: (0, Duration::ZERO),
            slow: (0, rate),
            racks: None,
            near_prefix: None,
            told_racks: false,
            faults: Vec::new(),
            strangers: 0,
            master_leaves: false,
            false_senders: 0,
            samples: false,
            limit: Duration::from_secs(3600),
        }
    }

    /// So many nodes, of those that are not late, are lost at random times before the others can be done.
    #[must_use]
    pub fn lose(mut self, count: u32, kind: FaultKind) -> Plan {
        let mut lots = Rng::new(self.seed ^ 0x10_5e);
        let mut nodes: Vec<u32> = (1..=self.nodes - self.late.0).collect();
        let micros = u32::try_from(self.bound_together().as_micros()).unwrap_or(u32::MAX);
        for _ in 0..count.min(self.nodes - self.late.0) {
            let node = nodes.swap_remove(lots.below(nodes.len() as u32) as usize);
            let at = Duration::from_micros(u64::from(lots.below(micros)));
            self.faults.push(Fault { node, at, kind });
        }
        self
    }

    /// Bytes a second of a node's link.
    pub(crate) fn rate_of(&self, node: u32) -> u64 {
        match node {
            0 => self.master_rate,
            n if n > self.nodes - self.slow.0 => self.slow.1,
            _ => self.rate,
        }
    }

    /// No schedule of whole pieces over equal links is faster: P - 1 + ceil(log2(N + 1)) piece times (Mundinger, Weber and
    /// Weiss 2008). The P - 1 are the source's own link, which must pass every piece once; the rest is what the last piece
    /// needs to double itself to everybody. A piece time is that of its bytes with their headers: a copy by plain HTTP pays
    /// for those, too, so a ratio to this bound is one to such a copy. Slow nodes, late ones and racks are bounds of their own,
    /// by the bytes that their links must pass; the largest bound counts.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let late = if self.late.0 > 0 { self.late.1 + self.copy(self.rate) } else { Duration::ZERO };
        self.bound_together().max(late)
    }

    /// What a copy takes over a link of so many bytes a second.
    #[must_use]
    pub fn copy(&self, rate: u64) -> Duration {
        Duration::from_secs_f64(self.total as f64 * WIRE_COST / rate as f64)
    }

    /// The bound of those that started together.
    #[must_use]
    pub fn bound_together(&self) -> Duration {
        let pieces = self.total.div_ceil(u64::from(self.piece_length));
        let rounds = pieces - 1 + u64::from((self.nodes + 1).next_power_of_two().ilog2());
        let source = rounds as f64 * f64::from(self.piece_length) * WIRE_COST / self.rate as f64;
        let slow = if self.slow.0 > 0 { self.copy(self.slow.1) } else { Duration::ZERO };
        let racks = self.racks.map_or(Duration::ZERO, |r| self.copy(r.uplink));
        Duration::from_secs_f64(source).max(slow).max(racks)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// From the first node's start to the last living node's last verified piece; `None` where one is not complete.
    pub makespan: Option<Duration>,
    /// The same for those that were not late.
    pub together: Option<Duration>,
    /// The longest time that a late node took from its own start.
    pub latest: Option<Duration>,
    /// Where the links' time went, if samples were asked for.
    pub idle: Idle,
    /// Each honest node's time from its start, nodes from 1.
    pub finished: Vec<Option<Duration>>,
    /// Bytes that the master sent, in images.
    pub master_copies: f64,
    /// Bytes that the greediest rack took in from outside, in images.
    pub rack_copies: f64,
    /// Bytes that the most generous rack sent out, in images.
    pub rack_sent: f64,
    /// Block bytes that nodes received twice, over all bytes that they received.
    pub duplicates: f64,
    /// Pieces that came out false.
    pub false_pieces: u32,
    /// Blocks that were sent to a node by a peer which it had found false before.
    pub after_ban: u32,
    /// Of all pairs of pieces that a node completed one after the other: the share of neighbours in order.
    pub in_order: f64,
    /// Requests that waited at one peer for another, at most (sampled at timers).
    pub longest_queue: u32,
    pub events: u64,
    /// FNV-1a over every event: two runs of one plan have the same.
    pub log_hash: u64,
}
