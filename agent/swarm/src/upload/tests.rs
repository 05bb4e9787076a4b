use super::*;
use crate::bitfield::Bitfield;
use crate::metainfo::BLOCK;
use crate::peers::Peer;
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

/// A seed's or, with nothing, a node's next turn.
fn next(uploads: &mut Uploads, now: Time, peers: &mut Peers, have: &Bitfield) -> Turn {
    uploads.next(now, peers, Sender { id: PeerId([5; 20]), have }, &mut Rng::new(1))
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
    let order = sent(&mut Uploads::new(geometry(), 1), Time(0), &mut peers);
    let runs = order.chunk_by(|a, b| a == b).count();
    assert_eq!((order.len() as u32, runs), (3 * BLOCKS, 3));
}

#[test]
fn the_least_sent_piece_then_the_poorest_receiver() {
    let mut peers = peers(3);
    let mut uploads = Uploads::new(geometry(), 1);
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
    let mut uploads = Uploads::new(geometry(), 2);
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
    assert_eq!(sent(&mut Uploads::new(geometry(), 1), Time(0), &mut peers).len() as u32, BLOCKS - 1);
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
    let mut uploads = Uploads::new(geometry(), 4);
    let have = Bitfield::all(&geometry());
    let (mut offered, mut now, mut rng) = (Vec::new(), Time(0), Rng::new(1));
    while offered.len() < 32 {
        match uploads.next(now, &mut peers, Sender { id: PeerId([5; 20]), have: &have }, &mut rng) {
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

#[test]
fn an_offer_that_is_passed_goes_to_the_next() {
    let mut peers = ours(&[9, 3]);
    let mut uploads = Uploads::new(geometry(), 4);
    let have = Bitfield::none(&geometry());
    let now = Time(0);
    assert_eq!(next(&mut uploads, now, &mut peers, &have), Turn::Offer(0, None), "9 follows 5 in the ring");
    uploads.passed(0);
    peers.get_mut(&0).unwrap().full = Some(now);
    assert_eq!(next(&mut uploads, now, &mut peers, &have), Turn::Offer(1, None));
    uploads.passed(1);
    peers.get_mut(&1).unwrap().full = Some(now);
    assert_eq!(next(&mut uploads, now, &mut peers, &have), Turn::Wait(Some(now + FULL_KEPT)));
    assert_eq!(next(&mut uploads, now + FULL_KEPT, &mut peers, &have), Turn::Offer(0, None));
}

#[test]
fn many_nodes_serve_the_poorer_of_two() {
    let ids: Vec<u8> = (10..10 + RING_MAX as u8).collect();
    let mut peers = ours(&ids);
    for (n, peer) in peers.values_mut().enumerate() {
        let pieces = [8, 2, 14][(n == 8) as usize + 2 * usize::from(n == 9)];
        (0..pieces).for_each(|p| {
            peer.have.set(geometry().piece(p).unwrap());
        });
    }
    let mut offers = [0; RING_MAX];
    for seed in 0..400 {
        let have = Bitfield::none(&geometry());
        let sender = Sender { id: PeerId([5; 20]), have: &have };
        let turn = Uploads::new(geometry(), 4).next(Time(0), &mut peers, sender, &mut Rng::new(seed));
        let Turn::Offer(conn, None) = turn else { panic!("{turn:?}") };
        offers[conn as usize] += 1;
    }
    // Of 400: 39 expected for the poorest, 1 for the richest, 20 for the others.
    assert!(offers[8] > 28 && offers[9] < 5, "{offers:?}");
}

#[test]
fn what_went_to_a_lost_node_counts_as_not_given() {
    let mut uploads = Uploads::new(geometry(), 1);
    let mut peers = peers(2);
    ask(&mut peers, 0, 3);
    ask(&mut peers, 0, 4);
    ask(&mut peers, 1, 5);
    sent(&mut uploads, Time(0), &mut peers);
    assert_eq!(uploads.given[3..6], [1, 1, 1]);
    uploads.lost(0, |piece| piece.index() == 3);
    assert_eq!(uploads.given[3..6], [0, 1, 1], "4 is with somebody else, and 5 went to somebody else");
}
