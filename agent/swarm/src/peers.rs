//! One linked peer: what it said, what we asked it for, what it asked us for.
//! Decides how many requests a link should hold; never which.

use crate::PeerId;
use crate::Time;
use crate::bitfield::Bitfield;
use crate::declined::Declined;
use crate::graph::Rack;
use crate::limits::{DEPTH_MIN, FOREIGN_QUEUE, SNUB, SNUB_FIRST};
use crate::metainfo::{BLOCK, Block, Geometry, Piece};
use crate::pieces::{Take, Who};
use crate::swarm::Conn;
use crate::upload::Queue;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use core::time::Duration;

/// The links of one torrent, in the order of their numbers, so that a run replays.
pub(crate) type Peers = BTreeMap<Conn, Peer>;

/// A request under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) block: Block,
    pub(crate) sent: Time,
    /// Not cancelled: BEP 6 owes an answer either way.
    pub(crate) live: bool,
    /// Its payload is being read.
    pub(crate) arriving: bool,
}

#[derive(Debug)]
pub(crate) struct Peer {
    /// The other end of the socket.
    pub(crate) remote: SocketAddrV4,
    /// Where it listens, once known.
    pub(crate) listens: Option<SocketAddrV4>,
    pub(crate) outgoing: bool,
    pub(crate) is_master: bool,
    /// The way to it leads out of our network.
    pub(crate) is_far: bool,
    /// Where it says that it is.
    pub(crate) rack: Option<Rack>,
    pub(crate) since: Time,
    /// Set by its handshake; before that nothing else is taken.
    pub(crate) peer_id: Option<PeerId>,
    pub(crate) fast: bool,
    pub(crate) extended: bool,

    pub(crate) have: Bitfield,
    /// Bitfield, have-all or have-none has come, or a first HAVE: no second one is taken.
    pub(crate) have_told: bool,
    pub(crate) upload_only: bool,
    /// Pieces that it has and we lack.
    pub(crate) useful: u32,
    pub(crate) choking: bool,
    pub(crate) interested: bool,
    /// We told it that we are interested.
    pub(crate) wooed: bool,

    pub(crate) requests: VecDeque<Pending>,
    pub(crate) live: u32,
    /// Pieces that this link fetches, in the order begun.
    pub(crate) claims: Vec<(Piece, Take)>,
    pub(crate) depth: Depth,
    pub(crate) reqq: u32,
    pub(crate) snubbed: bool,
    /// Nothing is asked before: it rejected requests.
    pub(crate) paused_until: Time,
    /// The last block, or the first request after a calm.
    pub(crate) progress: Time,
    /// When blocks were asked for after a calm, and what has come since.
    pub(crate) since_calm: (Time, u64),
    /// The longest wait for a block of late.
    pub(crate) gap: Duration,
    /// It owes blocks, and nothing is expected of it at present.
    pub(crate) is_late: bool,
    /// The picker found nothing; set back when a piece appears that may suit.
    pub(crate) exhausted: bool,
    /// A piece that it had a part in has come out right.
    pub(crate) proven: bool,

    /// It is one of ours: it takes offers, and makes them, under this id.
    pub(crate) control: Option<u8>,
    /// We passed its last offer: it waits to hear that another one is welcome.
    pub(crate) passed: bool,
    /// We refused a piece that it named, since others send it.
    pub(crate) refused: bool,
    /// It passed our last offer then.
    pub(crate) full: Option<Time>,
    /// It said that an offer is welcome.
    pub(crate) ready: bool,
    /// What it fetches from afar, and since when.
    pub(crate) fetching: VecDeque<(Piece, Time)>,
    /// The first and the last offer that it has left unanswered, and said nothing else.
    pub(crate) mute: Option<(Time, Time)>,

    /// Pieces that it did not want when they were offered, since it gets them elsewhere.
    pub(crate) declined: Declined,
    pub(crate) queue: Queue,
    pub(crate) room: i64,
    /// HAVEs that wait for company.
    pub(crate) haves: Vec<Piece>,
    /// And so long.
    pub(crate) haves_until: Option<Time>,
    pub(crate) last_in: Time,
    pub(crate) last_out: Time,

    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duplicates: u64,
}

impl Peer {
    pub(crate) fn new(now: Time, remote: SocketAddrV4, outgoing: bool, geometry: &Geometry) -> Peer {
        Peer {
            remote,
            listens: outgoing.then_some(remote),
            outgoing,
            is_master: false,
            is_far: false,
            rack: None,
            since: now,
            peer_id: None,
            fast: false,
            extended: false,
            have: Bitfield::none(geometry),
            have_told: false,
            upload_only: false,
            useful: 0,
            choking: true,
            interested: false,
            wooed: false,
            requests: VecDeque::new(),
            live: 0,
            claims: Vec::new(),
            depth: Depth::new(now),
            reqq: FOREIGN_QUEUE,
            snubbed: false,
            paused_until: now,
            progress: now,
            since_calm: (now, 0),
            gap: Duration::ZERO,
            is_late: false,
            exhausted: false,
            proven: false,
            control: None,
            passed: false,
            refused: false,
            full: None,
            ready: false,
            fetching: VecDeque::new(),
            mute: None,
            declined: Declined::default(),
            queue: Queue::default(),
            room: 0,
            haves: Vec::new(),
            haves_until: None,
            last_in: now,
            last_out: now,
            bytes_in: 0,
            bytes_out: 0,
            duplicates: 0,
        }
    }

    /// Blocks that it owes, by the share of our downlink that it uses.
    pub(crate) fn awaited(&self, now: Time, best: u64) -> u32 {
        let (since, bytes) = self.since_calm;
        let elapsed = now.since(since);
        if elapsed < TRIAL || best == 0 {
            return self.live;
        }
        let rate = u128::from(bytes) * 1_000_000 / elapsed.as_micros().max(1);
        let share = u128::from(self.live) * rate / u128::from(best);
        u32::try_from(share).unwrap_or(u32::MAX).min(self.live)
    }

    pub(crate) fn who(&self) -> Option<Who> {
        Some(Who { addr: self.listens.unwrap_or(self.remote), peer_id: self.peer_id? })
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.have.is_all() || self.upload_only
    }

    /// Who has least is served first; among equals who was given least.
    pub(crate) fn wealth(&self) -> (u32, u64) {
        (self.have.count(), self.bytes_out)
    }

    pub(crate) fn find(&self, block: Block) -> Option<usize> {
        self.requests.iter().position(|r| r.block == block)
    }

    /// Takes an answered or void request out.
    pub(crate) fn settle(&mut self, at: usize) -> Option<Pending> {
        let request = self.requests.remove(at)?;
        self.live -= u32::from(request.live);
        Some(request)
    }

    /// A block begins or ends: so long was the wait for it.
    pub(crate) fn waited(&mut self, now: Time) {
        if self.live > 0 {
            // Forgotten by degrees: one hiccup says little about the rest of a boot.
            self.gap = now.since(self.progress).max(self.gap * 63 / 64);
        }
        self.progress = now;
    }

    /// A block has come.
    pub(crate) fn moved(&mut self, now: Time) {
        self.waited(now);
        self.mute = None;
        self.snubbed = false;
        self.is_late = false;
    }

    /// How long it may owe blocks and send none. Foreign ones serve whom they like, some of them in ticks of half a second.
    pub(crate) fn patience(&self) -> Duration {
        if self.control.is_some() { (self.gap * 2).clamp(SNUB_FIRST, SNUB) } else { SNUB }
    }

    /// It has been owing blocks for longer than this. What it does not have itself yet it may owe for longer: who feeds it
    /// is the one that stands still.
    pub(crate) fn owes_for(&self, now: Time, wait: Duration) -> bool {
        let has = || self.requests.iter().any(|r| r.live && self.have.has(r.block.piece));
        let quiet = now.since(self.progress);
        !self.choking && self.live > 0 && quiet >= wait && (quiet >= SNUB || has())
    }

    /// Requests that may be sent now.
    pub(crate) fn appetite(&self, depth_max: u32) -> u32 {
        let waiting = u32::try_from(self.requests.len()).unwrap_or(u32::MAX);
        let depth = self.depth.blocks(depth_max);
        depth.saturating_sub(self.live).min(self.reqq.saturating_sub(waiting))
    }

    /// Requests that its queue takes still.
    pub(crate) fn credit(&self) -> u32 {
        self.reqq.saturating_sub(u32::try_from(self.requests.len()).unwrap_or(u32::MAX))
    }

    /// A block whose payload has begun to arrive.
    pub(crate) fn arriving(&self) -> Option<Block> {
        self.requests.iter().find(|r| r.arriving).map(|r| r.block)
    }
}

/// A link is taken to be as fast as ours for so long: a turn that is given ahead begins when the one before has ended.
const TRIAL: Duration = Duration::from_millis(50);

/// How far ahead to ask: bandwidth times delay, found by asking for twice what came in a round trip.
#[derive(Debug)]
pub(crate) struct Depth {
    blocks: u32,
    /// The shortest time between a request and its block: the delay without our own queue.
    delay: Duration,
    since: Time,
    bytes: u64,
}

/// A delay that is never believed to be shorter: it covers the drivers' batches and the scheduler of a busy host.
const DELAY_MIN: Duration = Duration::from_millis(10);
const DELAY_MAX: Duration = Duration::from_millis(300);
/// Bytes are counted over at least this long before they are called a rate.
const WINDOW: Duration = Duration::from_millis(20);

impl Depth {
    fn new(now: Time) -> Depth {
        Depth { blocks: DEPTH_MIN, delay: DELAY_MAX, since: now, bytes: 0 }
    }

    pub(crate) fn blocks(&self, max: u32) -> u32 {
        self.blocks.clamp(DEPTH_MIN.min(max), max)
    }

    /// The link asks again after a calm: silence must not count as a low rate.
    pub(crate) fn restart(&mut self, now: Time) {
        (self.since, self.bytes) = (now, 0);
    }

    /// The peer stalled, or rejected: begin again.
    pub(crate) fn shrink(&mut self, now: Time) {
        self.blocks = DEPTH_MIN;
        self.restart(now);
    }

    /// A block has come that was asked for at `asked`.
    pub(crate) fn grow(&mut self, now: Time, asked: Time, bytes: u32) {
        self.delay = self.delay.min(now.since(asked)).max(DELAY_MIN);
        self.bytes += u64::from(bytes);
        let window = now.since(self.since);
        if window < WINDOW {
            return;
        }
        let per_second = u128::from(self.bytes) * 1_000_000 / window.as_micros().max(1);
        let in_flight = per_second * self.delay.as_micros() / 1_000_000 / u128::from(BLOCK);
        let want = u32::try_from(2 * in_flight).unwrap_or(u32::MAX).saturating_add(DEPTH_MIN);
        // Up at once, since a short queue costs bandwidth; down slowly, since a burst may have ended only for a turn.
        self.blocks = if want >= self.blocks { want } else { (self.blocks * 7 + want) / 8 };
        self.blocks = self.blocks.min(crate::limits::DEPTH_MAX);
        self.restart(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DEPTH_MAX;

    /// A link of so many bytes a second on which a request and its block take `delay` in all: the bytes of the last of three
    /// seconds, and the deepest queue in it.
    fn carried(rate: u64, delay: Duration) -> (u64, u32) {
        let block_time = Duration::from_nanos(u64::from(BLOCK) * 1_000_000_000 / rate);
        let (mut depth, mut asked) = (Depth::new(Time(0)), VecDeque::new());
        let (mut now, mut carried, mut deepest) = (Time(0), 0, 0);
        while now.since(Time(0)) < Duration::from_secs(3) {
            while asked.len() < depth.blocks(DEPTH_MAX) as usize {
                asked.push_back(now);
            }
            let Some(at) = asked.pop_front() else { break };
            now = (at + delay).max(now + block_time);
            depth.grow(now, at, BLOCK);
            if now.since(Time(0)) > Duration::from_secs(2) {
                carried += u64::from(BLOCK);
                deepest = deepest.max(depth.blocks(DEPTH_MAX));
            }
        }
        (carried, deepest)
    }

    #[test]
    fn requests_fill_a_link_whatever_its_rate_and_delay_and_not_much_more() {
        for (rate, ms) in
            [(1_250_000, 1), (12_500_000, 1), (12_500_000, 40), (125_000_000, 1), (125_000_000, 10)]
        {
            let (bytes, deepest) = carried(rate, Duration::from_millis(ms));
            assert!(bytes >= rate * 95 / 100, "{bytes} of {rate} bytes at {ms} ms");
            let in_flight = rate * ms.max(10) / 1000 / u64::from(BLOCK);
            assert!(
                u64::from(deepest) <= 3 * in_flight + 2 * u64::from(DEPTH_MIN),
                "{deepest} at {rate}, {ms} ms"
            );
        }
    }
}
