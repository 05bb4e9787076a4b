//! Peers that lie, flood or hold back: what each costs, and whom it costs. That links and clocks come to an end is in the
//! others; real sockets are in tests/it/hostile.rs.

use super::*;
use crate::limits::UNPROVEN_PIECES;

#[test]
fn a_false_piece_bans_its_only_sender() {
    let mut b = Bench::new(Have::None);
    let first = b.seeder(1);
    let out = b.drain(1, first, |_| false);
    assert_eq!(closes(&out), [(1, CloseReason::FalsePiece)]);
    assert_eq!(closes(&b.link(1, true)), [(1, CloseReason::FalsePiece)]);
    assert_eq!(b.swarm.progress().pieces_failed, 1);
}

/// However fast it is: the hash may be far behind the wire.
#[test]
fn an_unproven_peer_is_asked_for_a_few_pieces() {
    let mut b = Bench::new(Have::None);
    let mut waiting = b.seeder(1);
    let mut unverified = Vec::new();
    while let Some(c) = waiting.pop() {
        b.deliver(1, c);
        let out = b.out();
        waiting.extend(requests(&out, 1));
        unverified.extend(out.into_iter().filter(|o| matches!(o, Output::Verify { .. })));
    }
    let [Output::Verify { piece }, ..] = unverified[..] else { panic!("{unverified:?}") };
    assert_eq!(unverified.len(), UNPROVEN_PIECES);
    b.input(Input::Verified { piece, ok: true });
    let first = requests(&b.out(), 1);
    let out = b.drain(1, first, |_| true);
    let later = out.iter().filter(|o| matches!(o, Output::Verify { .. })).count();
    assert_eq!(later, PIECES as usize - UNPROVEN_PIECES, "proven by one");
}

/// All is there but the last piece, of which two seeders send half each: it has come out false.
fn halves() -> Bench {
    let mut have = Bitfield::all(&geometry());
    have.clear(geometry().piece(0).unwrap());
    let mut b = Bench::new(Have::Some(have));
    let one = b.seeder(1);
    let two = b.seeder(2);
    assert_eq!((one.len(), two.len()), (4, 4), "both are asked at the end");
    for c in &one[..2] {
        b.deliver(1, *c);
    }
    b.out();
    for c in two.iter().filter(|c| !one[..2].contains(c)) {
        b.deliver(2, *c);
    }
    let piece = geometry().piece(0).unwrap();
    assert!(b.out().contains(&Output::Verify { piece }));
    b.input(Input::Verified { piece, ok: false });
    b
}

/// Two seeders send halves of the last piece, the second a false one: it alone is banned.
#[test]
fn of_two_senders_the_false_one_is_found() {
    let mut b = halves();
    let out = b.out();
    assert!(closes(&out).is_empty(), "nobody is proven false yet");
    // What both still owe from before the piece came out false, and then the piece again, from one link alone.
    let again: Vec<(u8, Vec<BlockClaim>)> = [1, 2].map(|n| (n, requests(&out, n))).into_iter().collect();
    let (solo, asked) = again.iter().find(|(_, r)| !r.is_empty()).unwrap().clone();
    assert!(again.iter().filter(|(_, r)| !r.is_empty()).count() == 1, "one link alone: {again:?}");
    let out = b.drain(solo, asked, |_| solo == 1);
    let banned: Vec<Conn> =
        closes(&out).into_iter().filter(|(_, r)| *r == CloseReason::FalsePiece).map(|(c, _)| c).collect();
    assert_eq!(banned, [2], "whoever was asked alone");
}

/// Everybody is told the master's id: it must neither push the master out nor get it banned.
#[test]
fn a_liar_under_the_masters_id_harms_nobody_else() {
    let mut b = Bench::with(Have::None, alloc::vec![addr(1)]);
    let dial = |b: &mut Bench, conn| {
        b.input(Input::Connected { conn, peer: addr(1), outgoing: true });
        b.input(Input::Handshake { conn, handshake: Handshake::new(HASH, id(1)) });
        closes(&b.out())
    };
    assert_eq!(dial(&mut b, 10), []);
    b.input(Input::Connected { conn: 2, peer: addr(2), outgoing: false });
    b.input(Input::Handshake { conn: 2, handshake: Handshake::new(HASH, id(1)) });
    assert_eq!(closes(&b.out()), [], "the master stays");
    b.say(2, Message::HaveAll).say(2, Message::Unchoke);
    let first = requests(&b.out(), 2);
    let out = b.drain(2, first, |_| false);
    assert_eq!(closes(&out), [(2, CloseReason::FalsePiece)], "the liar alone");
    b.input(Input::Closed { conn: 10 });
    assert_eq!(dial(&mut b, 11), [], "the master may come back");
}

/// One of the two has gone, the other one stays.
fn suspected() -> Bench {
    let mut b = halves();
    b.input(Input::Closed { conn: 1 });
    b
}

/// A suspect that says now and then that it lacks the piece, and has it again, owes it all the same.
#[test]
fn who_takes_a_piece_back_again_and_again_gains_no_time() {
    let mut b = suspected();
    let mut waiting = b.seeder(3);
    for _ in 0..25 {
        b.say(2, Message::DontHave(0)).say(2, Message::Have(0));
        let out = b.wait(400);
        waiting.extend(requests(&out, 3));
        b.drain(3, core::mem::take(&mut waiting), |_| true);
    }
    assert!(b.swarm.is_complete(), "{:?}", b.swarm.progress());
}

#[test]
fn a_master_gets_another_try_where_there_is_nobody_else() {
    let mut b = Bench::with(Have::None, alloc::vec![addr(1)]);
    let link = |b: &mut Bench| {
        assert!(b.wait(3000).contains(&Output::Dial { peer: addr(1) }));
        b.master(1)
    };
    let first = link(&mut b);
    let flipped = core::cell::Cell::new(true);
    let out = b.drain(1, first, |_| !flipped.replace(false));
    assert_eq!(closes(&out), [(1, CloseReason::FalsePiece)]);
    let again = link(&mut b);
    b.drain(1, again, |_| true);
    assert!(b.swarm.is_complete(), "{:?}", b.swarm.progress());
}

/// A suspect that is to send the piece alone, and then does not, must not hold it: found by fuzzing.
#[test]
fn a_suspect_cannot_hold_a_piece_back() {
    for lie in [Message::Choke, Message::Unchoke, Message::DontHave(0), Message::Reject(claim(0, 0))] {
        let mut b = suspected();
        b.say(2, lie.clone());
        let mut waiting = b.seeder(3);
        for _ in 0..100 {
            if let Message::Reject(_) = lie {
                let asked = requests(&b.out(), 2);
                asked.into_iter().for_each(|c| {
                    b.say(2, Message::Reject(c));
                });
            }
            let out = b.wait(100);
            waiting.extend(requests(&out, 3));
            b.drain(3, core::mem::take(&mut waiting), |_| true);
        }
        assert!(b.swarm.is_complete(), "{lie:?}: {:?}", b.swarm.progress());
    }
}

#[test]
fn hostile_input_costs_its_link_only() {
    let long = BlockClaim { index: 0, offset: 0, length: BLOCK + 1 };
    let cases: [&[Message<'_>]; 8] = [
        &[Message::Have(PIECES)],
        &[Message::Bitfield(&[0xff, 0])],
        &[Message::HaveAll, Message::HaveNone],
        &[Message::Have(0), Message::HaveAll],
        &[Message::Have(0), Message::Bitfield(&[0xff, 0])],
        &[Message::Request(claim(PIECES, 0))],
        &[Message::Request(long)],
        &[Message::DontHave(u32::MAX)],
    ];
    for case in cases {
        let mut b = Bench::new(Have::None);
        b.link(9, true);
        b.link(1, true);
        case.iter().for_each(|m| _ = b.say(1, m.clone()));
        let out = b.out();
        assert!(matches!(closes(&out)[..], [(1, CloseReason::Protocol(_))]), "{case:?}: {out:?}");
        let later = b.wait(3000);
        assert!(closes(&later).is_empty());
    }
}

#[test]
fn who_only_asks_and_never_reads_is_dropped() {
    let mut b = Bench::new(Have::None);
    b.link(1, true);
    b.input(Input::Room { conn: 1, bytes: 0 });
    (0..20_000).for_each(|_| _ = b.say(1, Message::Request(claim(0, 0))));
    assert_eq!(closes(&b.out()), [(1, CloseReason::Backlog)]);
}

#[test]
fn forged_local_announces_leave_room_for_the_trackers() {
    let mut b = Bench::new(Have::None);
    for n in 0..1000u16 {
        b.input(Input::Local { peer: SocketAddrV4::new(Ipv4Addr::new(10, 9, 0, 1), 1000 + n) });
    }
    assert_eq!(b.swarm.progress().peers_known, 300);
    assert!(b.out().iter().filter(|o| matches!(o, Output::Dial { .. })).count() <= 50);
    b.input(Input::Tracked { peers: &[addr(1)], interval_s: 10, leechers: 1 });
    assert_eq!(b.swarm.progress().peers_known, 301);
}

/// So many links of one host, each under a name and a port of its own.
fn flood(b: &mut Bench, host: u8, first: Conn, count: u32) -> Vec<Output> {
    for conn in first..first + count {
        let peer = SocketAddrV4::new(*addr(host).ip(), 1000 + conn as u16);
        let mut name = [host; 20];
        name[..4].copy_from_slice(&conn.to_be_bytes());
        b.input(Input::Connected { conn, peer, outgoing: false });
        b.input(Input::Handshake { conn, handshake: Handshake::new(HASH, PeerId(name)) });
    }
    b.out()
}

#[test]
fn one_machine_under_many_names_keeps_nobody_out() {
    let mut b = Bench::new(Have::None);
    let (most, from) = (crate::limits::MAX_PEERS, 1000);
    assert_eq!(
        closes(&flood(&mut b, 1, from, most + 20)).len(),
        20,
        "all that it has could only go to itself"
    );
    let target = b.swarm.config.target;
    for (before, n) in (2..100).filter(|n| *n != 50).enumerate() {
        let out = b.link(n, true);
        let gone = closes(&out);
        if before + 1 < most as usize {
            assert!(matches!(gone[..], [(conn, CloseReason::TooManyPeers)] if conn >= from), "{n}: {gone:?}");
        } else {
            assert_eq!(gone, [(Conn::from(n), CloseReason::TooManyPeers)], "one each");
        }
    }
    // Nor from looking for others.
    let mut b = Bench::new(Have::None);
    flood(&mut b, 1, from, most);
    let peers: Vec<SocketAddrV4> = (2..=60).map(addr).collect();
    b.input(Input::Tracked { peers: &peers, interval_s: 10, leechers: 60 });
    let dials = |out: &[Output]| out.iter().filter(|o| matches!(o, Output::Dial { .. })).count() as u32;
    let dialled = dials(&b.out());
    assert!(dialled > 0 && dialled < target, "{dialled}");
}
