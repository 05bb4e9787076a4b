//! Peers that mean harm, on real sockets: each costs its own link and nothing else. Beside them an honest download goes on,
//! and neither the seed nor the client grows. What the core does with them is in its own tests and in tests/fuzz.

use crate::interop_swarm::{
    Folder, Running, address, assert_same, finish, image, our_fetch, our_seed, place, stats,
};
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::torrent::Torrent;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

/// The seed ends a link that has not said which torrent it wants after 5 s; the rest is for a busy machine.
const GREETING: Duration = Duration::from_secs(20);
/// What all liars together may cost the seed: buffers of their links, and the allocator's rest.
const GROWTH: u64 = 24 << 20;
/// Links that one machine holds: above the 1200 that the seed's driver takes at all.
const FLOOD: usize = 1500;

const CHOICES: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 4];

/// A peer that writes what it likes.
struct Liar(TcpStream);

impl Liar {
    fn dial(to: SocketAddrV4) -> Liar {
        let socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(GREETING)).unwrap();
        Liar(socket)
    }

    fn dial_from(from: Ipv4Addr, to: SocketAddrV4) -> Liar {
        let (domain, kind) = (AddressFamily::Inet, SockType::Stream);
        let socket = socket(domain, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0))).unwrap();
        connect(socket.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
        Liar(TcpStream::from(socket))
    }

    /// Dials and shakes hands, as somebody else each time.
    fn linked(to: SocketAddrV4, torrent: &Torrent, id: u32) -> Liar {
        let mut liar = Liar::dial(to);
        liar.say(&handshake(torrent, id));
        liar
    }

    /// What cannot be written any more was written to a link that is closed.
    fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    fn message(&mut self, id: u8, body: &[u8]) -> bool {
        self.say(&frame(id, body))
    }

    /// Reads until the other side closes; false if it does not.
    fn is_dropped(&mut self) -> bool {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => return !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    /// Goes without a word to TCP: the other side gets a reset.
    fn reset(self) {
        let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&self.0, sockopt::Linger, &now).unwrap();
    }
}

fn frame(id: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[id], body].concat()
}

fn handshake(torrent: &Torrent, id: u32) -> Vec<u8> {
    let hash = &torrent.info_hash;
    let hash = (0..20).map(|n| u8::from_str_radix(&hash[2 * n..2 * n + 2], 16).unwrap());
    let mut out = b"\x13BitTorrent protocol".to_vec();
    out.extend_from_slice(&CHOICES);
    out.extend(hash);
    out.extend_from_slice(format!("-XX0000-{id:012}").as_bytes());
    out
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

/// Resident bytes of a program.
fn resident(program: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.0.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The seed, once it listens.
fn serving(torrent: &Torrent) -> (Running, SocketAddrV4) {
    let at = place();
    let seed = our_seed(torrent, at);
    wait_for("the seed to listen", GREETING, || TcpStream::connect(at).map_err(|e| e.to_string())).unwrap();
    (seed, at)
}

fn download(dir: &Folder, torrent: &Torrent, name: &str, peers: &[SocketAddrV4]) -> serde_json::Value {
    let got = dir.path().join(name);
    let mut command = our_fetch(torrent, &got);
    for peer in peers {
        command.args(["--peer", &peer.to_string()]);
    }
    finish(&mut command);
    assert_same(torrent, got.join("image"));
    stats(&got)
}

/// One of each kind of lie that can be told in a message, by its name.
fn lies(torrent: &Torrent, seed: SocketAddrV4) -> Vec<(&'static str, Liar)> {
    let mut id = 0;
    let mut lie = |name, messages: &[(u8, Vec<u8>)]| {
        id += 1;
        let mut liar = Liar::linked(seed, torrent, id);
        for (id, body) in messages {
            liar.message(*id, body);
        }
        (name, liar)
    };
    let mut lies = vec![
        lie("a bitfield that is too short", &[(5, vec![0xff; 9])]),
        lie("a bitfield that is too long", &[(5, vec![0xff; 4000])]),
        lie("a piece that does not exist", &[(4, numbers(&[80]))]),
        lie("a request outside the torrent", &[(15, vec![]), (6, numbers(&[80, 0, 16384]))]),
        lie("a request across the end of a piece", &[(15, vec![]), (6, numbers(&[0, 262_143, 16384]))]),
        lie("a request of 4 GB", &[(15, vec![]), (6, numbers(&[0, 0, u32::MAX]))]),
        lie(
            "a block that nobody asked for",
            &[(15, vec![]), (7, [&numbers(&[0, 0])[..], &[7; 16384]].concat())],
        ),
        lie("have-all twice", &[(14, vec![]), (14, vec![])]),
        lie("an extended handshake that is none", &[(20, b"\0d1:mi".to_vec())]),
        lie("a message of a wrong length", &[(1, vec![0; 3])]),
    ];
    id = 100;
    for (name, bytes) in [
        ("a message of 4 GB", &[0xff_u8, 0xff, 0xff, 0xff, 20, 0][..]),
        ("a message of 65 KiB", &[0, 1, 4, 0, 99]),
        ("a second handshake", b"\x13BitTorrent protocol"),
    ] {
        id += 1;
        let mut liar = Liar::linked(seed, torrent, id);
        liar.say(bytes);
        lies.push((name, liar));
    }
    let mut stranger = Liar::dial(seed);
    stranger.say(b"GET / HTTP/1.1\r\n\r\n");
    lies.push(("another protocol", stranger));
    lies
}

#[test]
fn a_lie_costs_its_link() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let (_seed, at) = serving(&torrent);
    for (name, mut liar) in lies(&torrent, at) {
        assert!(liar.is_dropped(), "{name} was taken");
    }
    download(&dir, &torrent, "got", &[at]);
}

#[test]
fn floods_and_slow_strangers_do_not_grow_the_seed() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let (seed, at) = serving(&torrent);
    download(&dir, &torrent, "before", &[at]);
    let before = resident(&seed);
    // They ask for everything again and again, and never read.
    let requests: Vec<u8> =
        (0..80 * 16).flat_map(|n| frame(6, &numbers(&[n / 16, n % 16 * 16384, 16384]))).collect();
    let mut askers: Vec<Liar> = (200..220).map(|id| Liar::linked(at, &torrent, id)).collect();
    for asker in &mut askers {
        asker.message(15, &[]);
        asker.message(2, &[]);
        asker.0.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        while asker.say(&requests) {}
    }
    // They change their mind about what they have, for ever.
    let doubts: Vec<u8> = (0..80)
        .flat_map(|n| [frame(4, &numbers(&[n])), frame(20, &[&[7][..], &numbers(&[n])].concat())])
        .flatten()
        .collect();
    let mut doubters: Vec<Liar> = (300..310).map(|id| Liar::linked(at, &torrent, id)).collect();
    for _ in 0..200 {
        for doubter in &mut doubters {
            doubter.say(&doubts);
        }
    }
    // They begin to say hello, and go away with a reset, or stay.
    let hello = handshake(&torrent, 1);
    let mut slow: Vec<Liar> = (0..50).map(|_| Liar::dial(at)).collect();
    for (n, liar) in slow.iter_mut().enumerate() {
        liar.say(&hello[..n]);
    }
    for id in 400..600 {
        let mut liar = Liar::linked(at, &torrent, id);
        liar.message(6, &numbers(&[0, 0, 16384]));
        liar.reset();
    }
    let stats = download(&dir, &torrent, "beside", &[at]);
    assert_eq!(stats["bytes_from_named_peers"], torrent.bytes);
    let grown = resident(&seed).saturating_sub(before);
    assert!(grown < GROWTH, "the seed has grown by {grown} bytes");
    assert!(slow.iter_mut().all(Liar::is_dropped), "half a handshake is waited for");
}

#[test]
fn a_flood_of_connections_does_not_keep_others_out() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(4 * FLOOD as u64).min(hard), hard).unwrap();
    let dir = Folder::new();
    let torrent = image(dir.path());
    let (seed, at) = serving(&torrent);
    let before = resident(&seed);
    // From three addresses, each under a name of its own, so that no time takes them away.
    let from = [(); 3].map(|()| address());
    let mut flood: Vec<Liar> =
        from.iter().cycle().take(FLOOD).map(|from| Liar::dial_from(*from, at)).collect();
    for (id, liar) in (1000..).zip(flood.iter_mut()) {
        liar.say(&handshake(&torrent, id));
    }
    let stats = download(&dir, &torrent, "got", &[at]);
    assert!(stats["seconds"].as_f64().unwrap() < 4.0, "it had to wait for the flood to ebb: {stats}");
    let grown = resident(&seed).saturating_sub(before);
    assert!(grown < GROWTH, "the seed has grown by {grown} bytes");
    drop(flood);
}

/// What a false seeder does with each request.
#[derive(Clone, Copy, Debug)]
enum Service {
    Silent,
    Never,
    Rejects,
    FalseBytes,
    HalfABlock,
    Chokes,
    /// A byte of each block now and then.
    Trickles,
    /// Half a block, and an end that TCP calls a reset.
    Resets,
}

/// Seeds in its own way for as long as the test runs; every link gets the same treatment.
fn false_seeder(torrent: &Torrent, service: Service) -> SocketAddrV4 {
    let at = SocketAddrV4::new(address(), 6881);
    let listener = TcpListener::bind(at).unwrap();
    let hello = handshake(torrent, at.ip().octets()[3].into());
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let hello = hello.clone();
            std::thread::spawn(move || drop(treat(socket, &hello, service)));
        }
    });
    at
}

#[expect(clippy::disallowed_methods, reason = "to be slow is what one of them does")]
fn treat(mut socket: TcpStream, hello: &[u8], service: Service) -> std::io::Result<()> {
    let mut theirs = [0; 68];
    socket.read_exact(&mut theirs)?;
    if matches!(service, Service::Silent) {
        return socket.read_to_end(&mut Vec::new()).map(drop);
    }
    socket.write_all(hello)?;
    socket.write_all(&[frame(14, &[]), frame(1, &[])].concat())?;
    loop {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut message)?;
        let [6, claim @ ..] = &message[..] else { continue };
        let block = [&claim[..8], &[7; 16384]].concat();
        match service {
            Service::Silent | Service::Never => {}
            Service::Rejects => socket.write_all(&frame(16, claim))?,
            Service::FalseBytes => socket.write_all(&frame(7, &block))?,
            Service::HalfABlock => {
                socket.write_all(&frame(7, &block)[..8000])?;
                return socket.read_to_end(&mut Vec::new()).map(drop);
            }
            Service::Trickles => {
                for byte in frame(7, &block) {
                    socket.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Service::Resets => {
                socket.write_all(&frame(7, &block)[..8000])?;
                Liar(socket).reset();
                return Ok(());
            }
            Service::Chokes => {
                socket.write_all(&frame(0, &[]))?;
                socket.write_all(&frame(7, &block)[..13])?;
            }
        }
    }
}

#[test]
fn false_seeders_neither_stop_nor_spoil_a_download() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let (_seed, honest) = serving(&torrent);
    let kinds = [
        Service::Silent,
        Service::Never,
        Service::Rejects,
        Service::FalseBytes,
        Service::HalfABlock,
        Service::Chokes,
        Service::Trickles,
        Service::Resets,
    ];
    let mut peers: Vec<SocketAddrV4> = kinds.iter().map(|kind| false_seeder(&torrent, *kind)).collect();
    peers.push(SocketAddrV4::new(address(), 6881)); // nobody listens there
    peers.push(honest);
    let stats = download(&dir, &torrent, "got", &peers);
    assert!(stats["seconds"].as_f64().unwrap() < 10.0, "stalls are found within a second: {stats}");
    assert!(stats["memory_anonymous_peak_bytes"].as_u64().unwrap() < GROWTH, "{stats}");
    let liar = peers[3].to_string();
    let of_liar = stats["peers"].as_array().unwrap().iter().find(|p| p["address"] == liar.as_str());
    let taken = of_liar.map_or(0, |p| p["bytes_in"].as_u64().unwrap());
    // Four pieces at most are under way to one that has proved nothing, and its first verdict ends it; where others had a
    // part in that piece, the next.
    assert!(taken <= torrent.bytes / 10, "{taken} false bytes were taken: {stats}");
}
