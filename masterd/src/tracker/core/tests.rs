use super::*;
use crate::tracker::config::{RackConfig, TrackedTorrent};
use boottorrent_swarm::announce::Event;
use boottorrent_swarm::{Mac, PeerId};
use std::time::Duration;

const HASH: InfoHash = InfoHash([0xaa; 20]);
const SEED: &str = "10.0.0.1:6881";

fn tracker() -> Tracker {
    let mut tracker = Tracker::new([7; 32], 1);
    let unreadable = tracker.configure(TrackerConfig {
        interval_seconds: 10,
        seeds: vec![SEED.parse().unwrap()],
        named_racks: Vec::new(),
        racks: vec!["10.8.0.0/16".parse().unwrap()],
        torrents: vec![
            TrackedTorrent { info_hash: HASH.to_string(), name: "debian".into() },
            TrackedTorrent { info_hash: "xyz".into(), name: "broken".into() },
        ],
    });
    assert_eq!(unreadable, ["xyz"]);
    tracker
}

fn node(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new([10, 0, 1, n].into(), 40000)
}

fn told(n: u8, left: u64, event: Event) -> Announce {
    Announce {
        info_hash: HASH,
        peer_id: PeerId::for_node(Mac([2, 0, 0, 0, 0, n])),
        downloaded: 0,
        left,
        uploaded: 0,
        event,
        address: Some([1, 2, 3, 4].into()),
        key: 0,
        want: None,
        port: 6881,
    }
}

fn ask(
    tracker: &mut Tracker,
    now: Time,
    from: SocketAddrV4,
    request: &Request,
) -> (Option<Response>, Result<(), Oddity>) {
    let (mut datagram, mut out) = (vec![], vec![]);
    request.emit(&mut datagram);
    let outcome = tracker.handle(now, from, &datagram, &mut out);
    (Response::parse(&out), outcome)
}

fn announce(tracker: &mut Tracker, now: Time, from: SocketAddrV4, announce: Announce) -> Response {
    let Some(Response::Connect { transaction: 5, connection }) =
        ask(tracker, now, from, &Request::Connect { transaction: 5 }).0
    else {
        panic!("no connection")
    };
    ask(tracker, now, from, &Request::Announce { connection, transaction: 6, announce }).0.unwrap()
}

fn peers(response: &Response) -> Vec<String> {
    let Response::Announce { peers, .. } = response else { panic!("{response:?}") };
    let mut peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
    peers.sort();
    peers
}

#[test]
fn our_own_nodes_are_told_the_named_rack_that_they_are_in() {
    let mut tracker = tracker();
    let rack = |name: &str, network: &str| RackConfig {
        name: name.into(),
        networks: vec![network.parse().unwrap()],
        ..RackConfig::default()
    };
    let named_racks = vec![rack("a", "10.0.1.0/28"), rack("b", "10.0.1.16/28")];
    tracker.configure(TrackerConfig { named_racks, ..tracker.config.clone() });
    let told_rack = |tracker: &mut Tracker, n: u8, id: Option<PeerId>| {
        let told = told(n, 9, Event::Started);
        let told = Announce { peer_id: id.unwrap_or(told.peer_id), ..told };
        let Response::Announce { rack, .. } = announce(tracker, Time(1), node(n), told) else { panic!() };
        rack
    };
    let foreign = Some(PeerId(*b"-TR3000-525400abcdef"));
    assert_eq!(told_rack(&mut tracker, 1, None), Some(Rack(0)));
    assert_eq!(told_rack(&mut tracker, 17, None), Some(Rack(1)));
    assert_eq!(told_rack(&mut tracker, 18, foreign), None, "others would not know what it is");
    assert_eq!(told_rack(&mut tracker, 33, None), None, "of a subnet's its lease tells it");
}

#[test]
fn nodes_learn_of_the_seed_and_of_one_another_by_their_packets_source() {
    let (mut t, now) = (tracker(), Time(1));
    let first = announce(&mut t, now, node(1), told(1, 100, Event::Started));
    assert_eq!(peers(&first), [SEED]);
    let second = announce(&mut t, now, node(2), told(2, 100, Event::Started));
    assert_eq!(peers(&second), [SEED, "10.0.1.1:6881"]);
    assert!(matches!(second, Response::Announce { interval_s: 10, leechers: 2, seeders: 1, .. }));
    // A complete peer is told of those that need it only.
    let done = announce(&mut t, now, node(2), told(2, 0, Event::Completed));
    assert_eq!(peers(&done), ["10.0.1.1:6881"]);
    assert_eq!(peers(&announce(&mut t, now, node(3), told(3, 0, Event::None))), ["10.0.1.1:6881"]);
    let third = announce(&mut t, now, node(1), told(1, 50, Event::None));
    assert_eq!(peers(&third), [SEED, "10.0.1.2:6881", "10.0.1.3:6881"]);
    announce(&mut t, now, node(2), told(2, 0, Event::Stopped));
    let fourth = announce(&mut t, now, node(1), told(1, 50, Event::None));
    assert_eq!(peers(&fourth), [SEED, "10.0.1.3:6881"]);
}

#[test]
fn only_the_catalogs_torrents_are_tracked() {
    let (mut t, now) = (tracker(), Time(1));
    let foreign = Announce { info_hash: InfoHash([1; 20]), ..told(1, 1, Event::Started) };
    let Response::Error { transaction: 6, message } = announce(&mut t, now, node(1), foreign) else {
        panic!("served")
    };
    assert_eq!(message, b"this tracker does not serve that torrent");
    assert_eq!(t.torrents.peers(), 0);
}

#[test]
fn without_a_proved_address_nothing_is_kept() {
    let (mut t, now) = (tracker(), Time(1));
    let request =
        Request::Announce { connection: 1234, transaction: 9, announce: told(1, 1, Event::Started) };
    let (answer, outcome) = ask(&mut t, now, node(1), &request);
    assert_eq!(outcome, Err(Oddity::StaleConnection));
    assert!(matches!(answer, Some(Response::Error { transaction: 9, .. })));
    let mut out = vec![];
    for junk in [&b""[..], b"x", &[0; 16], &[0xff; 98]] {
        assert_eq!(t.handle(now, node(1), junk, &mut out), Err(Oddity::Malformed));
    }
    assert!(out.is_empty());
    assert_eq!(t.torrents.peers(), 0);
}

#[test]
fn silent_nodes_are_forgotten_and_others_later() {
    let mut t = tracker();
    let start = Time(0);
    announce(&mut t, start, node(1), told(1, 100, Event::Started));
    let aria = Announce { peer_id: PeerId(*b"A2-1-36-0-abcdefghij"), ..told(2, 100, Event::Started) };
    announce(&mut t, start, node(2), aria);
    t.expire(start + Duration::from_secs(35));
    assert_eq!(t.torrents.peers(), 2);
    t.expire(start + Duration::from_secs(36));
    assert_eq!(t.torrents.peers(), 1);
    t.expire(start + Duration::from_secs(901));
    assert_eq!((t.torrents.peers(), t.counters.expired), (0, 2));
}

#[test]
fn a_node_that_starts_anew_replaces_itself() {
    let (mut t, now) = (tracker(), Time(1));
    announce(&mut t, now, node(1), told(1, 100, Event::Started));
    announce(&mut t, now, node(1), Announce { port: 7000, ..told(1, 100, Event::Started) });
    assert_eq!(t.torrents.peers(), 1);
    assert_eq!(peers(&announce(&mut t, now, node(2), told(2, 9, Event::Started))), [SEED, "10.0.1.1:7000"]);
}

#[test]
fn wishes_are_bounded() {
    let (mut t, now) = (tracker(), Time(1));
    for port in 1..=400 {
        let peer_id = PeerId(*b"-XX0000-abcdefghijkl");
        let mut id = peer_id;
        id.0[18..].copy_from_slice(&u16::to_be_bytes(port));
        announce(&mut t, now, node(1), Announce { port, peer_id: id, ..told(1, 1, Event::Started) });
    }
    for (want, got) in [(Some(0), 0), (Some(1), 1), (Some(7), 7), (None, 41), (Some(100_000), 41)] {
        let answer = announce(&mut t, now, node(2), Announce { want, ..told(2, 1, Event::None) });
        assert_eq!(peers(&answer).len(), got, "{want:?}");
        let mut out = vec![];
        answer.emit(&mut out);
        assert!(out.len() <= 1472);
    }
}

#[test]
fn one_address_cannot_take_everything() {
    let (mut t, now) = (tracker(), Time(1));
    let mut refused = 0;
    for port in 1..=1100 {
        let mut id = PeerId(*b"-XX0000-abcdefghijkl");
        id.0[18..].copy_from_slice(&u16::to_be_bytes(port));
        let answer =
            announce(&mut t, now, node(1), Announce { port, peer_id: id, ..told(1, 1, Event::Started) });
        refused += usize::from(matches!(answer, Response::Error { .. }));
    }
    assert_eq!((refused, t.torrents.peers()), (1100 - 1024, 1024));
    assert_eq!(peers(&announce(&mut t, now, node(2), told(2, 1, Event::Started))).len(), 26);
}

fn interval(response: &Response) -> u32 {
    let Response::Announce { interval_s, .. } = response else { panic!("{response:?}") };
    *interval_s
}

/// Who waits is dialled by those who come, and need not come back early; the last ones of a large room do.
#[test]
fn only_who_is_short_of_links_is_asked_to_come_back_soon() {
    let (mut t, now) = (tracker(), Time(1));
    for n in 1..=51 {
        assert_eq!(interval(&announce(&mut t, now, node(n), told(n, 1, Event::Started))), 10, "{n}");
    }
    let first = announce(&mut t, now, node(52), told(52, 1, Event::Started));
    assert_eq!((interval(&first), peers(&first).len()), (2, 26));
    let second = announce(&mut t, now, node(52), told(52, 1, Event::None));
    assert_eq!((interval(&second), peers(&second).len()), (10, 41));
    let done = announce(&mut t, now, node(53), told(53, 0, Event::Completed));
    assert_eq!(interval(&done), 10);
}

#[test]
fn racks_are_the_configurations_networks_or_the_addresses_own() {
    let (mut t, now) = (tracker(), Time(1));
    let racks: Vec<_> = ["10.8.0.1", "10.8.255.1", "10.9.0.1", "10.9.1.1", "10.9.1.200"]
        .map(|a| t.racks.of(a.parse().unwrap()))
        .to_vec();
    assert!(racks[0] == racks[1] && racks[3] == racks[4]);
    assert!(racks[1] != racks[2] && racks[2] != racks[3]);
    // Two rooms of forty: a newcomer is told of its own, and of a few elsewhere at most.
    let mut crossing = 0;
    for n in 0..80 {
        let from = SocketAddrV4::new([10, 8 + n % 2, 0, n].into(), 40000);
        let answer = announce(&mut t, now, from, told(n, 1, Event::Started));
        let Response::Announce { peers, .. } = answer else { panic!() };
        assert_eq!(peers[0], SEED.parse().unwrap());
        let elsewhere = |p: &SocketAddrV4| p.ip().octets()[1] != from.ip().octets()[1];
        crossing += peers[1..].iter().filter(|p| elsewhere(p)).count();
        assert!(peers[1..].is_sorted_by_key(elsewhere), "its own rack first: {peers:?}");
    }
    // Twenty nodes of each room have a way out, and of each link the newer one is told here.
    assert!((20..=60).contains(&crossing), "{crossing}");
    // Who wants few is told of those elsewhere all the same: without them the room would be two.
    for n in 0..80 {
        let from = SocketAddrV4::new([10, 8 + n % 2, 0, n].into(), 40000);
        let mut told_to = |want| {
            let answer = announce(&mut t, now, from, Announce { want, ..told(n, 1, Event::None) });
            let Response::Announce { peers, .. } = answer else { panic!() };
            let elsewhere = peers[1..].iter().filter(|p| p.ip().octets()[1] != from.ip().octets()[1]).count();
            (peers.len(), elsewhere)
        };
        let (_, all) = told_to(None);
        assert_eq!(told_to(Some(4)), (4, all.min(3)), "{n}");
    }
}

#[test]
fn scrapes_count() {
    let (mut t, now) = (tracker(), Time(1));
    announce(&mut t, now, node(1), told(1, 100, Event::Started));
    announce(&mut t, now, node(1), told(1, 0, Event::Completed));
    announce(&mut t, now, node(2), told(2, 100, Event::Started));
    let Some(Response::Connect { connection, .. }) =
        ask(&mut t, now, node(3), &Request::Connect { transaction: 1 }).0
    else {
        panic!()
    };
    let hashes = vec![HASH, InfoHash([0; 20])];
    let answer = ask(&mut t, now, node(3), &Request::Scrape { connection, transaction: 2, hashes }).0;
    let Some(Response::Scrape { torrents, .. }) = answer else { panic!() };
    assert_eq!((torrents[0].seeders, torrents[0].completed, torrents[0].leechers), (2, 1, 1));
    assert_eq!((torrents[1].seeders, torrents[1].leechers), (0, 0));
}

#[test]
fn a_new_configuration_keeps_the_peers_of_what_stays() {
    let (mut t, now) = (tracker(), Time(1));
    announce(&mut t, now, node(1), told(1, 100, Event::Started));
    let torrents = [InfoHash([0xbb; 20]), HASH]
        .map(|hash| TrackedTorrent { info_hash: hash.to_string(), name: "x".into() })
        .to_vec();
    let config = TrackerConfig { torrents, ..TrackerConfig::default() };
    assert!(t.configure(config).is_empty());
    assert_eq!(t.torrents.peers(), 1);
    t.configure(TrackerConfig::default());
    assert_eq!(t.torrents.peers(), 0);
}
