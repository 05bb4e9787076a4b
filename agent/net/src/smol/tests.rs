//! Drivers on a hub in memory, in virtual time: what they do to one another, to strangers and to the dead.

use super::*;
use crate::storage::{Backing, Download, Files, Layout, Source};
use crate::verify::{Content, Verifier};
use boottorrent_swarm::Mac;
use boottorrent_swarm::announce::{Request, Response};
use boottorrent_swarm::metainfo::Geometry;
use boottorrent_swarm::swarm::Have;
use limits::{DIAL_TIMEOUT, GREET_TIMEOUT, LEAVE_TIMEOUT, LISTENERS};
use sha2::Digest as _;
use smoltcp::wire::IpEndpoint;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const HASH: InfoHash = InfoHash([7; 20]);
const PORT: u16 = 6881;
/// One way, through the hub.
const DELAY: Duration = Duration::from_micros(100);

#[derive(Default)]
struct Card {
    come: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Frames for Card {
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        self.come.pop_front().map(|next| *frame = next).is_some()
    }

    fn send(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }
}

struct Image {
    bytes: Vec<u8>,
    geometry: Geometry,
    list: Vec<[u8; 32]>,
}

fn image(length: usize, piece_length: u32) -> Image {
    let mut lots = Rng::new(1);
    let bytes: Vec<u8> = (0..length).map(|_| lots.next_u32() as u8).collect();
    let list = bytes.chunks(piece_length as usize).map(|p| sha2::Sha256::digest(p).into()).collect();
    Image { geometry: Geometry::new(piece_length, length as u64).unwrap(), bytes, list }
}

fn address(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, n), PORT)
}

fn torrent(image: &Image, path: &Path, have: Have) -> Torrent {
    let size = image.geometry.total();
    let store: Box<dyn storage::Store> = if have == Have::All {
        let source = Source { path: path.to_owned(), fingerprint: None };
        Box::new(Files::open(&[source], Layout::plain([size])).unwrap())
    } else {
        Box::new(Download::open(&[Backing { path: path.to_owned(), size }], Layout::plain([size])).unwrap())
    };
    let verifier = Verifier::Sha256(image.list.clone());
    let content = Arc::new(Content { geometry: image.geometry, store, verifier });
    Torrent {
        info_hash: HASH,
        content,
        have,
        masters: vec![],
        peers: vec![],
        trackers: vec![],
        own: None,
        near_prefix: 0,
        max_peers: None,
    }
}

fn options(n: u8) -> Options {
    Options {
        address: *address(n).ip(),
        prefix_length: 24,
        port: Some(PORT),
        peer_id: PeerId::for_node(Mac([2, 0, 0, 0, 0, n])),
        seed: u64::from(n),
        socket_buffer: SOCKET_BUFFER,
        max_links: MAX_LINKS,
    }
}

fn card(n: u8) -> Ethernet<Card> {
    let mac = Mac([2, 0, 0, 0, 0, n]);
    Ethernet::new(Card::default(), Place { mac, address: *address(n).ip(), prefix_length: 24, router: None })
}

fn driver(n: u8, torrent: Torrent) -> Driver<Ethernet<Card>> {
    Driver::new(Time(0), card(n), options(n), torrent).unwrap()
}

/// A host by hand, with sockets of its own.
struct Stranger {
    device: Ethernet<Card>,
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl Stranger {
    fn new(n: u8) -> Stranger {
        let mut device = card(n);
        let mut config = iface::Config::new(HardwareAddress::Ip);
        config.random_seed = u64::from(n);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|all| all.push(IpCidr::new((*address(n).ip()).into(), 24)).unwrap());
        Stranger { device, interface, sockets: SocketSet::new(vec![]) }
    }

    fn dial(&mut self, to: u8, from: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 10_000]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        let to = IpEndpoint::new((*address(to).ip()).into(), PORT);
        socket.connect(self.interface.context(), to, from).unwrap();
        self.sockets.add(socket)
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

/// Everybody's frames go to everybody, after a while.
struct Hub {
    now: Time,
    drivers: Vec<Driver<Ethernet<Card>>>,
    strangers: Vec<Stranger>,
    under_way: VecDeque<(Time, usize, Vec<u8>)>,
    lots: Rng,
    /// Of 1000 frames so many are lost, and of others one byte is changed, or the end is missing.
    lost: u32,
    garbled: u32,
}

impl Hub {
    fn new(drivers: Vec<Driver<Ethernet<Card>>>) -> Hub {
        let (strangers, under_way) = (vec![], VecDeque::new());
        Hub { now: Time(0), drivers, strangers, under_way, lots: Rng::new(3), lost: 0, garbled: 0 }
    }

    /// One moment: everybody acts, then time goes on to when something is next.
    fn step(&mut self) {
        while self.under_way.front().is_some_and(|(at, ..)| *at <= self.now) {
            let (_, from, frame) = self.under_way.pop_front().unwrap();
            let cards = self.drivers.iter_mut().map(|d| d.device());
            let cards = cards.chain(self.strangers.iter_mut().map(|s| &mut s.device));
            for (_, card) in cards.enumerate().filter(|(n, _)| *n != from) {
                card.frames().come.push_back(frame.clone());
            }
        }
        let mut wake = Some(self.now + Duration::from_millis(50));
        for driver in &mut self.drivers {
            driver.poll(self.now);
            wake = wake.min(driver.wake_at(self.now).or(wake));
        }
        for s in &mut self.strangers {
            s.interface.poll(instant(self.now), &mut s.device, &mut s.sockets);
        }
        let at = self.now + DELAY;
        let cards = self.drivers.iter_mut().map(|d| d.device());
        for (n, card) in cards.chain(self.strangers.iter_mut().map(|s| &mut s.device)).enumerate() {
            for mut frame in card.frames().sent.drain(..) {
                if self.lots.below(1000) < self.garbled {
                    let at = self.lots.below(frame.len() as u32) as usize;
                    frame[at] ^= 1 << self.lots.below(8);
                    frame.truncate(if self.lots.below(2) == 0 { at } else { frame.len() });
                }
                if self.lots.below(1000) >= self.lost {
                    self.under_way.push_back((at, n, frame));
                }
            }
        }
        let next = wake.into_iter().chain(self.under_way.front().map(|(at, ..)| *at)).min().unwrap();
        self.now = next.max(self.now + Duration::from_micros(1));
    }

    fn until(&mut self, limit: Duration, mut done: impl FnMut(&mut Hub) -> bool) {
        let end = self.now + limit;
        while !done(self) {
            let states: Vec<Progress> = self.drivers.iter().map(|d| d.progress()).collect();
            assert!(self.now < end, "not within {limit:?}: {states:?}");
            self.step();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.until(time * 2, |hub| hub.now >= end);
    }

    fn events(&mut self, driver: usize) -> Vec<Event> {
        std::iter::from_fn(|| self.drivers[driver].next_event()).collect()
    }
}

fn seed_and_node(image: &Image, folder: &Path, false_seed: bool) -> Hub {
    let mut bytes = image.bytes.clone();
    if false_seed {
        bytes.iter_mut().step_by(1000).for_each(|b| *b ^= 1);
    }
    std::fs::write(folder.join("seed"), bytes).unwrap();
    let seed = driver(1, torrent(image, &folder.join("seed"), Have::All));
    let mut wish = torrent(image, &folder.join("node"), Have::None);
    wish.masters = vec![address(1)];
    Hub::new(vec![seed, driver(2, wish)])
}

#[test]
fn a_node_takes_an_image_over_a_lossy_link_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(3_000_001, 1 << 17);
    let mut hub = seed_and_node(&image, folder.path(), false);
    hub.lost = 5;
    hub.until(Duration::from_secs(60), |hub| hub.drivers[1].is_complete());
    assert!(std::fs::read(folder.path().join("node")).unwrap() == image.bytes);
    assert!(matches!(hub.events(1)[..], [Event::Complete]));
    let peers = hub.drivers[1].peers();
    assert_eq!((peers.len(), peers[0].is_master, peers[0].bytes_in), (1, true, 3_000_001));
}

#[test]
fn garbled_frames_cost_no_more_than_lost_ones() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(1_000_001, 1 << 17);
    let mut hub = seed_and_node(&image, folder.path(), false);
    hub.garbled = 20;
    hub.until(Duration::from_secs(120), |hub| hub.drivers[1].is_complete());
    assert!(std::fs::read(folder.path().join("node")).unwrap() == image.bytes);
}

#[test]
fn noise_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(300_000, 1 << 16);
    let mut hub = seed_and_node(&image, folder.path(), false);
    let mut lots = Rng::new(9);
    let heads = [[8, 0], [8, 6], [0x86, 0xdd]];
    for round in 0..20_000 {
        let mut frame: Vec<u8> = (0..lots.below(120)).map(|_| lots.next_u32() as u8).collect();
        // Most of it gets as far as a header of the right kind would.
        if frame.len() > 40 {
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
            frame[12..14].copy_from_slice(&heads[round % 3]);
            frame[14] = if round % 2 == 0 { 0x45 } else { 0 };
            frame[30..34].copy_from_slice(&address(2).ip().octets());
        }
        hub.drivers[1].device().frames().come.push_back(frame);
        if round % 100 == 0 {
            hub.step();
        }
    }
    hub.until(Duration::from_secs(30), |hub| hub.drivers[1].is_complete());
}

#[test]
fn the_same_seeds_and_losses_give_the_same_moment() {
    let image = image(1_000_000, 1 << 16);
    let run = || {
        let folder = tempfile::tempdir().unwrap();
        let mut hub = seed_and_node(&image, folder.path(), false);
        hub.lost = 20;
        hub.until(Duration::from_secs(60), |hub| hub.drivers[1].is_complete());
        hub.now
    };
    assert_eq!(run(), run());
}

#[test]
fn a_false_source_is_told_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(500_000, 1 << 16);
    let mut hub = seed_and_node(&image, folder.path(), true);
    let mut events = vec![];
    hub.until(Duration::from_secs(5), |hub| {
        events.extend(hub.events(1));
        events.iter().any(|e| matches!(e, Event::Warning("peer refused", _)))
    });
    assert!(events.iter().any(|e| matches!(e, Event::FalsePiece(_))), "{events:?}");
}

#[test]
fn a_file_that_changes_is_withdrawn_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(500_000, 1 << 16);
    let mut hub = seed_and_node(&image, folder.path(), false);
    std::fs::write(folder.path().join("seed"), [0; 1000]).unwrap();
    hub.until(Duration::from_secs(5), |hub| hub.drivers[0].withdrawn);
    let words = hub.events(0).into_iter().find_map(|e| match e {
        Event::Withdrawn(error) => Some(error.to_string()),
        _ => None,
    });
    assert!(words.unwrap().contains("seed: its size changed"));
    hub.pass(LEAVE_TIMEOUT * 3);
    assert_eq!(hub.drivers[0].sockets(), 0);
}

#[test]
fn a_flood_of_strangers_is_bounded_and_goes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(500_000, 1 << 16);
    let mut hub = seed_and_node(&image, folder.path(), false);
    hub.drivers[0].options.max_links = 20;
    hub.strangers.push(Stranger::new(9));
    // The first one brings the neighbour's card.
    let mut dials = vec![hub.strangers[0].dial(1, 2000)];
    hub.pass(Duration::from_millis(10));
    dials.extend((1..100).map(|n| hub.strangers[0].dial(1, 2000 + n)));
    hub.pass(Duration::from_millis(100));
    let up = dials.iter().filter(|d| hub.strangers[0].tcp(**d).may_send()).count();
    assert!((10..=20).contains(&up), "{up} of 100");
    assert!(hub.drivers[0].sockets() <= 20);
    // They say nothing, or nonsense; the node comes in when they are gone.
    hub.strangers[0].tcp(dials[0]).send_slice(b"GET / HTTP/1.1\r\n").unwrap();
    hub.pass(GREET_TIMEOUT + LEAVE_TIMEOUT * 3);
    hub.until(Duration::from_secs(30), |hub| hub.drivers[1].is_complete());
    let left = dials.iter().filter(|d| hub.strangers[0].tcp(**d).may_send()).count();
    assert_eq!(left, 0, "those who never said which torrent are gone");
}

#[test]
fn a_goodbye_is_heard_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(500_000, 1 << 16);
    let mut hub = seed_and_node(&image, folder.path(), false);
    hub.until(Duration::from_secs(5), |hub| hub.drivers[1].progress().bytes_in > 0);
    let now = hub.now;
    hub.drivers[1].stop(now);
    // Well before a timer: each side's end is answered by the other's.
    hub.until(Duration::from_millis(50), |hub| hub.drivers.iter().all(|d| d.is_quiet()));
    assert_eq!(hub.drivers[0].sockets.iter().count(), 1 + LISTENERS, "the tracker's and those that listen");
}

#[test]
fn the_dead_are_given_up_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(500_000, 1 << 16);
    let mut wish = torrent(&image, &folder.path().join("node"), Have::None);
    wish.peers = vec![address(77)];
    let mut hub = Hub::new(vec![driver(2, wish)]);
    hub.pass(Duration::from_millis(10));
    assert_eq!(hub.drivers[0].sockets(), 1);
    hub.until(DIAL_TIMEOUT + Duration::from_millis(100), |hub| {
        hub.drivers[0].links.is_empty() && hub.drivers[0].progress().peers_known == 1
    });
}

#[test]
fn the_tracker_introduces_two_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(500_000, 1 << 16);
    std::fs::write(folder.path().join("seed"), &image.bytes).unwrap();
    let tracker = SocketAddrV4::new(*address(9).ip(), 6969);
    let known = |have, name: &str| Torrent {
        trackers: vec![tracker],
        ..torrent(&image, &folder.path().join(name), have)
    };
    let drivers = vec![driver(1, known(Have::All, "seed")), driver(2, known(Have::None, "node"))];
    let mut hub = Hub::new(drivers);
    let mut host = Stranger::new(9);
    let mut socket = udp::Socket::new(datagrams(), datagrams());
    socket.bind(6969).unwrap();
    let handle = host.sockets.add(socket);
    hub.strangers.push(host);
    let mut peers: Vec<SocketAddrV4> = vec![];
    hub.until(Duration::from_secs(10), |hub| {
        let socket = hub.strangers[0].sockets.get_mut::<udp::Socket<'_>>(handle);
        while let Ok((datagram, meta)) = socket.recv() {
            let smoltcp::wire::IpAddress::Ipv4(from) = meta.endpoint.addr;
            let response = match Request::parse(datagram).unwrap() {
                Request::Connect { transaction } => Response::Connect { transaction, connection: 1 },
                Request::Announce { transaction, announce, .. } => {
                    let at = SocketAddrV4::new(from, announce.port);
                    peers.retain(|p| *p != at);
                    let others = peers.clone();
                    peers.push(at);
                    Response::Announce {
                        transaction,
                        interval_s: 1,
                        leechers: 1,
                        seeders: 1,
                        peers: others,
                        rack: None,
                    }
                }
                Request::Scrape { .. } => panic!("nobody asked for this"),
            };
            let mut bytes = vec![];
            response.emit(&mut bytes);
            socket.send_slice(&bytes, meta.endpoint).unwrap();
        }
        hub.drivers[1].is_complete()
    });
    assert!(std::fs::read(folder.path().join("node")).unwrap() == image.bytes);
}

#[test]
fn an_address_that_no_host_has_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = image(100_000, 1 << 16);
    for (address, length) in [([0, 0, 0, 0], 24), ([224, 0, 0, 1], 24), ([255; 4], 24), ([10, 0, 0, 1], 33)] {
        let wrong = Options { address: address.into(), prefix_length: length, ..options(1) };
        let wish = torrent(&image, &folder.path().join("node"), Have::None);
        let error = Driver::new(Time(0), card(1), wrong, wish).err();
        assert_eq!(error, Some(Error::Address(address.into(), length)));
    }
}
