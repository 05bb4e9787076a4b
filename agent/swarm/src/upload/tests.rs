use super::*;
use crate::bitfield::Bitfield;
use crate::limits::{DECLINED_KEPT, RING_LAG, RING_MAX, RING_PATIENCE};
use crate::metainfo::BLOCK;
use crate::peers::Peer;
use crate::pieces::Who;
use core::net::{Ipv4Addr, SocketAddrV4};

const BLOCKS: u32 = 8;

fn geometry() -> Geometry {
    Geometry::new(BLOCK * BLOCKS, u64::from(BLOCK * BLOCKS) * 16).unwrap()
}

fn peers(n: u32) -> Peers {
    let remote = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    (0..n)
        .map(|conn| {
            let mut peer = Peer::new(Time(0), remote, false, &geometry());
            peer.room = 1 << 20;
            (conn, peer)
        })
        .collect()
}

fn ask(peers: &mut Peers, conn: Conn, piece: u32) {
    let piece = geometry().piece(piece).unwrap();
    for n in 0..BLOCKS {
        peers.get_mut(&conn).unwrap().queue.push(geometry().block(piece, n).unwrap());
    }
}

fn uploads(slots: usize) -> Uploads {
    Uploads::new(geometry(), slots, &Bitfield::none(&geometry()))
}

/// A seed's or, with nothing, a node's next turn.
fn next(uploads: &mut Uploads, now: Time, peers: &mut Peers, have: &Bitfield) -> Turn {
    let have = Bitfield::parse(have.as_bytes(), &geometry()).unwrap();
    turn(uploads, now, peers, &Pieces::new(geometry(), have))
}

fn turn(uploads: &mut Uploads, now: Time, peers: &mut Peers, pieces: &Pieces) -> Turn {
    uploads.next(now, peers, Sender { id: PeerId([5; 20]), pieces, crowd: 0 }, &mut Rng::new(1))
}

fn sent(uploads: &mut Uploads, now: Time, peers: &mut Peers) -> Vec<(Conn, u32)> {
    let mut all = Vec::new();
    let have = Bitfield::all(&geometry());
    while let Turn::Send(conn, block) = next(uploads, now, peers, &have) {
        all.push((conn, block.piece.index()));
    }
    all
}

#[test]
fn a_piece_is_finished_before_the_next_begins() {
    let mut peers = peers(3);
    (0..3).for_each(|c| ask(&mut peers, c, c + 4));
    let order = sent(&mut uploads(1), Time(0), &mut peers);
    let runs = order.chunk_by(|a, b| a == b).count();
    assert_eq!((order.len() as u32, runs), (3 * BLOCKS, 3));
}

#[test]
fn the_least_sent_piece_then_the_poorest_receiver() {
    let mut peers = peers(3);
    let mut uploads = uploads(1);
    ask(&mut peers, 0, 1);
    sent(&mut uploads, Time(0), &mut peers);
    ask(&mut peers, 0, 1);
    ask(&mut peers, 1, 2);
    ask(&mut peers, 2, 3);
    peers.get_mut(&1).unwrap().have = Bitfield::all(&geometry());
    let order: Vec<Conn> =
        sent(&mut uploads, Time(0), &mut peers).chunk_by(|a, b| a == b).map(|run| run[0].0).collect();
    assert_eq!(order, [2, 1, 0]);
}

#[test]
fn slots_bound_who_is_served_until_a_receiver_stalls() {
    let mut peers = peers(4);
    (0..4).for_each(|c| ask(&mut peers, c, c));
    peers.values_mut().for_each(|p| p.room = 1);
    let mut uploads = uploads(2);
    let have = Bitfield::all(&geometry());
    let mut served = |now, peers: &mut Peers| match next(&mut uploads, now, peers, &have) {
        Turn::Send(conn, _) => {
            peers.get_mut(&conn).unwrap().room = 0;
            Some(conn)
        }
        Turn::Wait(_) | Turn::Offer(..) => None,
    };
    assert!(served(Time(0), &mut peers).is_some() && served(Time(0), &mut peers).is_some());
    assert_eq!(served(Time(0), &mut peers), None, "two slots, two links that are full");
    let later = Time(0) + UPLOAD_STALL;
    assert!(served(later, &mut peers).is_some(), "an uplink does not idle behind stalled receivers");
}

#[test]
fn cancelled_requests_are_not_sent() {
    let mut peers = peers(1);
    ask(&mut peers, 0, 0);
    let block = geometry().block(geometry().piece(0).unwrap(), 3).unwrap();
    let queue = &mut peers.get_mut(&0).unwrap().queue;
    assert!(queue.cancel(block) && !queue.cancel(block));
    assert_eq!(sent(&mut uploads(1), Time(0), &mut peers).len() as u32, BLOCKS - 1);
}

#[test]
fn a_piece_that_is_not_asked_to_its_end_is_looked_at_again() {
    let mut peers = peers(1);
    ask(&mut peers, 0, 0);
    let last = geometry().block(geometry().piece(0).unwrap(), BLOCKS - 1).unwrap();
    peers.get_mut(&0).unwrap().queue.cancel(last);
    let mut uploads = uploads(1);
    sent(&mut uploads, Time(0), &mut peers);
    let have = Bitfield::all(&geometry());
    let end = Time(0) + TURN_KEPT;
    assert_eq!(next(&mut uploads, Time(0) + UPLOAD_STALL, &mut peers, &have), Turn::Wait(Some(end)));
    assert_eq!(next(&mut uploads, end, &mut peers, &have), Turn::Wait(None));
    assert_eq!(peers[&0].declined.until(end), None, "it lacks the rest");
}

/// Our own nodes, by peer id.
fn ours(ids: &[u8]) -> Peers {
    let mut peers = peers(ids.len() as u32);
    for (peer, id) in peers.values_mut().zip(ids) {
        peer.peer_id = Some(PeerId([*id; 20]));
        (peer.control, peer.interested) = (Some(8), true);
    }
    peers
}

#[test]
fn a_source_offers_every_piece_once_before_any_twice() {
    let mut peers = ours(&[1, 2]);
    let mut uploads = uploads(4);
    let pieces = Pieces::new(geometry(), Bitfield::all(&geometry()));
    let (mut offered, mut now, mut rng) = (Vec::new(), Time(0), Rng::new(1));
    while offered.len() < 32 {
        match uploads.next(
            now,
            &mut peers,
            Sender { id: PeerId([5; 20]), pieces: &pieces, crowd: 0 },
            &mut rng,
        ) {
            Turn::Offer(conn, Some(piece)) => {
                offered.push(piece.index());
                uploads.asked(now, conn, piece);
                ask(&mut peers, conn, piece.index());
            }
            Turn::Send(..) => {}
            Turn::Wait(Some(until)) => now = until,
            turn => panic!("{turn:?} after {offered:?}"),
        }
    }
    assert!(offered.windows(2).any(|w| w[0] > w[1]), "in order: {offered:?}");
    let (first, second) = offered.split_at_mut(16);
    first.sort_unstable();
    second.sort_unstable();
    assert_eq!(first, (0..16).collect::<Vec<u32>>());
    assert_eq!(second, first);
}

/// A node that has the first pieces, and those behind it.
fn relay(pieces: u32, ids: &[u8]) -> (Uploads, Pieces, Peers) {
    let mut have = Bitfield::none(&geometry());
    (0..pieces).for_each(|p| _ = have.set(geometry().piece(p).unwrap()));
    (Uploads::new(geometry(), 4, &have), Pieces::new(geometry(), have), ours(ids))
}

fn named(piece: u32) -> Option<Piece> {
    geometry().piece(piece)
}

#[test]
fn the_next_in_the_ring_is_waited_for_a_while() {
    let (mut uploads, pieces, mut peers) = relay(3, &[9, 3]);
    let now = Time(0);
    assert_eq!(turn(&mut uploads, now, &mut peers, &pieces), Turn::Offer(0, named(0)), "9 follows 5");
    assert_eq!(uploads.passed(0), named(0));
    peers.get_mut(&0).unwrap().full = Some(now + 5 * FULL_KEPT);
    let Turn::Wait(Some(_)) = turn(&mut uploads, now, &mut peers, &pieces) else { panic!("not waited for") };
    let later = now + RING_PATIENCE;
    assert_eq!(turn(&mut uploads, later, &mut peers, &pieces), Turn::Offer(1, named(0)));
}

#[test]
fn who_passes_every_offer_keeps_nothing_from_those_behind() {
    let (mut uploads, pieces, mut peers) = relay(8, &[9, 10]);
    let mut served = 0;
    for now in (0..2000).map(|ms| Time(0) + Duration::from_millis(ms)) {
        match turn(&mut uploads, now, &mut peers, &pieces) {
            Turn::Offer(0, _) => {
                let named = uploads.passed(0).unwrap();
                let peer = peers.get_mut(&0).unwrap();
                peer.full = Some(now);
                peer.declined.add(now, named);
            }
            Turn::Offer(_, _) => {
                served += 1;
                uploads.passed(1);
            }
            _ => {}
        }
    }
    assert!(served > 100, "{served}");
}

#[test]
fn pieces_go_on_in_the_order_in_which_they_came() {
    let (mut uploads, pieces, mut peers) = relay(3, &[9]);
    peers.get_mut(&0).unwrap().have.set(geometry().piece(0).unwrap());
    peers.get_mut(&0).unwrap().declined.add(Time(0), geometry().piece(1).unwrap());
    assert_eq!(
        turn(&mut uploads, Time(0), &mut peers, &pieces),
        Turn::Offer(0, named(2)),
        "has 0, declined 1"
    );
    uploads.passed(0);
    let later = Time(0) + DECLINED_KEPT;
    assert_eq!(turn(&mut uploads, later, &mut peers, &pieces), Turn::Offer(0, named(1)));
}

#[test]
fn who_is_far_behind_gets_the_newest_first() {
    for (pieces, first) in [(RING_LAG, 0), (RING_LAG + 1, RING_LAG)] {
        let (mut uploads, pieces, mut peers) = relay(pieces, &[9]);
        assert_eq!(turn(&mut uploads, Time(0), &mut peers, &pieces), Turn::Offer(0, named(first)));
    }
}

#[test]
fn a_piece_is_offered_while_it_arrives_and_sent_when_it_is_whole() {
    let (mut uploads, mut pieces, mut peers) = relay(0, &[9]);
    let (piece, from) = (geometry().piece(7).unwrap(), 3);
    pieces.own(piece, from);
    uploads.begun(piece);
    let Turn::Wait(_) = turn(&mut uploads, Time(0), &mut peers, &pieces) else {
        panic!("nothing of it is here")
    };
    let who = Who { addr: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1), peer_id: PeerId([1; 20]) };
    let arrive = |pieces: &mut Pieces, blocks: core::ops::Range<u32>| {
        for block in blocks.map(|n| geometry().block(piece, n).unwrap()) {
            assert!(pieces.begin(block, from));
            pieces.store(block, from, who).unwrap();
        }
    };
    arrive(&mut pieces, 0..1);
    assert_eq!(turn(&mut uploads, Time(0), &mut peers, &pieces), Turn::Offer(0, Some(piece)));
    uploads.asked(Time(0), 0, piece);
    ask(&mut peers, 0, 7);
    let Turn::Wait(_) = turn(&mut uploads, Time(0), &mut peers, &pieces) else { panic!("sent unverified") };
    arrive(&mut pieces, 1..BLOCKS);
    pieces.verified(piece).unwrap();
    let first = geometry().block(piece, 0).unwrap();
    assert_eq!(turn(&mut uploads, Time(0), &mut peers, &pieces), Turn::Send(0, first));
}

#[test]
fn only_who_says_nothing_at_all_is_mute() {
    for heard in [false, true] {
        let (mut uploads, pieces, mut peers) = relay(3, &[9]);
        assert_eq!(turn(&mut uploads, Time(0), &mut peers, &pieces), Turn::Offer(0, named(0)));
        if heard {
            peers.get_mut(&0).unwrap().last_in = Time(0) + OFFER_FRESH;
        }
        let next = turn(&mut uploads, Time(0) + OFFER_KEPT, &mut peers, &pieces);
        assert_eq!(matches!(next, Turn::Offer(0, _)), heard);
        assert_eq!(peers[&0].mute.is_none(), heard);
    }
}

#[test]
fn who_answers_nothing_is_offered_more_and_waited_for_once() {
    let (mut uploads, pieces, mut peers) = relay(8, &[9, 10]);
    let (mut unanswered, mut gaps, mut last) = (0, Vec::new(), Time(0));
    for now in (0..4000).map(|ms| Time(0) + Duration::from_millis(ms)) {
        match turn(&mut uploads, now, &mut peers, &pieces) {
            Turn::Offer(0, _) => unanswered += 1,
            Turn::Offer(_, _) => {
                gaps.push(now.since(last));
                last = now;
                uploads.passed(1);
            }
            _ => {}
        }
    }
    assert!(unanswered > 2, "{unanswered}");
    let (first, others) = gaps.split_first().unwrap();
    assert!(*first >= RING_PATIENCE && others.iter().all(|gap| *gap < RING_PATIENCE), "{gaps:?}");
}

#[test]
fn many_nodes_serve_the_poorer_of_two() {
    let ids: Vec<u8> = (10..10 + RING_MAX as u8).collect();
    let mut peers = ours(&ids);
    for (n, peer) in peers.values_mut().enumerate() {
        // Among equals the first is taken, so the extremes stand where that would not put them.
        let pieces = [8, 14, 2][usize::from(n == 0) + 2 * usize::from(n == RING_MAX - 1)];
        (0..pieces).for_each(|p| {
            peer.have.set(geometry().piece(p).unwrap());
        });
    }
    let mut offers = [0; RING_MAX];
    for seed in 0..400 {
        let pieces = Pieces::new(geometry(), Bitfield::none(&geometry()));
        let sender = Sender { id: PeerId([5; 20]), pieces: &pieces, crowd: 0 };
        let turn = uploads(4).next(Time(0), &mut peers, sender, &mut Rng::new(seed));
        let Turn::Offer(conn, None) = turn else { panic!("{turn:?}") };
        offers[conn as usize] += 1;
    }
    // Of 400: 16 expected for the poorest, as the first of equals has, and none for the richest.
    assert!(offers[RING_MAX - 1] > 8 && offers[0] < 3, "{offers:?}");
}

#[test]
fn what_went_to_a_lost_node_counts_as_not_given() {
    let mut uploads = uploads(1);
    let mut peers = peers(2);
    ask(&mut peers, 0, 3);
    ask(&mut peers, 0, 4);
    ask(&mut peers, 1, 5);
    sent(&mut uploads, Time(0), &mut peers);
    assert_eq!(uploads.given[3..6], [1, 1, 1]);
    uploads.lost(0, |piece| piece.index() == 3);
    assert_eq!(uploads.given[3..6], [0, 1, 1], "4 is with somebody else, and 5 went to somebody else");
}
