use super::*;
use crate::PeerId;
use core::net::Ipv4Addr;
use core::time::Duration;

fn addr(host: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host), port)
}

#[test]
fn a_masters_back_off_ends_at_a_second_others_go_on() {
    let mut book = Book::default();
    book.learn(Time(0), addr(1, 1), true);
    book.learn(Time(0), addr(2, 1), false);
    let mut rng = Rng::new(1);
    let mut now = Time(0);
    for _ in 0..10 {
        book.failed(now, addr(1, 1));
        book.failed(now, addr(2, 1));
        now = now + REDIAL_MASTER;
        assert_eq!(book.due(now, true, &mut rng), Some(addr(1, 1)));
    }
    assert_eq!(book.due(now, false, &mut rng), None);
    assert_eq!(book.due(now + REDIAL_MAX, false, &mut rng), Some(addr(2, 1)));
    assert_eq!(book.due(now + REDIAL_MAX, false, &mut rng), None, "a dial is under way");
}

#[test]
fn a_master_is_banned_by_its_address_alone_and_not_for_ever() {
    let (mut book, mut rng) = (Book::default(), Rng::new(1));
    let who = |n: u8, port| Who { addr: addr(1, port), peer_id: PeerId([n; 20]) };
    book.learn(Time(0), addr(1, 1), true);
    (2..6).for_each(|n| book.ban(who(n, n.into())));
    book.ban(who(1, 2));
    assert!(!book.is_banned(who(1, 1)), "liars share its host, one of them its id");
    book.ban(who(1, 1));
    assert!(book.is_banned(who(1, 1)) && book.due(Time(0), true, &mut rng).is_none());
    book.pardon_masters(Time(0));
    assert!(!book.is_banned(who(1, 1)) && book.is_banned(who(2, 2)));
    assert_eq!(book.due(Time(0), true, &mut rng), None, "not at once");
    assert_eq!(book.due(Time(0) + REDIAL_MASTER, true, &mut rng), Some(addr(1, 1)));
}

#[test]
fn a_forged_list_does_not_grow_the_book() {
    let mut book = Book::default();
    (0..=u16::MAX).for_each(|port| book.learn(Time(0), addr(9, port), false));
    book.learn(Time(0), addr(1, 1), true);
    assert!(book.len() <= MAX_KNOWN + 1 && book.is_master(addr(1, 1)));
}

#[test]
fn bans_hold_by_id_by_address_and_by_host() {
    let mut book = Book::default();
    let who = |n: u8, port| Who { addr: addr(1, port), peer_id: PeerId([n; 20]) };
    book.learn(Time(0), addr(1, 1), false);
    book.ban(who(1, 1));
    book.ban(who(1, 1));
    book.ban(who(1, 1));
    assert!(book.is_banned(who(1, 9)) && book.is_banned(who(9, 1)) && !book.is_banned(who(9, 9)));
    book.ban(who(2, 2));
    book.ban(who(3, 3));
    assert!(book.is_banned(who(9, 9)), "a host that comes back under new names");
    assert_eq!(book.due(Time(0) + Duration::from_secs(99), false, &mut Rng::new(1)), None);
}
