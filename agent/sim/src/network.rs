//! Flows over up- and downlinks that share fairly. Decides when a block is through; knows no message.

use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::Block;
use std::collections::{BTreeMap, VecDeque};

/// One direction of one link.
pub(crate) type Channel = u32;

/// Bytes that a sender's socket takes before it is full: what `TCP_NOTSENT_LOWAT` leaves of a kernel's.
pub(crate) const SEND_BUFFER: u32 = 64 * 1024;
/// Ethernet, IP and TCP headers of a 1448-byte segment: 1514 on the wire.
const WIRE_COST: f64 = 1514.0 / 1448.0;
/// Rounds of sharing out what is left; more change rates by less than a percent.
const ROUNDS: u32 = 5;

#[derive(Debug)]
struct Flow {
    from: usize,
    to: usize,
    queue: VecDeque<(Block, f64)>,
    queued: u32,
    /// Control bytes that travel with the next block.
    debt: u32,
    /// Bytes of the head that are not through.
    left: f64,
    /// Bytes a second.
    rate: f64,
}

/// All channels.
#[derive(Debug)]
pub(crate) struct Network {
    up: Vec<f64>,
    down: Vec<f64>,
    flows: BTreeMap<Channel, Flow>,
    /// Those with something to send.
    busy: Vec<Channel>,
    now: Time,
    stale: bool,
    next: Option<(Time, Channel)>,
}

impl Network {
    pub(crate) fn new(rates: Vec<f64>) -> Network {
        Network {
            up: rates.clone(),
            down: rates,
            flows: BTreeMap::new(),
            busy: Vec::new(),
            now: Time(0),
            stale: false,
            next: None,
        }
    }

    pub(crate) fn open(&mut self, channel: Channel, from: usize, to: usize) {
        let flow = Flow { from, to, queue: VecDeque::new(), queued: 0, debt: 0, left: 0.0, rate: 0.0 };
        self.flows.insert(channel, flow);
    }

    pub(crate) fn close(&mut self, now: Time, channel: Channel) {
        self.advance(now);
        self.flows.remove(&channel);
        self.busy.retain(|c| *c != channel);
        self.stale = true;
    }

    /// Bytes that the channel takes now.
    pub(crate) fn room(&self, channel: Channel) -> u32 {
        self.flows.get(&channel).map_or(0, |f| SEND_BUFFER.saturating_sub(f.queued))
    }

    pub(crate) fn control(&mut self, channel: Channel, bytes: u32) {
        if let Some(flow) = self.flows.get_mut(&channel) {
            flow.debt += bytes;
        }
    }

    /// Queues a block; true if it is the channel's head at once.
    pub(crate) fn send(&mut self, now: Time, channel: Channel, block: Block) -> bool {
        self.advance(now);
        let Some(flow) = self.flows.get_mut(&channel) else { return false };
        let bytes = f64::from(block.length + 13 + std::mem::take(&mut flow.debt)) * WIRE_COST;
        flow.queue.push_back((block, bytes));
        flow.queued += block.length;
        if flow.queue.len() > 1 {
            return false;
        }
        flow.left = bytes;
        self.busy.push(channel);
        self.stale = true;
        true
    }

    /// When the next block is through, and where.
    pub(crate) fn next(&mut self) -> Option<(Time, Channel)> {
        if self.stale {
            self.share();
            self.stale = false;
            self.next = None;
        }
        if self.next.is_none() {
            let through = |c: &Channel| {
                let flow = &self.flows[c];
                let micros = (flow.left / flow.rate * 1e6).ceil().max(0.0);
                (Time(self.now.0 + micros as u64), *c)
            };
            self.next = self.busy.iter().map(through).min();
        }
        self.next
    }

    /// Takes the block that is through at the head, and says what its successor is.
    pub(crate) fn take(&mut self, now: Time, channel: Channel) -> Option<(Block, Option<Block>)> {
        self.advance(now);
        let flow = self.flows.get_mut(&channel)?;
        let (block, _) = flow.queue.pop_front()?;
        flow.queued -= block.length;
        let next = flow.queue.front().copied();
        match next {
            Some((_, bytes)) => flow.left = bytes,
            None => {
                self.busy.retain(|c| *c != channel);
                self.stale = true;
            }
        }
        Some((block, next.map(|(b, _)| b)))
    }

    fn advance(&mut self, now: Time) {
        let seconds = now.since(self.now).as_secs_f64();
        if seconds > 0.0 {
            if self.stale {
                self.share();
                self.stale = false;
            }
            for channel in &self.busy {
                if let Some(flow) = self.flows.get_mut(channel) {
                    flow.left -= flow.rate * seconds;
                }
            }
            self.now = now;
        }
        self.next = None;
    }

    /// Max-min fairness by filling: each round every flow gets its share of what its two links have left.
    fn share(&mut self) {
        let mut up = self.up.clone();
        let mut down = self.down.clone();
        for channel in &self.busy {
            if let Some(flow) = self.flows.get_mut(channel) {
                flow.rate = 0.0;
            }
        }
        let mut open = self.busy.clone();
        for _ in 0..ROUNDS {
            let mut leaving = vec![0u32; up.len()];
            let mut coming = vec![0u32; down.len()];
            for flow in open.iter().map(|c| &self.flows[c]) {
                leaving[flow.from] += 1;
                coming[flow.to] += 1;
            }
            let (was_up, was_down) = (up.clone(), down.clone());
            for channel in &open {
                let Some(flow) = self.flows.get_mut(channel) else { continue };
                let (from, to) = (flow.from, flow.to);
                let gain =
                    (was_up[from] / f64::from(leaving[from])).min(was_down[to] / f64::from(coming[to]));
                flow.rate += gain;
                up[from] -= gain;
                down[to] -= gain;
            }
            open.retain(|c| {
                let flow = &self.flows[c];
                up[flow.from] > 1.0 && down[flow.to] > 1.0
            });
            if open.is_empty() {
                break;
            }
        }
    }
}
