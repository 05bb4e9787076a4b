//! The switch and the cards on it: each link is full duplex and of one rate, each port has a queue that drops what it
//! can't hold, and lots take their share. Decides when a frame arrives; looks into it for addresses and statistics only.

use boottorrent_swarm::Rng;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// Preamble, check sum and gap of every frame, in bytes, and the least that one takes without them.
const AROUND: u64 = 8 + 4 + 12;
const SHORTEST: u64 = 60;
const ETHERNET: usize = 14;

/// What the switch wants to happen later.
pub(super) enum Later {
    /// The card has put its frame on the link.
    Leaves(usize),
    Arrives(usize, Vec<u8>),
}

/// A card's queue: a frame to each receiver in turn, and who had none waiting goes first, as with Linux's fair queues. In
/// one queue for all an acknowledgement would wait behind all data, and clock the other direction down to this one. Frames
/// to one receiver keep their order: smoltcp drops a segment, with its payload, that acknowledges less than one before.
#[derive(Default)]
struct Fair {
    waiting: BTreeMap<[u8; 6], VecDeque<Vec<u8>>>,
    fresh: VecDeque<[u8; 6]>,
    turns: VecDeque<[u8; 6]>,
}

impl Fair {
    fn push(&mut self, frame: Vec<u8>) {
        let Some(&to) = frame.first_chunk() else { return };
        let flow = self.waiting.entry(to).or_default();
        if flow.is_empty() && !self.fresh.contains(&to) && !self.turns.contains(&to) {
            self.fresh.push_back(to);
        }
        flow.push_back(frame);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        loop {
            let to = self.fresh.pop_front().or_else(|| self.turns.pop_front())?;
            if let Some(frame) = self.waiting.get_mut(&to).and_then(VecDeque::pop_front) {
                // Kept for one more turn even when empty, so that nobody is always first by coming frame by frame.
                self.turns.push_back(to);
                return Some(frame);
            }
        }
    }
}

#[derive(Default)]
struct Port {
    card: Fair,
    leaving: Option<Vec<u8>>,
    /// When the switch's queue towards this host is empty, in nanoseconds.
    free: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) frames: u64,
    pub(super) lost: u64,
    pub(super) dropped: u64,
    pub(super) payload: u64,
    pub(super) retransmitted: u64,
}

pub(super) struct Switch {
    ports: Vec<Port>,
    /// Bits a second.
    rate: u64,
    /// Of one cable, in nanoseconds.
    cable: u64,
    /// Of one port, in nanoseconds of sending.
    queue: u64,
    lost_ppm: u32,
    lots: Rng,
    /// Where each direction of each connection is: the end of what was sent.
    streams: HashMap<[u8; 12], u32>,
    pub(super) counts: Counts,
}

/// A TCP segment of a frame: the connection's direction, whether it begins it, sequence number and payload.
struct Segment {
    stream: [u8; 12],
    is_first: bool,
    sequence: u32,
    payload: u32,
}

fn segment(frame: &[u8]) -> Option<Segment> {
    let ip = frame.get(ETHERNET..)?;
    let header = usize::from(ip.first()? & 15) * 4;
    if frame.get(12..14)? != [8, 0] || *ip.get(9)? != 6 {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    let tcp = ip.get(header..total)?;
    let (addresses, ports) = (ip.get(12..20)?, tcp.get(..4)?);
    let stream = [addresses, ports].concat().try_into().ok()?;
    let sequence = u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?);
    let payload = tcp.len().checked_sub(usize::from(tcp.get(12)? >> 4) * 4)?;
    Some(Segment { stream, is_first: tcp.get(13)? & 2 != 0, sequence, payload: payload as u32 })
}

impl Switch {
    pub(super) fn new(
        hosts: usize,
        rate: u64,
        latency: Duration,
        queue: u64,
        lost_ppm: u32,
        seed: u64,
    ) -> Switch {
        Switch {
            ports: (0..hosts).map(|_| Port::default()).collect(),
            rate,
            cable: u64::try_from(latency.as_nanos() / 2).unwrap_or(u64::MAX),
            queue: queue.saturating_mul(8_000_000_000) / rate.max(1),
            lost_ppm,
            lots: Rng::new(seed),
            streams: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Nanoseconds that a frame keeps a link busy.
    fn takes(&self, frame: &[u8]) -> u64 {
        ((frame.len() as u64).max(SHORTEST) + AROUND) * 8_000_000_000 / self.rate
    }

    /// A host hands its card a frame.
    pub(super) fn send(&mut self, now: u64, host: usize, frame: Vec<u8>, later: &mut Vec<(u64, Later)>) {
        let port = &mut self.ports[host];
        port.card.push(frame);
        if port.leaving.is_none() {
            self.begin(now, host, later);
        }
    }

    fn begin(&mut self, now: u64, host: usize, later: &mut Vec<(u64, Later)>) {
        let Some(frame) = self.ports[host].card.pop() else { return };
        let takes = self.takes(&frame);
        later.push((now + takes, Later::Leaves(host)));
        self.ports[host].leaving = Some(frame);
    }

    /// The card's frame is on the link: the next one follows, and the switch sends it on. The frame, for the record.
    pub(super) fn leaves(&mut self, now: u64, host: usize, later: &mut Vec<(u64, Later)>) -> Vec<u8> {
        let frame = self.ports[host].leaving.take().unwrap_or_default();
        self.begin(now, host, later);
        self.count(&frame);
        // The fourth byte of a card's address is its host, see `card`; all others are for everybody.
        match frame.first_chunk().and_then(|to| host_of(*to)) {
            Some(to) => self.forward(now, to, &frame, later),
            None => {
                (0..self.ports.len())
                    .filter(|to| *to != host)
                    .for_each(|to| self.forward(now, to, &frame, later));
            }
        }
        frame
    }

    fn forward(&mut self, now: u64, to: usize, frame: &[u8], later: &mut Vec<(u64, Later)>) {
        if self.lots.below(1_000_000) < self.lost_ppm {
            self.counts.lost += 1;
            return;
        }
        let takes = self.takes(frame);
        let Some(port) = self.ports.get_mut(to) else { return };
        let here = now + self.cable;
        if port.free.saturating_sub(here) > self.queue {
            self.counts.dropped += 1;
            return;
        }
        port.free = port.free.max(here) + takes;
        later.push((port.free + self.cable, Later::Arrives(to, frame.to_vec())));
    }

    fn count(&mut self, frame: &[u8]) {
        self.counts.frames += 1;
        let Some(Segment { stream, is_first, sequence, payload }) = segment(frame) else { return };
        if is_first {
            self.streams.insert(stream, sequence.wrapping_add(1));
        }
        let Some(end) = self.streams.get_mut(&stream) else { return };
        // Signed, since sequence numbers come round (RFC 9293, 3.4).
        let new = sequence.wrapping_add(payload).wrapping_sub(*end).cast_signed().max(0).cast_unsigned();
        *end = end.wrapping_add(new);
        self.counts.payload += u64::from(payload);
        self.counts.retransmitted += u64::from(payload.saturating_sub(new));
    }
}

/// The address of a host's card.
pub(super) fn card(host: usize) -> [u8; 6] {
    [2, 0, 0, 0, 0, host as u8]
}

fn host_of(card: [u8; 6]) -> Option<usize> {
    let [2, 0, 0, 0, 0, host] = card else { return None };
    Some(usize::from(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(to: usize, length: usize) -> Vec<u8> {
        let mut frame = vec![0; length];
        frame[..6].copy_from_slice(&card(to));
        frame
    }

    /// Everything that `sent` (from host 0) leads to, in order.
    fn arrivals(switch: &mut Switch, sent: Vec<Vec<u8>>) -> Vec<(u64, usize)> {
        let mut later = vec![];
        sent.into_iter().for_each(|f| switch.send(0, 0, f, &mut later));
        let mut arrivals = vec![];
        while let Some(next) = (0..later.len()).min_by_key(|n| later[*n].0) {
            match later.remove(next) {
                (at, Later::Leaves(host)) => drop(switch.leaves(at, host, &mut later)),
                (at, Later::Arrives(to, _)) => arrivals.push((at, to)),
            }
        }
        arrivals
    }

    fn switch(queue: u64, lost_ppm: u32) -> Switch {
        // A bit a nanosecond.
        Switch::new(4, 1_000_000_000, Duration::from_micros(100), queue, lost_ppm, 1)
    }

    #[test]
    fn a_frame_takes_its_time_on_both_links_and_the_cables() {
        let full = (1514 + 24) * 8;
        let got = arrivals(&mut switch(1 << 20, 0), vec![frame(1, 1514), frame(2, 1514), frame(1, 20)]);
        let short = (60 + 24) * 8;
        let third = 100_000 + 2 * full + short + short;
        assert_eq!(got, [(100_000 + 2 * full, 1), (third, 1), (100_000 + 3 * full, 2)]);
    }

    #[test]
    fn who_takes_little_does_not_wait_behind_who_takes_much() {
        let mut card = Fair::default();
        (0..5).for_each(|n| card.push(frame(1, 100 + n)));
        card.pop().unwrap();
        card.push(frame(2, 200));
        let rest: Vec<usize> = std::iter::from_fn(|| card.pop()).map(|f| f.len()).collect();
        assert_eq!(rest, [200, 101, 102, 103, 104], "and each receiver's frames keep their order");
    }

    #[test]
    fn a_broadcast_reaches_everybody_else() {
        let mut all = frame(0, 60);
        all[..6].fill(0xff);
        let hosts: Vec<usize> = arrivals(&mut switch(1 << 20, 0), vec![all]).iter().map(|a| a.1).collect();
        assert_eq!(hosts, [1, 2, 3]);
    }

    #[test]
    fn a_full_queue_drops_and_lots_take_their_share() {
        let mut small = switch(3000, 0);
        let mut later = vec![];
        for host in 0..3 {
            (0..10).for_each(|_| small.send(0, host, frame(3, 1514), &mut later));
        }
        while let Some(next) = (0..later.len()).min_by_key(|n| later[*n].0) {
            if let (at, Later::Leaves(host)) = later.remove(next) {
                small.leaves(at, host, &mut later);
            }
        }
        assert!(
            (15..20).contains(&small.counts.dropped),
            "{}: two of three find no room",
            small.counts.dropped
        );
        let mut lossy = switch(1 << 30, 100_000);
        let got = arrivals(&mut lossy, (0..1000).map(|_| frame(1, 100)).collect());
        assert!((850..950).contains(&got.len()), "{}", got.len());
        assert_eq!((lossy.counts.lost as usize, lossy.counts.frames), (1000 - got.len(), 1000));
    }

    #[test]
    fn what_is_sent_again_is_counted_across_the_turn_of_sequence_numbers() {
        let tcp = |sequence: u32, flags: u8, payload: usize| {
            let mut frame = frame(1, ETHERNET + 40 + payload);
            frame[12..14].copy_from_slice(&[8, 0]);
            frame[14] = 0x45;
            frame[16..18].copy_from_slice(&(40 + payload as u16).to_be_bytes());
            frame[23] = 6;
            frame[38..42].copy_from_slice(&sequence.to_be_bytes());
            (frame[46], frame[47]) = (0x50, flags);
            frame
        };
        let mut switch = switch(1 << 20, 0);
        let begin = u32::MAX - 150;
        let frames = [
            tcp(begin - 1, 2, 0),
            tcp(begin, 0, 100),
            tcp(begin.wrapping_add(100), 0, 100),
            tcp(begin.wrapping_add(100), 0, 100),
            tcp(begin.wrapping_add(150), 0, 100),
        ];
        arrivals(&mut switch, frames.to_vec());
        assert_eq!((switch.counts.payload, switch.counts.retransmitted), (400, 150));
    }
}
