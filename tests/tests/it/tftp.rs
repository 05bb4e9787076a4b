//! The TFTP server as its clients see it: real ones, one that plays by the rules and one that does not.
//! The daemon runs in the foreground on loopback; nothing but packets, files and its log is looked at.

use boottorrent_tests::clock::wait_for;
use boottorrent_tests::lab::Lab;
use boottorrent_tests::process::{Launch, Process, run};
use boottorrent_tests::programs;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
/// Blocks of 1468 bytes fill it exactly, so that an empty one must follow; it is no multiple of 512.
const IMAGE_BYTES: usize = 1468 * 1500;

struct Tftp {
    server: Process,
    address: SocketAddr,
    lab: Lab,
}

/// Bytes without a pattern that a block size could hide.
fn noise(bytes: usize, mut seed: u32) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

impl Tftp {
    fn serving() -> Self {
        let lab = Lab::new().unwrap();
        for generation in ["1", "2"] {
            let boot = lab.path(&format!("store/generations/{generation}/tftp/boot"));
            fs::create_dir_all(&boot).unwrap();
            fs::write(boot.join("generation"), generation.repeat(1024)).unwrap();
            fs::write(boot.parent().unwrap().parent().unwrap().join("tftp.toml"), "").unwrap();
        }
        symlink("generations/1", lab.path("store/current")).unwrap();
        fs::create_dir_all(lab.path("run")).unwrap();
        let boot = lab.path("store/current/tftp/boot");
        fs::write(boot.join("image"), noise(IMAGE_BYTES, 7)).unwrap();
        fs::write(boot.join("small"), noise(8 * 70_000, 8)).unwrap();
        fs::write(boot.join("text"), "one\ntwo\r\nthree\rfour\n\n".repeat(500)).unwrap();
        symlink("/etc/passwd", boot.join("out")).unwrap();
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let argv = [
            programs::path("boottorrent-tftp").display().to_string(),
            "--store".into(),
            lab.path("store").display().to_string(),
            "--run".into(),
            lab.path("run").display().to_string(),
            "--listen".into(),
            address.to_string(),
        ];
        let mut server = Launch::new(&argv, lab.path("tftp.log")).start().unwrap();
        server.expect("serves", SOON).unwrap();
        Self { server, address, lab }
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.lab.path("store/current/tftp").join(name)).unwrap()
    }

    fn state(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.lab.path("run/tftp.json")).unwrap()).unwrap()
    }

    /// What `curl` fetches, `out` being the name of its copy.
    fn curl(&self, name: &str, block_size: u32, out: &str) -> Vec<String> {
        let url = format!("tftp://{}/{name}", self.address);
        let out = self.lab.path(out).display().to_string();
        let argv = ["curl", "-sS", "--tftp-blksize", &block_size.to_string(), "-o", &out, &url];
        argv.map(str::to_owned).to_vec()
    }

    fn atftp(&self, name: &str, window: u32, out: &str) -> Vec<String> {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let out = self.lab.path(out).display().to_string();
        let window = format!("windowsize {window}");
        let options = ["--option", "blksize 1468", "--option", &window];
        let argv = ["atftp", "-g", "-r", name, "-l", &out, &host, &port];
        [&argv[..1], &options, &argv[1..]].concat().into_iter().map(str::to_owned).collect()
    }

    fn hpa(&self, name: &str, mode: &str, out: &str) -> Vec<String> {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let out = self.lab.path(out).display().to_string();
        ["tftp", &host, &port, "-m", mode, "-c", "get", name, &out].map(str::to_owned).to_vec()
    }

    fn fetched(&self, argv: &[String], out: &str) -> Vec<u8> {
        run(&argv.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        fs::read(self.lab.path(out)).unwrap()
    }

    /// A client of the test's own.
    fn client(&self) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Client { socket, server: self.address }
    }
}

struct Client {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Client {
    fn ask(&self, name: &str, options: &str) {
        let request = format!("\0\x01{name}\0octet\0{options}");
        self.socket.send_to(request.as_bytes(), self.server).unwrap();
    }

    /// The next packet: opcode, number, the rest, and whom it is from.
    fn hear(&self) -> (u16, u16, Vec<u8>, SocketAddr) {
        let mut packet = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut packet).unwrap();
        let number = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
        (number(0), number(2), packet[4..length].to_vec(), from)
    }

    fn acknowledge(&self, block: u16, to: SocketAddr) {
        self.socket.send_to(&[[0, 4], block.to_be_bytes()].concat(), to).unwrap();
    }
}

#[test]
fn real_clients_fetch_identical_files() {
    let tftp = Tftp::serving();
    let image = tftp.file("boot/image");
    for block_size in [512, 1428, 1468, 65464] {
        assert!(tftp.fetched(&tftp.curl("boot/image", block_size, "a"), "a") == image, "curl {block_size}");
    }
    for window in [1, 8, 16, 64] {
        assert!(tftp.fetched(&tftp.atftp("boot/image", window, "b"), "b") == image, "atftp {window}");
    }
    assert!(tftp.fetched(&tftp.hpa("/boot/image", "binary", "c"), "c") == image, "tftp-hpa");
    assert!(tftp.fetched(&tftp.hpa("\\boot\\image", "binary", "d"), "d") == image, "backslashes");
    assert!(tftp.fetched(&tftp.hpa("boot/text", "ascii", "e"), "e") == tftp.file("boot/text"), "netascii");
    // 70,000 blocks: their numbers roll over.
    assert!(tftp.fetched(&tftp.curl("boot/small", 8, "f"), "f") == tftp.file("boot/small"), "roll-over");
    wait_for("the transfers in the state file", SOON, || {
        let state = tftp.state();
        if state["completed"] == 12 && state["failed"] == 0 { Ok(()) } else { Err(state.to_string()) }
    })
    .unwrap();
    let log = tftp.server.log();
    assert!(log.contains("boot/image: 2202000 bytes") && log.contains("blksize 1468, windowsize 8"), "{log}");
}

#[test]
fn many_transfers_at_once() {
    let tftp = Tftp::serving();
    let started: Vec<(PathBuf, Process)> = (0..60)
        .map(|n| {
            let out = format!("copy{n}");
            let argv = match n % 3 {
                0 => tftp.curl("boot/image", 1468, &out),
                1 => tftp.atftp("boot/image", 8, &out),
                _ => tftp.hpa("boot/image", "binary", &out),
            };
            let log = tftp.lab.path(&format!("client{n}.log"));
            (tftp.lab.path(&out), Launch::new(&argv, log).start().unwrap())
        })
        .collect();
    let image = tftp.file("boot/image");
    for (copy, mut client) in started {
        let status = client.wait(Duration::from_secs(60)).unwrap();
        assert!(status.success() && fs::read(copy).unwrap() == image, "{}", client.log());
    }
}

#[test]
fn a_new_generation_is_seen_and_transfers_from_the_old_one_go_on() {
    let tftp = Tftp::serving();
    let old = tftp.client();
    old.ask("boot/generation", "");
    let (3, 1, data, from) = old.hear() else { panic!("no first block") };
    assert_eq!(data, [b'1'; 512]);
    symlink("generations/2", tftp.lab.path("store/next")).unwrap();
    fs::rename(tftp.lab.path("store/next"), tftp.lab.path("store/current")).unwrap();
    fs::remove_dir_all(tftp.lab.path("store/generations/1")).unwrap();
    let new = tftp.client();
    new.ask("boot/generation", "");
    assert_eq!(new.hear().2, [b'2'; 512]);
    old.acknowledge(1, from);
    let (3, 2, data, _) = old.hear() else { panic!("no second block") };
    assert_eq!(data, [b'1'; 512]);
}

#[test]
fn losses_are_repaired_and_duplicates_are_not_answered() {
    let tftp = Tftp::serving();
    let client = tftp.client();
    client.ask("boot/image", "");
    let (3, 1, first, from) = client.hear() else { panic!("no first block") };
    assert_ne!(from.port(), tftp.address.port(), "a transfer has a port of its own");
    // Our acknowledgement is lost: the block comes again.
    assert_eq!(client.hear().2, first);
    client.acknowledge(1, from);
    client.acknowledge(1, from);
    client.acknowledge(0, from);
    let (3, 2, ..) = client.hear() else { panic!("no second block") };
    client.acknowledge(2, from);
    let (3, 3, ..) = client.hear() else {
        panic!("block 2 again, or block 3 twice: the Sorcerer's Apprentice")
    };
    // A stranger at the transfer's port is told so; the transfer goes on.
    let stranger = tftp.client();
    stranger.acknowledge(3, from);
    let (5, 5, ..) = stranger.hear() else { panic!("a stranger was served") };
    // Its own options end a request, never the server.
    for (options, code) in [("blksize\x001\0", 8), ("windowsize\x000\0", 8), ("timeout\0x\0", 8)] {
        let client = tftp.client();
        client.ask("boot/image", options);
        assert_eq!((client.hear().0, code), (5, 8), "{options}");
    }
    client.acknowledge(3, from);
    let (3, 4, ..) = client.hear() else { panic!("no fourth block") };
}

#[test]
fn what_may_not_be_read_is_refused_in_words() {
    let tftp = Tftp::serving();
    for (name, code) in [
        ("none", 1),
        ("boot", 1),
        ("../tftp.toml", 2),
        ("boot/../../tftp.toml", 2),
        ("boot/out", 2),
        ("..\\x", 2),
    ] {
        let client = tftp.client();
        client.ask(name, "");
        let (5, answered, text, _) = client.hear() else { panic!("{name} was served") };
        assert_eq!(answered, code, "{name}: {}", String::from_utf8_lossy(&text));
    }
    let client = tftp.client();
    client.socket.send_to(b"\0\x02up\0octet\0", tftp.address).unwrap();
    let (5, 2, ..) = client.hear() else { panic!("a write was not refused") };
    client.socket.send_to(b"\0\x01boot/image\0mail\0", tftp.address).unwrap();
    let (5, 4, ..) = client.hear() else { panic!("mode mail was not refused") };
}

#[test]
fn malformed_packets_cost_a_counted_warning_and_nothing_else() {
    let tftp = Tftp::serving();
    let sender = tftp.client();
    let seeds: [&[u8]; 4] = [
        b"\0\x01boot/none\0octet\0blksize\x001432\0tsize\x000\0",
        b"\0\x02a\0octet\0",
        b"\0\x04\0\x01",
        b"\0\x05\0\0x\0",
    ];
    let mut dice = noise(100_000, 9).into_iter();
    let mut roll = move || usize::from(dice.next().unwrap());
    for n in 0..2000 {
        let mut packet = seeds[n % seeds.len()].to_vec();
        for _ in 0..roll() % 4 {
            let at = roll() % packet.len();
            packet[at] = roll() as u8;
        }
        packet.truncate(roll() % (packet.len() + 1));
        sender.socket.send_to(&packet, tftp.address).unwrap();
    }
    sender.socket.send_to(&[b'x'; 60_000], tftp.address).unwrap();
    assert!(tftp.fetched(&tftp.curl("boot/image", 1468, "after"), "after") == tftp.file("boot/image"));
    wait_for("the malformed packets in the state file", SOON, || {
        let state = tftp.state();
        let count = state["warnings"]["malformed packet"].as_u64().unwrap_or(0);
        if count > 100 { Ok(()) } else { Err(state.to_string()) }
    })
    .unwrap();
    assert!(tftp.server.log().lines().count() < 60, "{}", tftp.server.log());
}
