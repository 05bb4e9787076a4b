use super::*;
use crate::metainfo::{BLOCK, Block, Geometry};
use crate::wire::{BlockClaim, ExtHandshake, Handshake, Message, OwnedMessage};
use crate::{InfoHash, PeerId};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

mod stalls;
mod locality;
mod hostile;

const HASH: InfoHash = InfoHash([7; 20]);
const PIECES: u32 = 8;
const BLOCKS: u32 = 4;

fn geometry() -> Geometry {
    Geometry::new(BLOCK * BLOCKS, u64::from(BLOCK * BLOCKS * PIECES)).unwrap()
}

fn addr(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), 6881)
}

fn id(n: u8) -> PeerId {
    PeerId([n; 20])
}

fn claim(index: u32, n: u32) -> BlockClaim {
    BlockClaim { index, offset: n * BLOCK, length: BLOCK }
}

/// A swarm, its clock, and what it said since the last look.
struct Bench {
    swarm: Swarm,
    now: Time,
}

impl Bench {
    fn new(have: Have) -> Bench {
        Bench::with(have, Vec::new())
    }

    fn with(have: Have, master: Vec<SocketAddrV4>) -> Bench {
        let config = Config { master, ..Config::new(HASH, id(50), geometry(), have, 1) };
        Bench { swarm: Swarm::new(Time(0), config), now: Time(0) }
    }

    fn input(&mut self, input: Input<'_>) -> &mut Bench {
        self.swarm.handle(self.now, input);
        self
    }

    fn say(&mut self, conn: Conn, message: Message<'_>) -> &mut Bench {
        self.input(Input::Message { conn, message })
    }

    fn wait(&mut self, ms: u64) -> Vec<Output> {
        let end = self.now + Duration::from_millis(ms);
        let mut all = self.out();
        while let Some(wake) = self.swarm.wake_at().filter(|w| *w <= end) {
            self.now = self.now.max(wake);
            self.input(Input::Tick);
            all.extend(self.out());
        }
        self.now = end;
        all
    }

    fn out(&mut self) -> Vec<Output> {
        core::iter::from_fn(|| self.swarm.poll()).collect()
    }

    /// Links peer `n` as conn `n`, incoming.
    fn link(&mut self, n: u8, fast: bool) -> Vec<Output> {
        let conn = Conn::from(n);
        let mut handshake = Handshake::new(HASH, id(n));
        if !fast {
            handshake.reserved = [0; 8];
        }
        self.input(Input::Connected { conn, peer: addr(n), outgoing: false });
        self.input(Input::Room { conn, bytes: 1 << 20 });
        self.input(Input::Handshake { conn, handshake });
        self.out()
    }

    /// Answers the dial of master `n`, which has everything and unchokes us.
    fn master(&mut self, n: u8) -> Vec<BlockClaim> {
        let conn = Conn::from(n);
        self.input(Input::Connected { conn, peer: addr(n), outgoing: true });
        self.input(Input::Room { conn, bytes: 1 << 20 });
        self.input(Input::Handshake { conn, handshake: Handshake::new(HASH, id(n)) });
        self.say(conn, Message::HaveAll).say(conn, Message::Unchoke);
        requests(&self.out(), n)
    }

    /// Links a seeder that has unchoked us.
    fn seeder(&mut self, n: u8) -> Vec<BlockClaim> {
        self.link(n, true);
        self.say(Conn::from(n), Message::HaveAll).say(Conn::from(n), Message::Unchoke);
        requests(&self.out(), n)
    }

    fn deliver(&mut self, n: u8, c: BlockClaim) -> Admit {
        let conn = Conn::from(n);
        let admit = self.swarm.admit_block(conn, c.index, c.offset, c.length);
        match admit {
            Admit::Store(block) => self.input(Input::Block { conn, block }),
            Admit::Discard(block) => self.input(Input::Discarded { conn, block }),
            Admit::Close => self,
        };
        admit
    }

    /// Delivers whatever `n` is asked for until nothing is, verifying at once.
    fn drain(&mut self, n: u8, first: Vec<BlockClaim>, ok: impl Fn(u32) -> bool) -> Vec<Output> {
        let mut waiting = first;
        let mut said = Vec::new();
        while let Some(c) = waiting.pop() {
            self.deliver(n, c);
            let mut outputs = self.out();
            for output in outputs.clone() {
                if let Output::Verify { piece } = output {
                    self.input(Input::Verified { piece, ok: ok(piece.index()) });
                    outputs.extend(self.out());
                }
            }
            waiting.extend(requests(&outputs, n));
            said.extend(outputs);
        }
        said
    }
}

fn requests(outputs: &[Output], n: u8) -> Vec<BlockClaim> {
    let of = |o: &Output| match o {
        Output::Send { conn, message: OwnedMessage::Request(c) } if *conn == Conn::from(n) => Some(*c),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

fn sends(outputs: &[Output], conn: Conn) -> Vec<OwnedMessage> {
    let of = |o: &Output| match o {
        Output::Send { conn: c, message } if *c == conn => Some(message.clone()),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

fn closes(outputs: &[Output]) -> Vec<(Conn, CloseReason)> {
    let of = |o: &Output| match o {
        Output::Close { conn, reason } => Some((*conn, *reason)),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

fn blocks(outputs: &[Output], conn: Conn) -> Vec<Block> {
    let of = |o: &Output| match o {
        Output::SendBlock { conn: c, block } if *c == conn => Some(*block),
        _ => None,
    };
    outputs.iter().filter_map(of).collect()
}

#[test]
fn a_seed_introduces_itself_and_never_chokes() {
    let mut seed = Bench::new(Have::All);
    let said = sends(&seed.link(1, true), 1);
    assert_eq!(said.first(), Some(&OwnedMessage::HaveAll), "BEP 6: first of all");
    assert!(matches!(said[1], OwnedMessage::Extended(ExtHandshake { upload_only: Some(true), .. })));
    assert_eq!(said[2], OwnedMessage::Unchoke);
    let said = sends(&seed.link(2, false), 2);
    assert_eq!(said, [OwnedMessage::Bitfield(alloc::vec![0xff]), OwnedMessage::Unchoke]);
}

#[test]
fn every_request_gets_exactly_one_answer() {
    let mut b = Bench::new(Have::All);
    b.link(1, true);
    b.input(Input::Room { conn: 1, bytes: 0 });
    b.say(1, Message::Request(claim(3, 0))).say(1, Message::Request(claim(3, 1)));
    b.say(1, Message::Cancel(claim(3, 0))).say(1, Message::Cancel(claim(3, 0)));
    let out = b.out();
    assert_eq!(sends(&out, 1), [OwnedMessage::Reject(claim(3, 0))]);
    assert!(blocks(&out, 1).is_empty(), "no room");
    b.input(Input::Room { conn: 1, bytes: 1 << 20 });
    let out = b.out();
    assert_eq!(blocks(&out, 1).len(), 1);
    b.say(1, Message::Cancel(claim(3, 1)));
    assert!(b.out().is_empty(), "on its way already");

    let mut empty = Bench::new(Have::None);
    empty.link(1, true);
    empty.say(1, Message::Request(claim(3, 0)));
    assert_eq!(sends(&empty.out(), 1), [OwnedMessage::Reject(claim(3, 0))]);
}

#[test]
fn a_download_ends_verified_and_said() {
    let mut b = Bench::new(Have::None);
    let first = b.seeder(1);
    assert!((4..=16).contains(&first.len()), "a new link is asked for a little: {first:?}");
    let out = b.drain(1, first, |_| true);
    let verified: Vec<u32> = out
        .iter()
        .filter_map(|o| if let Output::Verify { piece } = o { Some(piece.index()) } else { None })
        .collect();
    assert_eq!(verified.iter().collect::<BTreeSet<_>>().len(), PIECES as usize);
    assert_ne!(verified, (0..PIECES).collect::<Vec<_>>(), "never in order");
    assert!(b.swarm.is_complete() && out.contains(&Output::Complete));
    assert_eq!(closes(&out), [(1, CloseReason::Redundant)]);
    let p = b.swarm.progress();
    assert_eq!((p.bytes_left, p.bytes_in, p.duplicates), (0, p.bytes_total, 0), "departed peers count");
}

#[test]
fn the_masters_link_is_held_and_dialled_again() {
    let mut b = Bench::with(Have::None, alloc::vec![addr(1)]);
    assert!(b.out().contains(&Output::Dial { peer: addr(1) }));
    b.input(Input::DialFailed { peer: addr(1) });
    for _ in 0..8 {
        assert!(b.wait(1100).contains(&Output::Dial { peer: addr(1) }), "within a second, for ever");
        b.input(Input::DialFailed { peer: addr(1) });
    }
    assert!(b.wait(1100).contains(&Output::Dial { peer: addr(1) }));
    let first = b.master(1);
    let out = b.drain(1, first, |_| true);
    assert!(b.swarm.is_complete() && closes(&out).is_empty());
}

#[test]
fn one_writer_a_block_and_none_for_verified_pieces() {
    let mut have = Bitfield::all(&geometry());
    have.clear(geometry().piece(5).unwrap());
    let mut b = Bench::new(Have::Some(have));
    let one = b.seeder(1);
    let two = b.seeder(2);
    let c = *one.iter().find(|c| two.contains(c)).unwrap();
    assert!(matches!(b.swarm.admit_block(1, c.index, c.offset, c.length), Admit::Store(_)));
    assert!(matches!(b.swarm.admit_block(2, c.index, c.offset, c.length), Admit::Discard(_)));
    b.input(Input::Closed { conn: 1 });
    assert!(matches!(b.swarm.admit_block(2, c.index, c.offset, c.length), Admit::Store(_)), "free again");
    assert_eq!(b.swarm.admit_block(2, 4, 0, BLOCK), Admit::Close, "never asked for");
    assert!(matches!(closes(&b.out())[..], [(2, CloseReason::Protocol(_))]));
}

#[test]
fn a_foreign_choke_without_bep_6_drops_requests() {
    let mut b = Bench::new(Have::None);
    b.link(1, false);
    b.say(1, Message::Bitfield(&[0xff]));
    assert!(requests(&b.out(), 1).is_empty(), "choked from the start");
    b.say(1, Message::Unchoke);
    let asked = requests(&b.out(), 1);
    assert!(!asked.is_empty());
    b.say(1, Message::Choke);
    let late = b.swarm.admit_block(1, asked[0].index, asked[0].offset, asked[0].length);
    assert!(matches!(late, Admit::Discard(_)), "it was under way");
    b.input(Input::Discarded {
        conn: 1,
        block: geometry().claim(asked[0].index, asked[0].offset, BLOCK).unwrap(),
    });
    b.say(1, Message::Unchoke);
    let first = requests(&b.out(), 1);
    b.drain(1, first, |_| true);
    assert!(b.swarm.is_complete());
}

#[test]
fn a_rejecting_peer_is_left_alone_for_a_moment() {
    let mut b = Bench::new(Have::None);
    let asked = b.seeder(1);
    for c in &asked {
        b.say(1, Message::Reject(*c));
    }
    assert!(requests(&b.out(), 1).is_empty());
    assert!(!requests(&b.wait(400), 1).is_empty(), "asked again");
    b.say(1, Message::Reject(claim(7, 3))).say(1, Message::Reject(claim(7, 3)));
    assert!(closes(&b.out()).is_empty(), "twice is no crime");
}

#[test]
fn of_links_dialled_at_once_the_smaller_ids_stays() {
    // We are 50. Peer 60 is larger, so our own dial stays; peer 40 is smaller, so its dial stays.
    for (peer, ours_stays) in [(60, true), (40, false)] {
        for ours_first in [true, false] {
            let mut b = Bench::new(Have::None);
            let ours = |b: &mut Bench| {
                b.input(Input::Connected { conn: 1, peer: addr(peer), outgoing: true });
                b.input(Input::Handshake { conn: 1, handshake: Handshake::new(HASH, id(peer)) });
            };
            let theirs = |b: &mut Bench| {
                b.input(Input::Connected { conn: 2, peer: addr(peer), outgoing: false });
                b.input(Input::Handshake { conn: 2, handshake: Handshake::new(HASH, id(peer)) });
            };
            if ours_first {
                ours(&mut b);
                theirs(&mut b);
            } else {
                theirs(&mut b);
                ours(&mut b);
            }
            let loser = if ours_stays { 2 } else { 1 };
            assert_eq!(closes(&b.out()), [(loser, CloseReason::Duplicate)], "{peer} {ours_first}");
        }
    }
}

#[test]
fn a_rebooted_peer_replaces_its_zombie() {
    let mut b = Bench::new(Have::All);
    b.link(1, true);
    b.wait(20_000);
    b.input(Input::Connected { conn: 2, peer: addr(1), outgoing: false });
    b.input(Input::Handshake { conn: 2, handshake: Handshake::new(HASH, id(1)) });
    assert_eq!(closes(&b.out()), [(1, CloseReason::Duplicate)]);
}

#[test]
fn haves_wait_for_company_and_are_not_told_to_owners() {
    let mut b = Bench::new(Have::None);
    b.link(3, true);
    b.say(3, Message::HaveNone);
    b.out();
    let first = b.seeder(1);
    let piece = first[0].index;
    let all: Vec<BlockClaim> = first.iter().filter(|c| c.index == piece).copied().collect();
    assert_eq!(all.len() as u32, BLOCKS);
    all.into_iter().for_each(|c| _ = b.deliver(1, c));
    b.out();
    b.input(Input::Verified { piece: geometry().piece(piece).unwrap(), ok: true });
    let out = b.out();
    assert!(!sends(&out, 3).contains(&OwnedMessage::Have(piece)), "not at once");
    let out = b.wait(11);
    assert!(sends(&out, 3).contains(&OwnedMessage::Have(piece)));
    assert!(!sends(&out, 1).contains(&OwnedMessage::Have(piece)), "it has it");
}

#[test]
fn a_later_bitfield_is_many_haves() {
    let mut b = Bench::new(Have::None);
    b.link(1, true);
    b.say(1, Message::HaveNone);
    b.say(1, Message::Unchoke);
    assert!(!sends(&b.out(), 1).contains(&OwnedMessage::Interested));
    b.say(1, Message::Bitfield(&[0x80]));
    let out = b.out();
    assert!(closes(&out).is_empty() && sends(&out, 1).contains(&OwnedMessage::Interested), "{out:?}");
}

#[test]
fn silence_and_half_handshakes_end() {
    let mut b = Bench::new(Have::All);
    b.link(1, true);
    b.input(Input::Connected { conn: 2, peer: addr(2), outgoing: false });
    assert_eq!(closes(&b.wait(7000)), [(2, CloseReason::Stalled)]);
    let out = b.wait(70_000);
    assert!(sends(&out, 1).contains(&OwnedMessage::KeepAlive), "below 120 s");
    assert_eq!(closes(&b.wait(120_000)), [(1, CloseReason::Idle)]);
}

#[test]
fn without_a_tracker_the_local_network_is_asked_once_a_minute() {
    let said = |outputs: &[Output]| outputs.iter().filter(|o| **o == Output::AnnounceLocal).count();
    let mut b = Bench::new(Have::None);
    b.swarm.find_locally();
    assert_eq!(said(&b.wait(900)), 0, "the tracker has its second");
    assert_eq!((said(&b.wait(300)), said(&b.wait(58_000)), said(&b.wait(2_000))), (1, 0, 1));
    // An answer ends it; a later failure asks at once, if the minute is over.
    b.input(Input::Tracked { peers: &[], interval_s: 10, leechers: 1 });
    b.out();
    let asked: usize = (0..150)
        .map(|_| {
            let said = said(&b.wait(500));
            b.input(Input::Tracked { peers: &[], interval_s: 10, leechers: 1 });
            said
        })
        .sum();
    assert_eq!(asked, 0);
    b.input(Input::AnnounceFailed);
    assert_eq!(said(&b.out()), 1);
    let mut quiet = Bench::new(Have::None);
    quiet.input(Input::AnnounceFailed);
    assert_eq!(said(&quiet.wait(100_000)), 0, "nobody has allowed it");
    let mut complete = Bench::new(Have::All);
    complete.swarm.find_locally();
    complete.input(Input::AnnounceFailed);
    assert_eq!(said(&complete.wait(100_000)), 0, "the complete wait to be asked");
    complete.input(Input::Local { peer: addr(9) }).input(Input::Local { peer: addr(9) });
    assert_eq!(complete.out().iter().filter(|o| **o == Output::Dial { peer: addr(9) }).count(), 1);
}

#[test]
fn stop_says_goodbye() {
    let mut b = Bench::new(Have::None);
    b.link(1, true);
    b.input(Input::Stop);
    let out = b.out();
    assert_eq!(closes(&out), [(1, CloseReason::Stopped)]);
    assert!(out.iter().any(|o| matches!(o, Output::Announce { event: Event::Stopped, .. })));
    assert_eq!(b.swarm.wake_at(), None);
}

#[test]
fn lonely_means_that_nobody_needs_us() {
    let mut b = Bench::new(Have::All);
    assert!(b.swarm.lonely());
    b.link(1, true);
    b.say(1, Message::HaveNone);
    assert!(!b.swarm.lonely());
    b.say(1, Message::Extended(ExtHandshake { upload_only: Some(true), ..ExtHandshake::default() }));
    assert!(b.swarm.lonely());
}

#[test]
fn a_new_address_is_announced_at_once_and_never_dialled() {
    let mut b = Bench::new(Have::None);
    b.input(Input::Tracked { peers: &[], interval_s: 60, leechers: 1 });
    b.out();
    b.swarm.moved(Some(addr(9)), 24);
    let out = b.out();
    assert!(matches!(out[..], [Output::Announce { event: Event::Started, .. }]), "{out:?}");
    b.input(Input::Peers { peers: &[addr(9), addr(8)] });
    assert!(b.out().iter().all(|output| !matches!(output, Output::Dial { peer } if *peer == addr(9))));
}
