//! Master, nodes and tracker, and the events between them. Decides the order of events and nothing else.

use crate::network::{Channel, Network, SEND_BUFFER};
use crate::plan::{FaultKind, Plan, Report};
use boottorrent_swarm::metainfo::{Block, Geometry, Piece};
use boottorrent_swarm::swarm::{Admit, Config, Conn, Have, Input, Output, Swarm};
use boottorrent_swarm::wire::{Handshake, OwnedMessage};
use boottorrent_swarm::{InfoHash, PeerId, Rng, Time};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What SHA-256 costs here, and a block's copy.
const HASH_BYTES_PER_S: u64 = 1_500_000_000;
/// A connect to a host without power ends after this.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses of one tracker answer.
const TRACKER_PEERS: usize = 50;
const PORT: u16 = 6881;

/// A directed end of a link: conn `2n` dialled conn `2n + 1`; a conn is also the channel of what it sends.
fn other(conn: Conn) -> Conn {
    conn ^ 1
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Start(usize),
    Fault(usize, bool),
    Wake(usize),
    Linked(Conn),
    Refused(usize, usize),
    Shake(Conn),
    Message(Conn, u64),
    Block(Conn, Block, bool),
    Closed(Conn),
    Verified(usize, Piece, bool),
    Peers(usize),
}

struct Node {
    swarm: Option<Swarm>,
    start: Time,
    finished: Option<Time>,
    alive: bool,
    /// Sends false bytes.
    is_false: bool,
    wake: Time,
    /// Pieces of which a false block is stored.
    tainted: BTreeSet<Piece>,
    /// Senders found false, by node.
    found: BTreeSet<usize>,
    done_order: Vec<u32>,
}

pub(crate) struct World<'p> {
    plan: &'p Plan,
    geometry: Geometry,
    now: Time,
    rng: Rng,
    heap: BinaryHeap<Reverse<(Time, u64, Event)>>,
    sequence: u64,
    messages: BTreeMap<u64, OwnedMessage>,
    network: Network,
    nodes: Vec<Node>,
    /// Node of each end.
    ends: BTreeMap<Conn, usize>,
    /// Whether the block at the head of a channel is let in by its receiver.
    admitted: BTreeMap<Channel, Admit>,
    next_link: u32,
    announced: BTreeSet<usize>,
    /// Pieces that some node has verified.
    spread: BTreeSet<Piece>,
    report: Report,
}

fn address(node: usize) -> SocketAddrV4 {
    let [_, a, b, c] = (node as u32 + 1).to_be_bytes();
    SocketAddrV4::new(Ipv4Addr::new(10, a, b, c), PORT)
}

fn node_at(addr: SocketAddrV4) -> usize {
    (addr.ip().to_bits() & 0x00ff_ffff) as usize - 1
}

impl<'p> World<'p> {
    pub(crate) fn new(plan: &'p Plan) -> World<'p> {
        let geometry = Geometry::new(plan.piece_length, plan.total).unwrap_or_else(|e| panic!("plan: {e}"));
        let mut rng = Rng::new(plan.seed);
        let mut rates = vec![plan.rate as f64; plan.nodes as usize + 1];
        rates[0] = plan.master_rate as f64;
        let mut world = World {
            plan,
            geometry,
            now: Time(0),
            heap: BinaryHeap::new(),
            sequence: 0,
            messages: BTreeMap::new(),
            network: Network::new(rates),
            nodes: Vec::new(),
            ends: BTreeMap::new(),
            admitted: BTreeMap::new(),
            next_link: 0,
            announced: BTreeSet::new(),
            spread: BTreeSet::new(),
            report: Report {
                makespan: None,
                finished: Vec::new(),
                master_copies: 0.0,
                duplicates: 0.0,
                false_pieces: 0,
                after_ban: 0,
                in_order: 0.0,
                longest_queue: 0,
                events: 0,
                log_hash: 0xcbf2_9ce4_8422_2325,
            },
            rng: Rng::new(0),
        };
        for n in 0..=plan.nodes {
            let jitter = rng.below(u32::try_from(plan.spread.as_micros()).unwrap_or(u32::MAX).max(1));
            let late = n > plan.nodes - plan.late.0;
            let delay =
                Duration::from_micros(u64::from(jitter)) + if late { plan.late.1 } else { Duration::ZERO };
            let start = if n == 0 { Time(0) } else { Time(0) + delay };
            world.at(start, Event::Start(n as usize));
            world.nodes.push(Node {
                swarm: None,
                start,
                finished: None,
                alive: true,
                is_false: n > plan.nodes - plan.false_senders,
                wake: Time(u64::MAX),
                tainted: BTreeSet::new(),
                found: BTreeSet::new(),
                done_order: Vec::new(),
            });
        }
        for fault in &plan.faults {
            world.at(Time(0) + fault.at, Event::Fault(fault.node as usize, fault.kind == FaultKind::Exit));
        }
        world.rng = rng;
        world
    }

    fn at(&mut self, time: Time, event: Event) {
        self.sequence += 1;
        self.heap.push(Reverse((time, self.sequence, event)));
    }

    fn soon(&mut self, event: Event) {
        self.at(self.now + self.plan.latency, event);
    }

    fn log(&mut self, words: [u64; 3]) {
        self.report.events += 1;
        for byte in words.into_iter().chain([self.now.0]).flat_map(u64::to_le_bytes) {
            self.report.log_hash = (self.report.log_hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(crate) fn run(mut self) -> Report {
        let limit = Time(0) + self.plan.limit;
        while !self.is_over() {
            let event = self.heap.peek().map(|Reverse((t, _, _))| *t);
            match (event, self.network.next()) {
                (Some(t), Some((through, channel))) if through < t => self.through(through, channel),
                (None, Some((through, channel))) => self.through(through, channel),
                (Some(_), _) => {
                    if let Some(Reverse((time, _, event))) = self.heap.pop() {
                        self.now = time;
                        self.event(event);
                    }
                }
                (None, None) => break,
            }
            if self.now > limit {
                break;
            }
        }
        self.finish()
    }

    fn is_over(&self) -> bool {
        self.nodes.iter().skip(1).all(|n| n.finished.is_some() || !n.alive || n.is_false)
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Start(n) => self.start(n),
            Event::Fault(n, exit) => self.fault(n, exit),
            Event::Wake(n) => {
                if self.nodes[n].wake == self.now {
                    self.nodes[n].wake = Time(u64::MAX);
                    self.sample(n);
                    self.input(n, Input::Tick);
                }
            }
            Event::Linked(conn) => {
                if let (Some(&n), Some(&to)) = (self.ends.get(&conn), self.ends.get(&other(conn))) {
                    self.input(n, Input::Connected { conn, peer: address(to), outgoing: true });
                    self.input(n, Input::Room { conn, bytes: SEND_BUFFER });
                }
            }
            Event::Refused(n, to) => self.input(n, Input::DialFailed { peer: address(to) }),
            Event::Shake(conn) => self.shaken(conn),
            Event::Message(conn, id) => self.deliver(conn, id),
            Event::Block(conn, block, stored) => self.arrived(conn, block, stored),
            Event::Closed(conn) => {
                if let Some(n) = self.ends.remove(&conn) {
                    self.network.close(self.now, conn);
                    self.input(n, Input::Closed { conn });
                }
            }
            Event::Verified(n, piece, ok) => {
                self.log([5, n as u64, u64::from(piece.index()) << 1 | u64::from(ok)]);
                if ok {
                    self.nodes[n].done_order.push(piece.index());
                    let new = self.spread.insert(piece);
                    if new && self.plan.master_leaves && self.spread.len() == self.geometry.pieces() as usize
                    {
                        self.fault(0, true);
                    }
                }
                self.input(n, Input::Verified { piece, ok });
            }
            Event::Peers(n) => self.tell_peers(n),
        }
    }

    fn sample(&mut self, n: usize) {
        let longest = self.nodes[n].swarm.as_ref().map_or(0, |s| s.progress().longest_queue);
        self.report.longest_queue = self.report.longest_queue.max(longest);
    }

    fn start(&mut self, n: usize) {
        let have = if n == 0 || self.nodes[n].is_false { Have::All } else { Have::None };
        let [_, _, a, b, c, d, e, f] = (n as u64 + 1).to_be_bytes();
        let peer_id = PeerId::for_node(boottorrent_swarm::Mac([a, b, c, d, e, f]));
        let seed = self.rng.next_u64();
        let mut config = Config::new(InfoHash([1; 20]), peer_id, self.geometry, have, seed);
        config.listen_port = Some(PORT);
        config.own = Some(address(n));
        if n > 0 {
            config.master = vec![address(0)];
        } else {
            config.max_peers = 1000;
        }
        self.nodes[n].swarm = Some(Swarm::new(self.now, config));
        self.outputs(n);
    }

    fn fault(&mut self, n: usize, exit: bool) {
        self.nodes[n].alive = false;
        self.announced.remove(&n);
        let ends: Vec<Conn> = self.ends.iter().filter(|(_, e)| **e == n).map(|(c, _)| *c).collect();
        for conn in ends {
            self.network.close(self.now, conn);
            if exit {
                self.ends.remove(&conn);
                self.soon(Event::Closed(other(conn)));
            }
        }
        self.nodes[n].swarm = None;
    }

    fn input(&mut self, n: usize, input: Input<'_>) {
        let now = self.now;
        if let Some(swarm) = self.nodes[n].swarm.as_mut() {
            swarm.handle(now, input);
            self.outputs(n);
        }
    }

    fn outputs(&mut self, n: usize) {
        while let Some(output) = self.nodes[n].swarm.as_mut().and_then(Swarm::poll) {
            self.perform(n, output);
        }
        let wake = self.nodes[n].swarm.as_ref().and_then(Swarm::wake_at);
        if let Some(wake) = wake.map(|w| w.max(self.now))
            && wake < self.nodes[n].wake
        {
            self.nodes[n].wake = wake;
            self.at(wake, Event::Wake(n));
        }
    }

    fn perform(&mut self, n: usize, output: Output) {
        match output {
            Output::Dial { peer } => self.dial(n, node_at(peer)),
            Output::Handshake { conn, .. } => self.soon(Event::Shake(other(conn))),
            Output::Send { conn, message } => {
                self.network.control(conn, message.wire_size());
                self.sequence += 1;
                let id = self.sequence;
                self.messages.insert(id, message);
                self.soon(Event::Message(other(conn), id));
            }
            Output::SendBlock { conn, block } => {
                if n == 0 {
                    self.report.master_copies += f64::from(block.length);
                }
                if self.network.send(self.now, conn, block) {
                    self.admit(conn, block);
                }
            }
            Output::Close { conn, reason } => {
                self.log([6, u64::from(conn), reason.to_string().len() as u64]);
                if reason == boottorrent_swarm::swarm::CloseReason::FalsePiece
                    && let Some(&from) = self.ends.get(&other(conn))
                {
                    self.nodes[n].found.insert(from);
                }
                if self.ends.remove(&conn).is_some() {
                    self.network.close(self.now, conn);
                    self.soon(Event::Closed(other(conn)));
                }
            }
            Output::Verify { piece } => {
                let ok = !self.nodes[n].tainted.remove(&piece);
                self.report.false_pieces += u32::from(!ok);
                let micros = u64::from(self.geometry.piece_size(piece)) * 1_000_000 / HASH_BYTES_PER_S;
                self.at(self.now + Duration::from_micros(micros), Event::Verified(n, piece, ok));
            }
            Output::Announce { .. } => {
                self.announced.insert(n);
                self.at(self.now + self.plan.latency * 4, Event::Peers(n));
            }
            // The model has a tracker, and nothing that a datagram to all would reach.
            Output::AnnounceLocal => {}
            Output::Complete => self.nodes[n].finished = Some(self.now),
        }
    }

    fn dial(&mut self, n: usize, to: usize) {
        let up = self.nodes.get(to).is_some_and(|t| t.swarm.is_some());
        let alive = self.nodes.get(to).is_some_and(|t| t.alive);
        if !up {
            let wait = if alive { self.plan.latency * 2 } else { DIAL_TIMEOUT };
            return self.at(self.now + wait, Event::Refused(n, to));
        }
        let conn = self.next_link * 2;
        self.next_link += 1;
        self.ends.insert(conn, n);
        self.ends.insert(other(conn), to);
        self.network.open(conn, n, to);
        self.network.open(other(conn), to, n);
        self.at(self.now + self.plan.latency * 2, Event::Linked(conn));
    }

    fn shaken(&mut self, conn: Conn) {
        let (Some(&n), Some(&from)) = (self.ends.get(&conn), self.ends.get(&other(conn))) else { return };
        if conn % 2 == 1 {
            let peer = SocketAddrV4::new(*address(from).ip(), 40_000 + (conn % 20_000) as u16);
            self.input(n, Input::Connected { conn, peer, outgoing: false });
            self.input(n, Input::Room { conn, bytes: SEND_BUFFER });
        }
        let [_, _, a, b, c, d, e, f] = (from as u64 + 1).to_be_bytes();
        let peer_id = PeerId::for_node(boottorrent_swarm::Mac([a, b, c, d, e, f]));
        self.log([1, n as u64, from as u64]);
        self.input(n, Input::Handshake { conn, handshake: Handshake::new(InfoHash([1; 20]), peer_id) });
    }

    fn deliver(&mut self, conn: Conn, id: u64) {
        let Some(message) = self.messages.remove(&id) else { return };
        if let Some(&n) = self.ends.get(&conn) {
            self.log([2, n as u64, u64::from(conn)]);
            self.input(n, Input::Message { conn, message: message.as_message() });
        }
    }

    /// The first bytes of a block leave: its receiver says whether it wants them.
    fn admit(&mut self, channel: Channel, block: Block) {
        let conn = other(channel);
        let Some(&n) = self.ends.get(&conn) else { return };
        let from = self.ends.get(&channel).copied();
        if from.is_some_and(|f| self.nodes[n].found.contains(&f)) {
            self.report.after_ban += 1;
        }
        if let Some(swarm) = self.nodes[n].swarm.as_mut() {
            let admit = swarm.admit_block(conn, block.piece.index(), block.offset, block.length);
            self.admitted.insert(channel, admit);
            self.outputs(n);
        }
    }

    /// The last byte of a channel's head has left its sender.
    fn through(&mut self, time: Time, channel: Channel) {
        self.now = time;
        let Some((block, next)) = self.network.take(time, channel) else { return };
        match self.admitted.remove(&channel) {
            Some(Admit::Store(block)) => self.soon(Event::Block(other(channel), block, true)),
            Some(Admit::Discard(_)) => self.soon(Event::Block(other(channel), block, false)),
            _ => {}
        }
        if let Some(next) = next {
            self.admit(channel, next);
        }
        if let Some(&n) = self.ends.get(&channel) {
            let bytes = self.network.room(channel);
            self.input(n, Input::Room { conn: channel, bytes });
        }
    }

    fn arrived(&mut self, conn: Conn, block: Block, stored: bool) {
        let Some(&n) = self.ends.get(&conn) else { return };
        self.log([
            3 + u64::from(stored),
            n as u64,
            u64::from(block.piece.index()) << 32 | u64::from(block.offset),
        ]);
        if !stored {
            return self.input(n, Input::Discarded { conn, block });
        }
        if self.ends.get(&other(conn)).is_some_and(|f| self.nodes[*f].is_false) {
            self.nodes[n].tainted.insert(block.piece);
        }
        self.input(n, Input::Block { conn, block });
    }

    fn tell_peers(&mut self, n: usize) {
        let mut all: Vec<usize> = self.announced.iter().copied().filter(|p| *p != n).collect();
        let mut peers = Vec::new();
        while peers.len() < TRACKER_PEERS && !all.is_empty() {
            let at = self.rng.below(all.len() as u32) as usize;
            peers.push(address(all.swap_remove(at)));
        }
        self.input(n, Input::Peers { peers: &peers, interval_s: 30 });
    }

    fn finish(mut self) -> Report {
        let first = self.nodes.iter().skip(1).map(|n| n.start).min().unwrap_or(Time(0));
        let honest = || self.nodes.iter().skip(1).filter(|n| !n.is_false);
        self.report.finished = honest().map(|n| n.finished.map(|t| t - n.start)).collect();
        let living = || honest().filter(|n| n.alive);
        if living().all(|n| n.finished.is_some()) {
            self.report.makespan = living().filter_map(|n| n.finished).max().map(|t| t - first);
        }
        let (mut twice, mut once, mut pairs, mut ascending) = (0, 0, 0u32, 0u32);
        for node in honest() {
            if let Some(swarm) = &node.swarm {
                twice += swarm.progress().duplicates;
                once += swarm.progress().bytes_in;
            }
            pairs += node.done_order.len().saturating_sub(1) as u32;
            ascending += node.done_order.windows(2).filter(|w| w[1] == w[0] + 1).count() as u32;
        }
        self.report.master_copies /= self.plan.total as f64;
        self.report.duplicates = twice as f64 / (twice + once).max(1) as f64;
        self.report.in_order = f64::from(ascending) / f64::from(pairs.max(1));
        self.report
    }
}
