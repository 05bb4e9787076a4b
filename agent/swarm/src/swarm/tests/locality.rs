//! Racks: what is fetched from afar, and what neighbours are told of it.
//! Never the links themselves, which are the tracker's graph.

use super::*;
use crate::limits::{FETCHING_KEPT, STARVED};
use crate::wire::Control;

/// We are 10.0.0.50, and share a network with 10.0.0.32 and those above.
fn bench() -> Bench {
    let own = Some(addr(50));
    let config = Config { own, near_prefix: 27, ..Config::new(HASH, id(50), geometry(), Have::None, 1) };
    Bench { swarm: Swarm::new(Time(0), config), now: Time(0) }
}

const FAR: u8 = 1;
const NEAR: [u8; 2] = [40, 41];

fn fetching(outputs: &[Output], n: u8) -> Vec<u32> {
    let of = |m: &OwnedMessage| match m {
        OwnedMessage::Control { control: Control::Fetching(piece), .. } => Some(*piece),
        _ => None,
    };
    sends(outputs, Conn::from(n)).iter().filter_map(of).collect()
}

fn asks(claims: &[BlockClaim]) -> BTreeSet<u32> {
    claims.iter().map(|c| c.index).collect()
}

#[test]
fn what_is_near_or_on_its_way_there_is_not_fetched_from_afar() {
    let mut b = bench();
    b.own(FAR, true);
    NEAR.iter().for_each(|n| drop(b.own(*n, false)));
    let [holder, fetcher] = NEAR.map(Conn::from);
    for piece in 0..4 {
        b.say(holder, Message::Have(piece));
    }
    for piece in 4..7 {
        b.say(fetcher, Message::Control { id: 8, control: Control::Fetching(piece) });
    }
    b.out();
    assert_eq!(asks(&b.offer(FAR, Some(0))), BTreeSet::from([7]), "what is hinted at is near");
    assert_eq!(b.offer(FAR, None), [], "nothing is left that is worth the way");
    assert_eq!(asks(&b.offer(NEAR[0], Some(2))), BTreeSet::from([2]), "a neighbour may give what it likes");
}

#[test]
fn neighbours_are_told_and_others_are_not_believed() {
    let mut b = bench();
    b.own(FAR, true);
    b.own(2, false);
    NEAR.iter().for_each(|n| drop(b.own(*n, false)));
    b.say(2, Message::Control { id: 8, control: Control::Fetching(3) });
    b.say(Conn::from(NEAR[1]), Message::Have(6));
    b.out();
    b.say(Conn::from(FAR), Message::Control { id: 8, control: Control::Offer(Some(3)) });
    let out = b.out();
    assert_eq!(asks(&requests(&out, FAR)), BTreeSet::from([3]));
    assert_eq!(NEAR.map(|n| fetching(&out, n)), [[3], [3]]);
    assert_eq!(fetching(&out, 2), [0; 0], "it is far");
}

#[test]
fn a_lost_fetcher_and_an_idle_neighbour_delay_only() {
    let mut b = bench();
    b.own(FAR, true);
    NEAR.iter().for_each(|n| drop(b.own(*n, false)));
    let [holder, fetcher] = NEAR.map(Conn::from);
    for piece in 0..7 {
        b.say(holder, Message::Have(piece));
    }
    b.say(fetcher, Message::Control { id: 8, control: Control::Fetching(7) });
    b.out();
    assert_eq!(b.offer(FAR, None), []);
    b.input(Input::Closed { conn: fetcher });
    assert_eq!(asks(&b.offer(FAR, None)), BTreeSet::from([7]), "its claim has gone with it");
    // The holder gives nothing: after a while anything is taken from anywhere.
    b.wait(STARVED.as_millis() as u64 + 100);
    b.own(2, true);
    assert_ne!(b.offer(2, None), []);
    assert!(FETCHING_KEPT > STARVED);
}

#[test]
fn on_one_network_nothing_is_spared() {
    let mut b = Bench::new(Have::None);
    b.own(FAR, true);
    NEAR.iter().for_each(|n| drop(b.own(*n, false)));
    for piece in 0..PIECES {
        b.say(Conn::from(NEAR[0]), Message::Have(piece));
    }
    b.out();
    b.say(Conn::from(FAR), Message::Control { id: 8, control: Control::Offer(Some(3)) });
    let out = b.out();
    assert_eq!(asks(&requests(&out, FAR)), BTreeSet::from([3]));
    assert_eq!(NEAR.map(|n| fetching(&out, n)), [[0; 0], [0; 0]]);
}
