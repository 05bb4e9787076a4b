//! Blocks over ports that serve their flows in turn. Decides when a block is through; knows no message.
//! A port passes one block of each waiting flow after another, and a flow has a window: that is max-min fairness up to
//! a block, found without ever looking at more than the two flows that a block concerns.

use boottorrent_swarm::metainfo::Block;
use std::collections::VecDeque;

/// One direction of one link.
pub(crate) type Channel = u32;

/// Bytes that a sender's socket takes before it is full: what `TCP_NOTSENT_LOWAT` leaves of a kernel's.
pub(crate) const SEND_BUFFER: u32 = 64 * 1024;
/// Blocks between the sender's card and the receiver: more than bandwidth x delay of a Gbit/s switch, and as deep as its
/// buffer makes a congestion window.
const WINDOW: u32 = 4;
/// Ethernet, IP and TCP headers of a 1448-byte segment: 1514 on the wire.
pub(crate) const WIRE_COST: f64 = 1514.0 / 1448.0;

/// A block on its way, and its bytes with all headers and the control messages that go with it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cargo {
    pub(crate) block: Block,
    bytes: u32,
}

/// What the network has to be told when its time has come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// The port has passed its block on.
    Passed(u32),
    /// The first byte of a channel's next block is at a port.
    Arrived(Channel, u8),
}

/// What the network tells.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Tell it this, so many nanoseconds after the start.
    At(u64, Step),
    /// The first byte of a block is at its receiver.
    Head(Channel, Block),
    /// The last one is.
    Through(Channel, Block),
    /// The sender's queue has room again.
    Drained(Channel),
}

#[derive(Debug)]
struct Port {
    picos_per_byte: u64,
    serving: Option<(Channel, u8, Cargo)>,
    /// Flows that wait for their turn.
    ring: VecDeque<(Channel, u8)>,
    dead: bool,
}

impl Port {
    fn new(bytes_per_s: u64) -> Port {
        let picos_per_byte = 1_000_000_000_000 / bytes_per_s.max(1);
        Port { picos_per_byte, serving: None, ring: VecDeque::new(), dead: false }
    }

    fn nanos(&self, bytes: u32) -> u64 {
        u64::from(bytes) * self.picos_per_byte / 1000
    }
}

/// Ports that a channel may lead through: its ends, and between them two uplinks.
const HOPS: usize = 4;

/// A channel's way through one port. Blocks never overtake each other, so that two counts say which of them wait here.
#[derive(Debug, Clone, Copy, Default)]
struct Hop {
    port: u32,
    came: u32,
    went: u32,
    /// It is in its port's ring.
    listed: bool,
}

/// A hundred thousand of them do not fit into a processor's cache, so what a block touches is kept in few places.
#[derive(Debug)]
struct Flow {
    hops: [Hop; HOPS],
    /// The one at the receiver.
    last: u8,
    is_open: bool,
    /// Blocks that the last hop has not begun.
    blocks: VecDeque<Cargo>,
    /// Bytes in the sender's queue.
    queued: u32,
    /// Blocks that have left the queue and are not through.
    under_way: u32,
    /// Control bytes that travel with the next block.
    debt: u32,
}

impl Flow {
    /// The block that goes next through this hop, if one waits there.
    fn go(&mut self, hop: u8) -> Option<Cargo> {
        let went_last = self.hops[usize::from(self.last)].went;
        let place = &mut self.hops[usize::from(hop)];
        if place.came == place.went {
            return None;
        }
        let at = place.went - went_last;
        place.went += 1;
        if hop == self.last { self.blocks.pop_front() } else { self.blocks.get(at as usize).copied() }
    }
}

/// All channels.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: u32,
    nodes_per_rack: Option<u32>,
    /// Uplinks of all nodes, downlinks of all nodes, then the racks' two each.
    ports: Vec<Port>,
    flows: Vec<Flow>,
    pub(crate) notices: VecDeque<Notice>,
    /// Payload that each rack has taken in through its uplink, and sent out.
    across: Vec<(u64, u64)>,
}

impl Network {
    /// Node 0, the master, stands beside the racks; the others fill them in order.
    pub(crate) fn new(rates: &[u64], racks: Option<(u32, u64)>) -> Network {
        let nodes = rates.len() as u32;
        let mut ports: Vec<Port> = rates.iter().chain(rates).map(|r| Port::new(*r)).collect();
        let mut count = 0;
        if let Some((per_rack, uplink)) = racks {
            count = (nodes - 1).div_ceil(per_rack) as usize;
            ports.extend((0..2 * count).map(|_| Port::new(uplink)));
        }
        Network {
            nodes,
            nodes_per_rack: racks.map(|(n, _)| n),
            ports,
            flows: Vec::new(),
            notices: VecDeque::new(),
            across: vec![(0, 0); count],
        }
    }

    /// The most that a rack has taken in from outside, and the most that one has sent out.
    pub(crate) fn most_across(&self) -> (u64, u64) {
        self.across.iter().fold((0, 0), |most, rack| (most.0.max(rack.0), most.1.max(rack.1)))
    }

    fn rack(&self, node: usize) -> Option<u32> {
        let per_rack = self.nodes_per_rack?;
        (node as u32).checked_sub(1).map(|n| n / per_rack)
    }

    /// Opens the next channel; channels are numbered from 0.
    pub(crate) fn open(&mut self, from: usize, to: usize) {
        let (here, there) = (self.rack(from), self.rack(to));
        let [out, into] = [here, there].map(|rack| rack.filter(|_| here != there));
        let path = [
            Some(from as u32),
            out.map(|r| 2 * self.nodes + 2 * r),
            into.map(|r| 2 * self.nodes + 2 * r + 1),
            Some(self.nodes + to as u32),
        ];
        let (mut hops, mut last) = ([Hop::default(); HOPS], 0);
        for (n, port) in path.into_iter().flatten().enumerate() {
            (hops[n].port, last) = (port, n as u8);
        }
        let blocks = VecDeque::new();
        self.flows.push(Flow { hops, last, is_open: true, blocks, queued: 0, under_way: 0, debt: 0 });
    }

    pub(crate) fn close(&mut self, channel: Channel) {
        if let Some(flow) = self.flows.get_mut(channel as usize) {
            flow.is_open = false;
            flow.blocks.clear();
            flow.hops.iter_mut().for_each(|h| (h.came, h.went) = (0, 0));
        }
    }

    /// Nothing comes through to this node any longer, and nothing tells its senders.
    pub(crate) fn cut(&mut self, node: usize) {
        self.ports[self.nodes as usize + node].dead = true;
    }

    /// Whether something goes out of this node, and in, right now.
    pub(crate) fn busy(&self, node: usize) -> (bool, bool) {
        let serves = |at: usize| self.ports[at].serving.is_some();
        (serves(node), serves(self.nodes as usize + node))
    }

    /// Bytes that the channel takes now.
    pub(crate) fn room(&self, channel: Channel) -> u32 {
        self.flows.get(channel as usize).map_or(0, |f| SEND_BUFFER.saturating_sub(f.queued))
    }

    pub(crate) fn control(&mut self, channel: Channel, bytes: u32) {
        if let Some(flow) = self.flows.get_mut(channel as usize) {
            flow.debt += bytes;
        }
    }

    pub(crate) fn send(&mut self, now: u64, channel: Channel, block: Block) {
        let Some(flow) = self.flows.get_mut(channel as usize).filter(|f| f.is_open) else { return };
        let bytes = f64::from(block.length + 13 + std::mem::take(&mut flow.debt)) * WIRE_COST;
        flow.queued += block.length;
        flow.blocks.push_back(Cargo { block, bytes: bytes.round() as u32 });
        flow.hops[0].came += 1;
        self.list(channel, 0, now);
    }

    pub(crate) fn step(&mut self, now: u64, step: Step) {
        match step {
            Step::Arrived(channel, hop) => self.arrive(now, channel, hop),
            Step::Passed(port) => {
                if let Some((channel, hop, cargo)) = self.ports[port as usize].serving.take() {
                    self.passed(now, channel, hop, cargo);
                }
                self.start(port, now);
            }
        }
    }

    fn passed(&mut self, now: u64, channel: Channel, hop: u8, cargo: Cargo) {
        let flow = &mut self.flows[channel as usize];
        if !flow.is_open || hop < flow.last {
            return;
        }
        flow.under_way -= 1;
        self.notices.push_back(Notice::Through(channel, cargo.block));
        self.list(channel, 0, now);
    }

    fn arrive(&mut self, now: u64, channel: Channel, hop: u8) {
        let flow = &mut self.flows[channel as usize];
        if flow.is_open {
            flow.hops[usize::from(hop)].came += 1;
            self.list(channel, hop, now);
        }
    }

    /// The flow waits at its hop's port, if it has something that may go.
    fn list(&mut self, channel: Channel, hop: u8, now: u64) {
        let flow = &mut self.flows[channel as usize];
        let may_go = hop > 0 || flow.under_way < WINDOW;
        let at = &mut flow.hops[usize::from(hop)];
        if at.listed || at.came == at.went || !may_go {
            return;
        }
        at.listed = true;
        let port = at.port;
        self.ports[port as usize].ring.push_back((channel, hop));
        self.start(port, now);
    }

    /// An idle port takes the next flow's block.
    fn start(&mut self, at: u32, now: u64) {
        let port = &mut self.ports[at as usize];
        if port.serving.is_some() || port.dead {
            return;
        }
        while let Some((channel, hop)) = port.ring.pop_front() {
            let flow = &mut self.flows[channel as usize];
            flow.hops[usize::from(hop)].listed = false;
            let Some(cargo) = flow.go(hop) else { continue };
            port.serving = Some((channel, hop, cargo));
            let end = now + port.nanos(cargo.bytes);
            self.notices.push_back(Notice::At(end, Step::Passed(at)));
            return self.pass_on(now, end, channel, hop, cargo);
        }
    }

    /// The block goes out byte by byte: the next port may begin as soon as it would not have to wait in the middle.
    fn pass_on(&mut self, now: u64, end: u64, channel: Channel, hop: u8, cargo: Cargo) {
        let flow = &mut self.flows[channel as usize];
        if hop == 0 {
            flow.under_way += 1;
            let was_full = flow.queued > SEND_BUFFER / 2;
            flow.queued -= cargo.block.length;
            if flow.queued == 0 || was_full && flow.queued <= SEND_BUFFER / 2 {
                self.notices.push_back(Notice::Drained(channel));
            }
        }
        if hop == flow.last {
            self.notices.push_back(Notice::Head(channel, cargo.block));
        } else {
            let next = flow.hops[usize::from(hop) + 1].port;
            let begins = now.max(end.saturating_sub(self.ports[next as usize].nanos(cargo.bytes)));
            if let Some(uplink) = next.checked_sub(2 * self.nodes) {
                let (taken, sent) = &mut self.across[uplink as usize / 2];
                *(if uplink % 2 == 1 { taken } else { sent }) += u64::from(cargo.block.length);
            }
            if begins == now {
                self.arrive(now, channel, hop + 1);
            } else {
                self.notices.push_back(Notice::At(begins, Step::Arrived(channel, hop + 1)));
            }
        }
        self.list(channel, hop, now);
    }
}
