//! Racks: what is fetched from afar, and what neighbours are told of it.
//! Never the links themselves, which are the tracker's graph.

use super::*;
use crate::graph::Rack;
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

/// By addresses all are far from each other or near; the tracker and the peers themselves say otherwise.
#[test]
fn racks_that_are_told_count_more_than_addresses() {
    let mut b = bench();
    let says = |b: &mut Bench, n: u8, rack: Option<Rack>| {
        let hello = ExtHandshake { control: Some(8), rack, ..ExtHandshake::default() };
        b.say(Conn::from(n), Message::Extended(hello));
    };
    b.own(FAR, true);
    NEAR.iter().for_each(|n| drop(b.own(*n, false)));
    for piece in 0..4 {
        b.say(Conn::from(NEAR[0]), Message::Have(piece));
    }
    b.out();
    b.input(Input::Placed { rack: Rack(5) });
    let told = |out: &[Output]| {
        let hello =
            |m: &OwnedMessage| matches!(m, OwnedMessage::Extended(hello) if hello.rack == Some(Rack(5)));
        [FAR, NEAR[0], NEAR[1]].map(|n| sends(out, Conn::from(n)).iter().any(hello))
    };
    assert_eq!(told(&b.out()), [true; 3]);
    b.input(Input::Placed { rack: Rack(5) });
    assert_eq!(told(&b.out()), [false; 3], "nothing new");
    // The neighbour by address is of another rack: what it has does not spare the way. The other one is of ours.
    says(&mut b, NEAR[0], Some(Rack(6)));
    says(&mut b, NEAR[1], Some(Rack(5)));
    b.say(Conn::from(NEAR[1]), Message::Have(2));
    for piece in 4..7 {
        b.say(Conn::from(NEAR[1]), Message::Control { id: 8, control: Control::Fetching(piece) });
    }
    b.out();
    b.say(Conn::from(FAR), Message::Control { id: 8, control: Control::Offer(Some(0)) });
    let out = b.out();
    assert_eq!(asks(&requests(&out, FAR)), BTreeSet::from([0]));
    assert_eq!((fetching(&out, NEAR[0]), fetching(&out, NEAR[1])), (Vec::new(), alloc::vec![0]));
    // The far one turns out to be of our rack: it may be asked for whatever there is.
    assert!(!asks(&b.offer(NEAR[0], Some(2))).contains(&2), "a copy is near");
    says(&mut b, NEAR[0], Some(Rack(5)));
    assert_eq!(asks(&b.offer(NEAR[0], Some(3))), BTreeSet::from([3]));
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
