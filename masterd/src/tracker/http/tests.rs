//! The server on loopback, driven by hand: time is an argument here, too.

use super::*;
use crate::tracker::config::{TrackedTorrent, TrackerConfig};
use crate::tracker::limits::HTTP_EXCHANGE;
use boottorrent_swarm::InfoHash;
use boottorrent_swarm::bencode;
use std::io::{Read, Write};
use std::net::TcpStream;

const HASH: InfoHash = InfoHash(*b"aaaaaaaaaaaaaaaaaaaa");

struct Bench {
    http: Http,
    tracker: Tracker,
    warnings: Warnings,
    at: SocketAddr,
}

fn bench() -> Bench {
    let mut tracker = Tracker::new([1; 32], 1);
    tracker.configure(TrackerConfig {
        seeds: vec!["10.0.0.1:6881".parse().unwrap()],
        torrents: vec![TrackedTorrent { info_hash: HASH.to_string(), name: "x".into() }],
        ..TrackerConfig::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    Bench { http: Http::new(vec![listener]), tracker, warnings: Warnings::default(), at }
}

impl Bench {
    fn connect(&mut self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        stream
    }

    /// Turns until everything that was sent is served: loopback delivers at once, in order.
    fn turn(&mut self, now: Time) {
        self.http.turn(now, &mut self.tracker, &mut self.warnings);
    }

    fn get(&mut self, target: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect();
        write!(stream, "GET {target} HTTP/1.1\r\n\r\n").unwrap();
        self.turn(Time(1));
        finish(stream)
    }

    fn announce(&mut self, rest: &str) -> (String, Vec<u8>) {
        let hash = "a".repeat(20);
        self.get(&format!("/announce?info_hash={hash}&{rest}"))
    }
}

fn finish(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    (head, bytes[end + 4..].to_vec())
}

#[test]
fn peers_are_told_compactly_and_as_a_list() {
    let mut bench = bench();
    let (head, body) = bench.announce("peer_id=bbbbbbbbbbbbbbbbbbbb&port=7000&left=5&compact=1");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Connection: close"), "{head}");
    assert_eq!(body, b"d8:completei1e10:incompletei1e8:intervali10e5:peers6:\x0a\0\0\x01\x1a\xe1e");
    let (_, body) = bench.announce("peer_id=cccccccccccccccccccc&port=7001&left=5&compact=0");
    let value = bencode::parse_canonical(&body).unwrap();
    let dict = value.as_dict().unwrap();
    assert_eq!((dict.uint("incomplete"), dict.list("peers").unwrap().len()), (Some(2), 2));
    let peer = |n: usize| dict.list("peers").unwrap()[n].as_dict().unwrap();
    assert_eq!(
        (peer(0).str("ip"), peer(0).uint("port"), peer(0).bytes("peer id")),
        (Some("10.0.0.1"), Some(6881), None)
    );
    assert_eq!((peer(1).str("ip"), peer(1).uint("port")), (Some("127.0.0.1"), Some(7000)));
    assert_eq!(peer(1).bytes("peer id"), Some(&[b'b'; 20][..]));
    let (_, body) = bench.announce("peer_id=cccccccccccccccccccc&port=7001&left=5&compact=0&no_peer_id=1");
    assert!(!body.windows(7).any(|w| w == b"peer id"));
}

#[test]
fn scrapes_and_failures_are_bencoded() {
    let mut bench = bench();
    bench.announce("peer_id=bbbbbbbbbbbbbbbbbbbb&port=7000&left=0");
    let scraped = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei2e10:downloadedi0e10:incompletei0eeee";
    assert_eq!(bench.get("/scrape").1, scraped);
    assert_eq!(bench.get("/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa").1, scraped);
    assert_eq!(bench.get("/scrape?info_hash=zzzzzzzzzzzzzzzzzzzz").1, b"d5:filesdee");
    let foreign = bench.get("/announce?info_hash=zzzzzzzzzzzzzzzzzzzz&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1");
    assert_eq!(foreign.1, b"d14:failure reason40:this tracker does not serve that torrente");
    let nameless = bench.announce("port=1").1;
    assert_eq!(nameless, b"d14:failure reason38:peer_id is missing or has not 20 bytese");
    assert!(bench.get("/").0.starts_with("HTTP/1.1 404 "));
    assert_eq!(bench.warnings.totals().values().sum::<u64>(), 3, "{:?}", bench.warnings.totals());
}

#[test]
fn a_request_may_come_in_pieces_but_not_for_ever() {
    let mut bench = bench();
    let (mut slow, mut slower) = (bench.connect(), bench.connect());
    slow.write_all(b"GET /scr").unwrap();
    bench.turn(Time(0));
    slow.write_all(b"ape HTTP/1.0\r\n\r\n").unwrap();
    slower.write_all(b"GET /").unwrap();
    bench.turn(Time(1));
    assert!(finish(slow).1.starts_with(b"d5:files"));
    assert_eq!((bench.http.connections.len(), bench.http.due()), (1, Some(Time(0) + HTTP_EXCHANGE)));
    bench.turn(Time(0) + HTTP_EXCHANGE);
    assert_eq!((bench.http.connections.len(), bench.http.due()), (0, None));
    assert_eq!(slower.read(&mut [0; 10]).unwrap_or(0), 0);
}

#[test]
fn floods_are_bounded() {
    let mut bench = bench();
    let mut long = bench.connect();
    long.write_all(b"GET /").unwrap();
    long.write_all(&vec![b'x'; HTTP_REQUEST_BYTES - 5]).unwrap();
    bench.turn(Time(1));
    assert!(finish(long).0.starts_with("HTTP/1.1 431 "));
    let held: Vec<TcpStream> = (0..40).map(|_| bench.connect()).collect();
    bench.turn(Time(1));
    assert_eq!(bench.http.connections.len(), HTTP_CONNECTIONS_OF_ONE_ADDRESS);
    drop(held);
    bench.turn(Time(1));
    assert_eq!(bench.http.connections.len(), 0);
}
