//! Master, nodes and tracker, and the events between them. Decides the order of events and nothing else.

use crate::addresses::{Addresses, PORT};
use crate::agenda::{Agenda, Event};
use crate::network::{Channel, Network, Notice, SEND_BUFFER};
use crate::plan::{FaultKind, Plan, Report};
use boottorrent_swarm::graph::Graph;
use boottorrent_swarm::metainfo::{Block, Geometry, Piece};
use boottorrent_swarm::swarm::{Admit, Config, Conn, Have, Input, Output, Swarm};
use boottorrent_swarm::wire::{Handshake, OwnedMessage};
use boottorrent_swarm::{InfoHash, PeerId, Rng, Time};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::Duration;

/// What SHA-256 costs here, and a block's copy.
const HASH_BYTES_PER_S: u64 = 1_500_000_000;
/// A connect to a host without power ends after this.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses of one tracker answer.
const TRACKER_PEERS: usize = 200;
/// When the tracker wants to hear of a node again, and of one that is short of links.
const TRACKER_INTERVALS_S: (u32, u32) = (10, 2);
/// Time between two looks at who is idle.
const SAMPLE: Duration = Duration::from_micros(7919);

/// A directed end of a link: conn `2n` dialled conn `2n + 1`; a conn is also the channel of what it sends.
fn other(conn: Conn) -> Conn {
    conn ^ 1
}

struct Node {
    swarm: Option<Swarm>,
    start: Time,
    late: bool,
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
    agenda: Agenda,
    network: Network,
    nodes: Vec<Node>,
    /// Nodes that the run waits for.
    unfinished: usize,
    /// By conn: the node at this end, while the link is up there.
    ends: Vec<Option<usize>>,
    /// By channel: whether the block at its head is let in by its receiver.
    admitted: Vec<Option<Admit>>,
    /// What the node that is being asked says, by link.
    outbox: Vec<(Conn, Vec<OwnedMessage>)>,
    addresses: Addresses,
    /// Who cannot reach whom, both ways.
    strangers: BTreeSet<(usize, usize)>,
    tracker: Graph,
    /// Pieces that some node has verified.
    spread: BTreeSet<Piece>,
    report: Report,
}

impl<'p> World<'p> {
    pub(crate) fn new(plan: &'p Plan) -> World<'p> {
        let geometry = Geometry::new(plan.piece_length, plan.total).unwrap_or_else(|e| panic!("plan: {e}"));
        let rates: Vec<u64> = (0..=plan.nodes).map(|n| plan.rate_of(n)).collect();
        let mut world = World {
            plan,
            geometry,
            now: Time(0),
            agenda: Agenda::default(),
            network: Network::new(&rates, plan.racks.map(|r| (r.nodes, r.uplink))),
            nodes: Vec::new(),
            unfinished: (plan.nodes - plan.false_senders) as usize,
            ends: Vec::new(),
            admitted: Vec::new(),
            outbox: Vec::new(),
            addresses: Addresses::new(plan),
            strangers: strangers(plan),
            tracker: Graph::new(plan.seed),
            spread: BTreeSet::new(),
            report: Report::default(),
            rng: Rng::new(plan.seed),
        };
        for n in 0..=plan.nodes {
            let jitter = world.rng.below(u32::try_from(plan.spread.as_micros()).unwrap_or(u32::MAX).max(1));
            let late = n > plan.nodes - plan.late.0;
            let delay =
                Duration::from_micros(u64::from(jitter)) + if late { plan.late.1 } else { Duration::ZERO };
            let start = if n == 0 { Time(0) } else { Time(0) + delay };
            world.agenda.at(start, Event::Start(n as usize));
            world.nodes.push(Node {
                swarm: None,
                start,
                late,
                finished: None,
                alive: true,
                is_false: n > plan.nodes - plan.false_senders,
                wake: Time(u64::MAX),
                tainted: BTreeSet::new(),
                found: BTreeSet::new(),
                done_order: Vec::new(),
            });
        }
        if plan.samples {
            world.agenda.at(Time(0) + SAMPLE, Event::Sample);
        }
        for fault in &plan.faults {
            let event = Event::Fault(fault.node as usize, fault.kind == FaultKind::Exit);
            world.agenda.at(Time(0) + fault.at, event);
        }
        world
    }

    fn end(&self, conn: Conn) -> Option<usize> {
        self.ends.get(conn as usize).copied().flatten()
    }

    fn unlink(&mut self, conn: Conn) -> Option<usize> {
        self.ends.get_mut(conn as usize).and_then(Option::take)
    }

    /// Control messages and signals; the delay that a block has, too, is charged to them (three go before a block that
    /// nobody expected: the HAVE, the offer, the request).
    fn soon(&mut self, event: Event) {
        self.agenda.at(self.now + self.plan.latency * 3 / 2, event);
    }

    fn log(&mut self, words: [u64; 3]) {
        self.report.events += 1;
        for word in words.into_iter().chain([self.now.0]) {
            self.report.log_hash =
                (self.report.log_hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
        }
    }

    pub(crate) fn run(mut self) -> Report {
        let limit = Time(0) + self.plan.limit;
        while self.unfinished > 0
            && let Some((now, event)) = self.agenda.next()
        {
            self.now = now;
            if self.now > limit {
                break;
            }
            self.event(event);
        }
        self.finish()
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
                if let (Some(n), Some(to)) = (self.end(conn), self.end(other(conn))) {
                    self.input(n, Input::Connected { conn, peer: self.addresses.of(to), outgoing: true });
                    self.input(n, Input::Room { conn, bytes: SEND_BUFFER });
                }
            }
            Event::Refused(n, to) => self.input(n, Input::DialFailed { peer: self.addresses.of(to) }),
            Event::Shake(conn) => self.shaken(conn),
            Event::Messages(conn, messages) => self.deliver(conn, &messages),
            Event::Network(step) => {
                self.network.step(self.agenda.now_ns(), step);
                self.network_says();
            }
            Event::Closed(conn) => {
                if let Some(n) = self.unlink(conn) {
                    self.network.close(conn);
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
            Event::Sample => self.take_sample(),
        }
    }

    fn sample(&mut self, n: usize) {
        let longest = self.nodes[n].swarm.as_ref().map_or(0, |s| s.progress().longest_queue);
        self.report.longest_queue = self.report.longest_queue.max(longest);
    }

    /// Who is idle now, and why.
    fn take_sample(&mut self) {
        for (n, node) in self.nodes.iter().enumerate() {
            let Some(swarm) = node.swarm.as_ref().filter(|_| node.alive) else { continue };
            let (sends, receives) = self.network.busy(n);
            let all = swarm.is_complete();
            self.report.idle.sample(swarm, sends, receives, all);
        }
        self.agenda.at(self.now + SAMPLE, Event::Sample);
    }

    fn start(&mut self, n: usize) {
        let have = if n == 0 || self.nodes[n].is_false { Have::All } else { Have::None };
        let peer_id = peer_id(n);
        let seed = self.rng.next_u64();
        let mut config = Config::new(InfoHash([1; 20]), peer_id, self.geometry, have, seed);
        config.listen_port = Some(PORT);
        // The master serves every network, and is in none.
        config.own = (n > 0).then(|| self.addresses.of(n));
        config.near_prefix = self.addresses.near_prefix;
        if n > 0 {
            config.master = vec![self.addresses.of(0)];
        } else {
            config.max_peers = 1000;
        }
        self.nodes[n].swarm = Some(Swarm::new(self.now, config));
        self.outputs(n);
    }

    fn fault(&mut self, n: usize, exit: bool) {
        let node = &mut self.nodes[n];
        self.unfinished -= usize::from(n > 0 && node.alive && node.finished.is_none() && !node.is_false);
        node.alive = false;
        node.swarm = None;
        if exit {
            self.tracker.left(self.addresses.of(n));
        } else {
            self.network.cut(n);
        }
        let ends: Vec<Conn> =
            (0..self.ends.len() as Conn).filter(|conn| self.end(*conn) == Some(n)).collect();
        for conn in ends {
            self.network.close(conn);
            if exit {
                self.unlink(conn);
                self.soon(Event::Closed(other(conn)));
            }
        }
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
        self.post();
        self.network_says();
        let wake = self.nodes[n].swarm.as_ref().and_then(Swarm::wake_at);
        if let Some(wake) = wake.map(|w| w.max(self.now))
            && wake < self.nodes[n].wake
        {
            self.nodes[n].wake = wake;
            self.agenda.at(wake, Event::Wake(n));
        }
    }

    /// What was said in one go travels in one go.
    fn post(&mut self) {
        for (conn, messages) in std::mem::take(&mut self.outbox) {
            self.soon(Event::Messages(other(conn), messages));
        }
    }

    fn network_says(&mut self) {
        while let Some(notice) = self.network.notices.pop_front() {
            match notice {
                Notice::At(ns, step) => self.agenda.at_ns(ns, Event::Network(step)),
                Notice::Head(channel, block) => self.admit(channel, block),
                Notice::Through(channel, block) => self.through(channel, block),
                Notice::Drained(channel) => {
                    if let Some(n) = self.end(channel) {
                        let bytes = self.network.room(channel);
                        self.input(n, Input::Room { conn: channel, bytes });
                    }
                }
            }
        }
    }

    fn perform(&mut self, n: usize, output: Output) {
        match output {
            Output::Dial { peer } => self.dial(n, self.addresses.node(peer)),
            Output::Handshake { conn, .. } => self.soon(Event::Shake(other(conn))),
            Output::Send { conn, message } => {
                self.network.control(conn, message.wire_size());
                match self.outbox.last_mut() {
                    Some((last, messages)) if *last == conn => messages.push(message),
                    _ => self.outbox.push((conn, vec![message])),
                }
            }
            Output::SendBlock { conn, block } => {
                if n == 0 {
                    self.report.master_copies += f64::from(block.length);
                }
                self.network.send(self.agenda.now_ns(), conn, block);
            }
            Output::Close { conn, reason } => {
                self.log([6, u64::from(conn), reason.to_string().len() as u64]);
                if reason == boottorrent_swarm::swarm::CloseReason::FalsePiece
                    && let Some(from) = self.end(other(conn))
                {
                    self.nodes[n].found.insert(from);
                }
                self.post();
                if self.unlink(conn).is_some() {
                    self.network.close(conn);
                    self.soon(Event::Closed(other(conn)));
                }
            }
            Output::Verify { piece } => {
                let ok = !self.nodes[n].tainted.remove(&piece);
                self.report.false_pieces += u32::from(!ok);
                let micros = u64::from(self.geometry.piece_size(piece)) * 1_000_000 / HASH_BYTES_PER_S;
                self.agenda.at(self.now + Duration::from_micros(micros), Event::Verified(n, piece, ok));
            }
            Output::Announce { .. } => {
                self.agenda.at(self.now + self.plan.latency * 4, Event::Peers(n));
            }
            Output::Complete => {
                self.nodes[n].finished = Some(self.now);
                self.unfinished -= usize::from(!self.nodes[n].is_false);
            }
            // The model has a tracker, and nothing that a datagram to all would reach.
            Output::AnnounceLocal => {}
        }
    }

    fn dial(&mut self, n: usize, to: usize) {
        let up = self.nodes.get(to).is_some_and(|t| t.swarm.is_some());
        let alive = self.nodes.get(to).is_some_and(|t| t.alive) && !self.strangers.contains(&(n, to));
        if !up || !alive {
            let wait = if alive { self.plan.latency * 2 } else { DIAL_TIMEOUT };
            return self.agenda.at(self.now + wait, Event::Refused(n, to));
        }
        let conn = self.ends.len() as Conn;
        self.ends.extend([Some(n), Some(to)]);
        self.admitted.extend([None, None]);
        self.network.open(n, to);
        self.network.open(to, n);
        self.agenda.at(self.now + self.plan.latency * 2, Event::Linked(conn));
    }

    fn shaken(&mut self, conn: Conn) {
        let (Some(n), Some(from)) = (self.end(conn), self.end(other(conn))) else { return };
        if conn % 2 == 1 {
            let peer = SocketAddrV4::new(*self.addresses.of(from).ip(), 40_000 + (conn % 20_000) as u16);
            self.input(n, Input::Connected { conn, peer, outgoing: false });
            self.input(n, Input::Room { conn, bytes: SEND_BUFFER });
        }
        let peer_id = peer_id(from);
        self.log([1, n as u64, from as u64]);
        self.input(n, Input::Handshake { conn, handshake: Handshake::new(InfoHash([1; 20]), peer_id) });
    }

    fn deliver(&mut self, conn: Conn, messages: &[OwnedMessage]) {
        let Some(n) = self.end(conn) else { return };
        self.log([2, n as u64, u64::from(conn) << 32 | messages.len() as u64]);
        let Some(swarm) = self.nodes[n].swarm.as_mut() else { return };
        for message in messages {
            swarm.handle(self.now, Input::Message { conn, message: message.as_message() });
        }
        self.outputs(n);
        // What was said has left the sender's queue.
        if let Some(from) = self.end(other(conn)) {
            let bytes = self.network.room(other(conn));
            self.input(from, Input::Room { conn: other(conn), bytes });
        }
    }

    /// The first bytes of a block are here: its receiver says whether it wants them.
    fn admit(&mut self, channel: Channel, block: Block) {
        let conn = other(channel);
        let Some(n) = self.end(conn) else { return };
        let from = self.end(channel);
        if from.is_some_and(|f| self.nodes[n].found.contains(&f)) {
            self.report.after_ban += 1;
        }
        if let Some(swarm) = self.nodes[n].swarm.as_mut() {
            let admit = swarm.admit_block(conn, block.piece.index(), block.offset, block.length);
            self.admitted[channel as usize] = Some(admit);
            self.outputs(n);
        }
    }

    /// The last byte of a block is here.
    fn through(&mut self, channel: Channel, block: Block) {
        let conn = other(channel);
        let stored = match self.admitted[channel as usize].take() {
            Some(Admit::Store(_)) => true,
            Some(Admit::Discard(_)) => false,
            _ => return,
        };
        let Some(n) = self.end(conn) else { return };
        let what = u64::from(block.piece.index()) << 32 | u64::from(block.offset);
        self.log([3 + u64::from(stored), n as u64, what]);
        if !stored {
            return self.input(n, Input::Discarded { conn, block });
        }
        if self.end(channel).is_some_and(|f| self.nodes[f].is_false) {
            self.nodes[n].tainted.insert(block.piece);
        }
        self.input(n, Input::Block { conn, block });
    }

    fn tell_peers(&mut self, n: usize) {
        let Some(complete) = self.nodes[n].swarm.as_ref().map(Swarm::is_complete) else { return };
        // The master is configured, and announces nothing.
        if n == 0 {
            return;
        }
        let who = self.addresses.of(n);
        self.tracker.announced(who, self.addresses.rack(n), complete, TRACKER_PEERS);
        let peers = self.tracker.row(who).to_vec();
        let (usual, short) = TRACKER_INTERVALS_S;
        let interval_s = if self.tracker.is_short(who) { short } else { usual };
        let leeches = |n: &Node| n.alive && n.swarm.as_ref().is_some_and(|s| !s.is_complete());
        let leechers = self.nodes.iter().filter(|n| leeches(n)).count() as u32;
        if let Some(rack) = self.addresses.told_rack(n) {
            self.input(n, Input::Placed { rack });
        }
        self.input(n, Input::Tracked { peers: &peers, interval_s, leechers });
    }

    fn finish(mut self) -> Report {
        let first = self.nodes.iter().skip(1).map(|n| n.start).min().unwrap_or(Time(0));
        let honest = || self.nodes.iter().skip(1).filter(|n| !n.is_false);
        self.report.finished = honest().map(|n| n.finished.map(|t| t - n.start)).collect();
        let living = || honest().filter(|n| n.alive);
        if living().all(|n| n.finished.is_some()) {
            self.report.makespan = living().filter_map(|n| n.finished).max().map(|t| t - first);
            let early = living().filter(|n| !n.late).filter_map(|n| n.finished).max();
            self.report.together = early.map(|t| t - first);
            self.report.latest =
                living().filter(|n| n.late).filter_map(|n| Some(n.finished? - n.start)).max();
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
        let total = self.plan.total as f64;
        self.report.master_copies /= total;
        let (taken, sent) = self.network.most_across();
        (self.report.rack_copies, self.report.rack_sent) = (taken as f64 / total, sent as f64 / total);
        self.report.duplicates = twice as f64 / (twice + once).max(1) as f64;
        self.report.in_order = f64::from(ascending) / f64::from(pairs.max(1));
        self.report
    }
}

/// Nodes and those behind them in the ring, evenly spread; never the master.
fn strangers(plan: &Plan) -> BTreeSet<(usize, usize)> {
    let mut all: Vec<usize> = (1..=plan.nodes as usize).collect();
    all.sort_by_key(|n| peer_id(*n));
    let step = all.len() / (plan.strangers as usize).max(1);
    let pairs = all.windows(2).step_by(step.max(1)).take(plan.strangers as usize);
    pairs.flat_map(|pair| [(pair[0], pair[1]), (pair[1], pair[0])]).collect()
}

/// In no order: who is late or gone must not be at one end of anything (Fibonacci hashing; odd, so no two are the same).
fn peer_id(n: usize) -> PeerId {
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4b) & 0xffff_ffff_ffff;
    let [_, _, a, b, c, d, e, f] = mixed.to_be_bytes();
    PeerId::for_node(boottorrent_swarm::Mac([a, b, c, d, e, f]))
}
