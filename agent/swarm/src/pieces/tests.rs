use super::*;
use core::net::Ipv4Addr;

fn geometry() -> Geometry {
    Geometry::new(BLOCK * 4, u64::from(BLOCK * 4 * 3)).unwrap()
}

fn who(n: u8) -> Who {
    Who { addr: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), 1), peer_id: PeerId([n; 20]) }
}

fn empty() -> (Pieces, Piece) {
    (Pieces::new(geometry(), Bitfield::none(&geometry())), geometry().piece(1).unwrap())
}

#[test]
fn two_links_meet_in_the_middle() {
    let (mut pieces, piece) = empty();
    pieces.own(piece, 1);
    pieces.own(piece, 2);
    let offset = |b: Option<Block>| b.map(|b| b.offset / BLOCK);
    assert_eq!(offset(pieces.ask(piece, 1, Take::First)), Some(0));
    assert_eq!(offset(pieces.ask(piece, 2, Take::Shared)), Some(3));
    assert_eq!(offset(pieces.ask(piece, 1, Take::First)), Some(1));
    assert_eq!(offset(pieces.ask(piece, 2, Take::Shared)), Some(2));
    assert_eq!(pieces.ask(piece, 1, Take::First), None);
    assert_eq!(pieces.ask(piece, 2, Take::Shared), None, "nothing twice while other pieces are wanted");
    for other in [0, 2].map(|n| geometry().piece(n).unwrap()) {
        pieces.own(other, 3);
    }
    assert_eq!(offset(pieces.ask(piece, 2, Take::Shared)), Some(1), "twice at the end");
    assert_eq!(offset(pieces.ask(piece, 2, Take::Shared)), Some(0));
    assert_eq!(pieces.ask(piece, 2, Take::Shared), None, "never a third time");
}

#[test]
fn a_piece_left_untouched_is_wanted_again() {
    let (mut pieces, piece) = empty();
    pieces.own(piece, 1);
    assert!(!pieces.wanted().contains(&piece));
    let block = pieces.ask(piece, 1, Take::First).unwrap();
    assert!(pieces.begin(block, 1));
    pieces.disown(piece, 1);
    assert!(pieces.wanted().contains(&piece));
    pieces.own(piece, 2);
    let block = pieces.ask(piece, 2, Take::First).unwrap();
    assert!(pieces.begin(block, 2));
    pieces.store(block, 2, who(2)).unwrap();
    pieces.disown(piece, 2);
    assert!(!pieces.wanted().contains(&piece), "a block of it is here");
    assert_eq!(pieces.opened().count(), 1);
}

#[test]
fn verified_bytes_are_never_written_again() {
    let (mut pieces, piece) = empty();
    for n in 0..4 {
        let block = geometry().block(piece, n).unwrap();
        assert!(pieces.begin(block, 1) && !pieces.begin(block, 2));
        let stored = pieces.store(block, 1, who(1)).unwrap();
        assert_eq!(stored.whole, n == 3);
        assert!(!pieces.begin(block, 2), "not while it is hashed either");
    }
    assert!(pieces.verified(piece).is_some());
    assert!(pieces.verified(piece).is_none());
    assert!(!pieces.begin(geometry().block(piece, 0).unwrap(), 2));
    assert_eq!(pieces.left(), geometry().total() * 2 / 3);
}

#[test]
fn a_piece_of_two_senders_is_fetched_again_from_one() {
    let (mut pieces, piece) = empty();
    for (n, conn) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        let block = geometry().block(piece, n).unwrap();
        assert!(pieces.begin(block, conn));
        pieces.store(block, conn, who(conn as u8));
    }
    let (sources, _) = pieces.failed(piece).unwrap();
    assert_eq!(sources, [who(1), who(2)]);
    let open = pieces.get(piece).unwrap();
    assert!(open.solo && open.missing() == 4);
    pieces.own(piece, 2);
    assert!(!pieces.begin(geometry().block(piece, 0).unwrap(), 1), "one link alone");
    assert!(pieces.begin(geometry().block(piece, 0).unwrap(), 2));
}
