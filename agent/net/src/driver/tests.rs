//! The driver on loopback sockets, each participant at its own 127.x address (bans go by address).

use super::*;
use crate::storage::{Backing, Download, Files, Fingerprint, Layout, Source, Span};
use crate::verify::Verifier;
use boottorrent_swarm::announce::{Request, Response};
use boottorrent_swarm::metainfo::Geometry;
use boottorrent_swarm::wire::{BlockClaim, Handshake, Message};
use sha2::Digest as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;

const HASH: InfoHash = InfoHash([7; 20]);
/// Longer than any of these tests takes on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(60);

/// An image with its list.
struct Image {
    bytes: Vec<u8>,
    geometry: Geometry,
    list: Vec<[u8; 32]>,
}

fn image(length: usize, piece_length: u32) -> Image {
    let mut x = 1u64;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    };
    let bytes: Vec<u8> = (0..length).map(|_| next()).collect();
    let list = bytes.chunks(piece_length as usize).map(|p| sha2::Sha256::digest(p).into()).collect();
    Image { geometry: Geometry::new(piece_length, length as u64).unwrap(), bytes, list }
}

/// An address that no other test uses.
fn address() -> Ipv4Addr {
    static LAST: AtomicU8 = AtomicU8::new(1);
    Ipv4Addr::new(127, 77, (std::process::id() % 250) as u8, LAST.fetch_add(1, Ordering::Relaxed))
}

fn driver() -> (Driver, SocketAddrV4) {
    let at = SocketAddrV4::new(address(), 0);
    let listeners = vec![listen(at).unwrap()];
    let options = Options { listeners, peer_id: random_peer_id(), source: *at.ip(), max_links: MAX_LINKS };
    let driver = Driver::new(options).unwrap();
    let port = driver.listen_port().unwrap();
    (driver, SocketAddrV4::new(*at.ip(), port))
}

fn torrent(content: Content, have: Have) -> Torrent {
    Torrent {
        info_hash: HASH,
        content: Arc::new(content),
        have,
        masters: vec![],
        peers: vec![],
        trackers: vec![],
        own: None,
        near_prefix: 0,
        max_peers: Some(1000),
    }
}

/// Serves `bytes` as if they were the image, until the flag is set; hands its events back.
fn seeder(
    image: &Image,
    path: &Path,
    bytes: &[u8],
) -> (SocketAddrV4, Arc<AtomicBool>, JoinHandle<Vec<Event>>) {
    bounded_seeder(image, path, bytes, None)
}

/// The same, and never faster than so many bytes in a second.
fn bounded_seeder(
    image: &Image,
    path: &Path,
    bytes: &[u8],
    rate: Option<u64>,
) -> (SocketAddrV4, Arc<AtomicBool>, JoinHandle<Vec<Event>>) {
    std::fs::write(path, bytes).unwrap();
    let source = Source { path: path.to_owned(), fingerprint: None };
    let store = Box::new(Files::open(&[source], Layout::plain([bytes.len() as u64])).unwrap());
    let content = Content { geometry: image.geometry, store, verifier: Verifier::Sha256(image.list.clone()) };
    let (mut driver, at) = driver();
    driver.add(torrent(content, Have::All)).unwrap();
    driver.bound_upload(rate);
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let thread = std::thread::spawn(move || {
        let mut events = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            driver.turn(Some(Duration::from_millis(20))).unwrap();
            events.extend(std::iter::from_fn(|| driver.next_event()));
        }
        events
    });
    (at, done, thread)
}

fn empty(image: &Image, path: &Path) -> Content {
    let size = image.geometry.total();
    let store = Download::open(&[Backing { path: path.to_owned(), size }], Layout::plain([size])).unwrap();
    Content {
        geometry: image.geometry,
        store: Box::new(store),
        verifier: Verifier::Sha256(image.list.clone()),
    }
}

/// Runs a node until it has everything and nobody needs it.
fn complete(driver: &mut Driver, id: TorrentId, also: impl Fn() -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    let end = driver.clock.now() + PATIENCE;
    while !(driver.is_complete(id) && also()) {
        assert!(driver.clock.now() < end, "not complete: {:?}", driver.progress(id));
        driver.turn(Some(Duration::from_millis(20))).unwrap();
        events.extend(std::iter::from_fn(|| driver.next_event()));
    }
    events
}

#[test]
fn a_node_lays_an_image_out_with_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(5_000_000, 1 << 18);
    let (seed, stop, thread) = seeder(&image, &dir.path().join("seed"), &image.bytes);
    let backings = [
        Backing { path: dir.path().join("kernel"), size: 1_000_001 },
        Backing { path: dir.path().join("initrd"), size: 4_000_000 + 112 },
    ];
    let kernel = Span { file: 0, offset: 0, length: 1_000_001 };
    let initrd = Span { file: 1, offset: 110, length: 3_999_999 };
    let store = Box::new(Download::open(&backings, Layout::new([kernel, initrd])).unwrap());
    let content = Content { geometry: image.geometry, store, verifier: Verifier::Sha256(image.list.clone()) };
    let (mut node, _) = driver();
    let id = node.add(Torrent { masters: vec![seed], ..torrent(content, Have::None) }).unwrap();
    let events = complete(&mut node, id, || true);
    assert!(matches!(events[..], [Event::Complete(_)]), "{events:?}");
    assert_eq!(std::fs::read(&backings[0].path).unwrap(), image.bytes[..1_000_001]);
    assert_eq!(std::fs::read(&backings[1].path).unwrap()[110..4_000_109], image.bytes[1_000_001..]);
    let peers = node.peers(id);
    assert_eq!((peers.len(), peers[0].is_master, peers[0].bytes_in), (1, true, 5_000_000));
    assert!(matches!(
        node.add(torrent(empty(&image, &dir.path().join("x")), Have::None)),
        Err(Error::Twice(_))
    ));
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn nodes_that_know_the_tracker_only_share() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(8_000_000, 1 << 16);
    let (seed, stop, thread) = seeder(&image, &dir.path().join("seed"), &image.bytes);
    let tracker = UdpSocket::bind((address(), 0)).unwrap();
    tracker.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let SocketAddr::V4(tracker_at) = tracker.local_addr().unwrap() else { panic!() };
    let left = Arc::new(AtomicU8::new(4));
    let nodes: Vec<_> = (0..4)
        .map(|n| {
            let (content, left) = (empty(&image, &dir.path().join(n.to_string())), Arc::clone(&left));
            let (mut node, _) = driver();
            std::thread::spawn(move || {
                let t = Torrent { trackers: vec![tracker_at], ..torrent(content, Have::None) };
                let id = node.add(t).unwrap();
                complete(&mut node, id, || true);
                left.fetch_sub(1, Ordering::Relaxed);
                complete(&mut node, id, || left.load(Ordering::Relaxed) == 0);
                let progress = node.progress(id).unwrap();
                node.stop(Duration::from_secs(1)).unwrap();
                progress
            })
        })
        .collect();
    // The smallest tracker that there can be: everybody is told everybody.
    let mut known = vec![seed];
    let mut datagram = [0; 2048];
    while left.load(Ordering::Relaxed) > 0 {
        let Ok((length, from @ SocketAddr::V4(peer))) = tracker.recv_from(&mut datagram) else { continue };
        let response = match Request::parse(&datagram[..length]).unwrap() {
            Request::Connect { transaction } => Response::Connect { transaction, connection: 1 },
            Request::Announce { transaction, announce, .. } => {
                assert_eq!(announce.info_hash, HASH);
                let peers = known.clone();
                known.push(SocketAddrV4::new(*peer.ip(), announce.port));
                Response::Announce { transaction, interval_s: 1, leechers: 0, seeders: 0, peers, rack: None }
            }
            Request::Scrape { .. } => panic!("nobody asked for this"),
        };
        let mut bytes = Vec::new();
        response.emit(&mut bytes);
        tracker.send_to(&bytes, from).unwrap();
    }
    let progress: Vec<Progress> = nodes.into_iter().map(|n| n.join().unwrap()).collect();
    for n in 0..4 {
        assert_eq!(std::fs::read(dir.path().join(n.to_string())).unwrap(), image.bytes);
    }
    assert!(progress.iter().map(|p| p.bytes_out).sum::<u64>() > 0, "from one another: {progress:?}");
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[test]
fn a_false_source_is_dropped_and_the_rest_comes_from_others() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(3_000_000, 1 << 16);
    let mut false_bytes = image.bytes.clone();
    false_bytes.iter_mut().step_by(1000).for_each(|b| *b ^= 1);
    let (honest, stop, honest_thread) = seeder(&image, &dir.path().join("seed"), &image.bytes);
    let (liar, stop_liar, liar_thread) = seeder(&image, &dir.path().join("liar"), &false_bytes);
    let (mut node, _) = driver();
    let content = empty(&image, &dir.path().join("node"));
    let id = node.add(Torrent { masters: vec![liar], ..torrent(content, Have::None) }).unwrap();
    let mut events = Vec::new();
    while !events.iter().any(|e| matches!(e, Event::FalsePiece(..))) {
        node.turn(Some(Duration::from_millis(20))).unwrap();
        events.extend(std::iter::from_fn(|| node.next_event()));
    }
    let from_liar = |node: &Driver| node.peers(id).iter().find(|p| p.addr == liar).map_or(0, |p| p.bytes_in);
    let taken = from_liar(&node);
    node.tell_peers(id, &[honest]);
    complete(&mut node, id, || true);
    assert_eq!(std::fs::read(dir.path().join("node")).unwrap(), image.bytes);
    assert_eq!(from_liar(&node), taken, "the liar was asked again");
    [stop, stop_liar].iter().for_each(|s| s.store(true, Ordering::Relaxed));
    honest_thread.join().unwrap();
    liar_thread.join().unwrap();
}

#[test]
fn a_source_that_changes_is_withdrawn_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(2_000_000, 1 << 16);
    let path = dir.path().join("seed");
    let (seed, stop, thread) = seeder(&image, &path, &image.bytes);
    let before = Fingerprint::of(&std::fs::metadata(&path).unwrap());
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    assert_ne!(before, Fingerprint::of(&std::fs::metadata(&path).unwrap()));
    let mut peer = greet(seed);
    request(&mut peer, 3);
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 1000, "no byte of it was sent");
    assert_eq!(TcpStream::connect(seed).map(|_| ()).ok(), Some(()), "the seed lives");
    stop.store(true, Ordering::Relaxed);
    let events = thread.join().unwrap();
    let withdrawn = events.iter().find_map(|e| match e {
        Event::Withdrawn(_, error) => Some(error.to_string()),
        _ => None,
    });
    assert!(withdrawn.unwrap().contains("seed: its size changed"));
}

#[test]
fn a_node_whose_address_has_changed_links_anew_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(2_000_000, 1 << 16);
    let (seed, stop, thread) =
        bounded_seeder(&image, &dir.path().join("seed"), &image.bytes, Some(2_000_000));
    let (mut node, at) = driver();
    let content = empty(&image, &dir.path().join("node"));
    let id = node.add(Torrent { masters: vec![seed], ..torrent(content, Have::None) }).unwrap();
    while node.progress(id).unwrap().pieces_done < 5 {
        node.turn(Some(Duration::from_millis(20))).unwrap();
    }
    node.moved(id, *at.ip(), 24);
    assert!(node.links.values().all(|link| link.stage == link::Stage::Dialling), "the old links are gone");
    complete(&mut node, id, || true);
    assert_eq!(std::fs::read(dir.path().join("node")).unwrap(), image.bytes);
    let peers = node.peers(id);
    let from_seed: u64 = peers.iter().map(|peer| peer.bytes_in).sum();
    assert_eq!((peers.len(), from_seed >= 2_000_000), (2, true), "one of them has departed: {peers:?}");
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

/// A peer by hand: handshake sent.
fn greet(at: SocketAddrV4) -> TcpStream {
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut handshake = Handshake::new(HASH, random_peer_id());
    handshake.reserved = [0; 8];
    socket.write_all(&handshake.emit()).unwrap();
    socket
}

fn request(peer: &mut TcpStream, index: u32) {
    let mut out = Vec::new();
    Message::Interested.emit(&mut out);
    Message::Request(BlockClaim { index, offset: 0, length: 16384 }).emit(&mut out);
    peer.write_all(&out).unwrap();
}

fn opened(peer: &mut TcpStream) {
    peer.read_exact(&mut [0; Handshake::LENGTH]).unwrap();
}

/// Reads messages until a block comes.
fn block(peer: &mut TcpStream) -> Vec<u8> {
    loop {
        let mut length = [0; 4];
        peer.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        peer.read_exact(&mut body).unwrap();
        if body.first() == Some(&7) {
            return body.split_off(9);
        }
    }
}

#[test]
fn five_hundred_peers_are_served_side_by_side() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let image = image(128 << 14, 1 << 14);
    let (seed, stop, thread) = seeder(&image, &dir.path().join("seed"), &image.bytes);
    let mut peers: Vec<TcpStream> = (0..500).map(|_| greet(seed)).collect();
    peers.iter_mut().for_each(opened);
    for round in 0..4 {
        let piece = |n: usize| (n as u32 + 31 * round) % image.geometry.pieces();
        peers.iter_mut().enumerate().for_each(|(n, p)| request(p, piece(n)));
        for (n, peer) in peers.iter_mut().enumerate() {
            let at = (piece(n) as usize) << 14;
            assert!(block(peer) == image.bytes[at..at + 16384], "peer {n}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let events = thread.join().unwrap();
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn strangers_cost_a_warning_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(1_000_000, 1 << 15);
    let (seed, stop, thread) = seeder(&image, &dir.path().join("seed"), &image.bytes);
    let closed = |bytes: &[u8]| {
        let mut socket = TcpStream::connect(seed).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // Reset or end: either way it is over.
        let _ = socket.read_to_end(&mut rest);
        assert!(rest.is_empty());
    };
    closed(&[0x16]);
    closed(b"\x13BitTorrent protocoX");
    closed(&Handshake::new(InfoHash([8; 20]), random_peer_id()).emit());
    let far_piece = [0, 0, 0, 10, 7, 0, 0, 99, 0, 0, 0, 0, 0, 1];
    for bytes in [&[0xff, 0xff, 0xff, 0xff, 0][..], &far_piece] {
        let mut hostile = greet(seed);
        hostile.write_all(bytes).unwrap();
        let _ = hostile.read_to_end(&mut Vec::new());
    }
    let mut good = greet(seed);
    opened(&mut good);
    request(&mut good, 0);
    assert!(block(&mut good) == image.bytes[..16384]);
    stop.store(true, Ordering::Relaxed);
    let events = thread.join().unwrap();
    let warnings =
        events.iter().filter_map(|e| if let Event::Warning(k, why) = e { Some((*k, why)) } else { None });
    let (kinds, reasons): (Vec<&str>, Vec<&String>) = warnings.unzip();
    assert_eq!(
        kinds,
        ["peer for an unknown torrent", "malformed peer message", "peer refused"],
        "{events:?}"
    );
    assert!(reasons[2].ends_with("a block outside the torrent"), "{}", reasons[2]);
}

#[test]
fn a_bounded_upload_reaches_its_rate_and_never_more_whoever_asks() {
    const RATE: u64 = 2_500_000;
    let dir = tempfile::tempdir().unwrap();
    let image = image(5_000_000, 1 << 18);
    let (seed, stop, thread) = bounded_seeder(&image, &dir.path().join("seed"), &image.bytes, Some(RATE));
    // Two that do not know each other: everything that either gets comes from the bounded one.
    let nodes = ["a", "b"].map(|name| {
        let (mut node, _) = driver();
        let content = empty(&image, &dir.path().join(name));
        let id = node.add(Torrent { masters: vec![seed], ..torrent(content, Have::None) }).unwrap();
        std::thread::spawn(move || {
            let clock = node.clock;
            let begun = clock.now();
            complete(&mut node, id, || true);
            (clock.now().since(begun), node.peers(id).iter().map(|peer| peer.bytes_in).sum::<u64>())
        })
    });
    let ends = nodes.map(|node| node.join().unwrap());
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let (took, bytes) = (ends[0].0.max(ends[1].0), ends[0].1 + ends[1].1);
    let share = bytes as f64 / took.as_secs_f64() / RATE as f64;
    assert!((0.8..=1.05).contains(&share), "{bytes} bytes in {took:?}: {share:.3} of the bound");
}
