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

fn sent(uploads: &mut Uploads, now: Time, peers: &mut Peers) -> Vec<(Conn, u32)> {
    let mut all = Vec::new();
    while let Turn::Send(conn, block) = uploads.next(now, peers) {
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
    let mut served = |now, peers: &mut Peers| match uploads.next(now, peers) {
        Turn::Send(conn, _) => {
            peers.get_mut(&conn).unwrap().room = 0;
            Some(conn)
        }
        Turn::Wait(_) => None,
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
