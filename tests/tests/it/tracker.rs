//! The tracker as its clients see it: datagrams of the test's own, and two libtorrent sessions or aria2s that know
//! nothing of one another but what it tells them, over UDP and HTTP. And no tracker at all.

use boottorrent_tests::clock::wait_for;
use boottorrent_tests::lab::Lab;
use boottorrent_tests::process::{Launch, Process};
use boottorrent_tests::programs;
use boottorrent_tests::torrent;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Of `TORRENT` below, as libtorrent reckons it; the test's own client uses it, too.
const SWARM: &str = r#"
import sys, time, hashlib
import libtorrent as lt
tracker, folder, out = sys.argv[1:4]
data = bytes(i * 7 % 251 for i in range(300000))
piece = 65536
info = {b"name": b"image", b"piece length": piece, b"length": len(data),
        b"pieces": b"".join(hashlib.sha1(data[i:i + piece]).digest() for i in range(0, len(data), piece))}
ti = lt.torrent_info({b"info": info, b"announce": tracker.encode()})
if out == "hash":
    print(ti.info_hash()); sys.exit()
settings = {"listen_interfaces": "0.0.0.0:6881", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
            "enable_natpmp": False, "enable_outgoing_utp": False, "enable_incoming_utp": False}
session = lt.session(settings)
if out == "seed":
    open(folder + "/image", "wb").write(data)
handle = session.add_torrent({"ti": ti, "save_path": folder})
end = time.time() + 60
while time.time() < end:
    if out != "seed" and handle.status().is_seeding:
        print("COMPLETE", open(folder + "/image", "rb").read() == data, flush=True)
        break
    time.sleep(0.1)
"#;

/// Each start has a log of its own, so that its readiness is not read off an earlier one's.
fn start(lab: &Lab, log: &str, netns: Option<&str>, listen: &str, info_hash: &str) -> Process {
    let config = format!(
        "interval-seconds = 10\nseeds = [\"10.9.9.9:6881\"]\n\
         [[torrents]]\ninfo-hash = \"{info_hash}\"\nname = \"image\"\n"
    );
    let mut tracker = daemon(lab, "tracker", log, netns, listen, &config);
    tracker.expect("serves 1 torrents", SOON).unwrap();
    tracker
}

fn daemon(lab: &Lab, name: &str, log: &str, netns: Option<&str>, listen: &str, config: &str) -> Process {
    fs::create_dir_all(lab.path("run")).unwrap();
    fs::create_dir_all(lab.path("store/current")).unwrap();
    fs::write(lab.path(&format!("store/current/{name}.toml")), config).unwrap();
    let argv = [
        programs::path(&format!("boottorrent-{name}")).display().to_string(),
        "--store".into(),
        lab.path("store").display().to_string(),
        "--run".into(),
        lab.path("run").display().to_string(),
        "--listen".into(),
        listen.into(),
    ];
    let mut launch = Launch::new(&argv, lab.path(log));
    if let Some(netns) = netns {
        launch = launch.netns(netns);
    }
    launch.start().unwrap()
}

/// BEP 15 by hand: an announce's 98 bytes.
fn announce(connection: [u8; 8], mac: &str, left: u64) -> Vec<u8> {
    let numbers = |n: &[u32]| n.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    [
        &connection[..],
        &numbers(&[1, 77]),
        &[0xaa; 20],
        format!("-BT0100-{mac}").as_bytes(),
        &0_u64.to_be_bytes(),
        &left.to_be_bytes(),
        &0_u64.to_be_bytes(),
        &numbers(&[2, 0, 0, u32::MAX]),
        &6881_u16.to_be_bytes(),
    ]
    .concat()
}

struct Client {
    socket: UdpSocket,
    tracker: SocketAddr,
}

impl Client {
    fn ask(&self, datagram: &[u8]) -> Vec<u8> {
        self.socket.send_to(datagram, self.tracker).unwrap();
        let mut answer = [0; 2048];
        let length = self.socket.recv(&mut answer).unwrap();
        answer[..length].to_vec()
    }

    fn connect(&self) -> [u8; 8] {
        let answer = self.ask(&[&0x0417_2710_1980_u64.to_be_bytes()[..], &[0; 4], &[0, 0, 0, 5]].concat());
        assert_eq!((answer.len(), &answer[..8]), (16, &[0, 0, 0, 0, 0, 0, 0, 5][..]));
        answer[8..].try_into().unwrap()
    }
}

#[test]
fn nodes_are_told_of_one_another_and_malformed_packets_are_counted() {
    let lab = Lab::new().unwrap();
    let tracker = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut daemon = start(&lab, "first.log", None, &tracker.to_string(), &"aa".repeat(20));
    let client = |address: &str| {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Client { socket, tracker }
    };
    let (one, two) = (client("127.0.0.2"), client("127.0.0.3"));
    let connection = one.connect();
    let head = |leechers: u8| {
        [&[0, 0, 0, 1, 0, 0, 0, 77, 0, 0, 0, 10, 0, 0, 0, leechers][..], &[0, 0, 0, 1]].concat()
    };
    let seed = [10, 9, 9, 9, 0x1a, 0xe1];
    assert_eq!(one.ask(&announce(connection, "525400000001", 9)), [&head(1)[..], &seed].concat());
    let told = two.ask(&announce(two.connect(), "525400000002", 9));
    assert_eq!(told, [&head(2)[..], &seed, &[127, 0, 0, 2, 0x1a, 0xe1]].concat());
    // Another's connection id is refused, and remembered for nobody.
    assert_eq!(two.ask(&announce(connection, "525400000002", 9))[..4], [0, 0, 0, 3]);
    for length in 0..98 {
        two.socket.send_to(&announce(connection, "525400000002", 9)[..length], tracker).unwrap();
    }
    let state = || fs::read_to_string(lab.path("run/tracker.json")).map_err(|e| e.to_string());
    wait_for("both nodes and the malformed packets in the state file", SOON, || {
        let state = state()?;
        let value: serde_json::Value = serde_json::from_str(&state).map_err(|e| e.to_string())?;
        let macs: Vec<_> =
            value["torrents"][0]["peers"].as_array().into_iter().flatten().map(|p| &p["mac"]).collect();
        let counted = value["warnings"]["malformed packet"] == 98;
        if counted && macs == ["52:54:00:00:00:01", "52:54:00:00:00:02"] { Ok(()) } else { Err(state) }
    })
    .unwrap();
    // A restart of the service costs no node its connection id.
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait(SOON).unwrap();
    let _daemon = start(&lab, "second.log", None, &tracker.to_string(), &"aa".repeat(20));
    assert_eq!(one.ask(&announce(connection, "525400000001", 9))[..4], [0, 0, 0, 1]);
}

/// A DHCPREQUEST that renews `address`, as a relay passes it on from one of its ports.
fn relayed(mac: [u8; 6], address: [u8; 4], relay: [u8; 4], port: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 240];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[12..16].copy_from_slice(&address);
    message[24..28].copy_from_slice(&relay);
    message[28..34].copy_from_slice(&mac);
    message[236..].copy_from_slice(&[99, 130, 83, 99]);
    message.extend([53, 1, 3, 82, 2 + port.len() as u8, 1, port.len() as u8]);
    message.extend(port);
    message.push(255);
    message
}

/// What only the DHCP server sees reaches the tracker: the port of the switch, by option 82.
#[test]
fn racks_are_told_apart_by_the_port_that_a_relay_names() {
    let lab = Lab::new().unwrap();
    let [dhcp_at, tracker_at] =
        [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let config = "site = \"lab\"\nserver = \"127.0.0.1\"\ninterface = \"lo\"\nlease_seconds = 600\n\
                  [[subnet]]\nnetwork = \"127.0.0.0/24\"\nranges = [\"127.0.0.2-127.0.0.99\"]\n";
    let mut dhcp = daemon(&lab, "dhcp", "dhcp.log", None, &dhcp_at.to_string(), config);
    dhcp.expect("serves 127.0.0.0/24", SOON).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (n, port) in [(2, b"ge-0/0/1"), (3, b"ge-0/0/2"), (4, b"ge-0/0/1")] {
        let request = relayed([0x52, 0x54, 0, 0, 0, n], [127, 0, 0, n], [127, 0, 0, 200], port);
        socket.send_to(&request, dhcp_at).unwrap();
    }
    let config = "[[named-racks]]\nname = \"left\"\nrelays = [\"127.0.0.200\"]\n\
                  circuit-ids = [\"67652d302f302f31\"]\n\
                  [[named-racks]]\nname = \"right\"\nrelays = [\"127.0.0.200\"]\n";
    let config = format!("{config}[[torrents]]\ninfo-hash = \"{}\"\nname = \"image\"\n", "aa".repeat(20));
    wait_for("three leases in the state file", SOON, || {
        let state = fs::read_to_string(lab.path("run/dhcp.json")).map_err(|e| e.to_string())?;
        if state.matches("circuit-id").count() == 3 { Ok(()) } else { Err(state) }
    })
    .unwrap();
    let mut tracker = daemon(&lab, "tracker", "tracker.log", None, &tracker_at.to_string(), &config);
    tracker.expect("serves 1 torrents", SOON).unwrap();
    let told = [Some(0), Some(1), Some(0), None];
    for (n, rack) in (2..=5).zip(told) {
        let socket = UdpSocket::bind((format!("127.0.0.{n}").as_str(), 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let client = Client { socket, tracker: tracker_at };
        let answer = client.ask(&announce(client.connect(), &format!("52540000000{n}"), 9));
        // A node hears its rack, too: an entry that is nobody's address, before those of peers.
        let first = answer.get(20..26).map(|entry| (entry[3], entry[4..] == [0, 0]));
        assert_eq!(first.and_then(|(number, is_rack)| is_rack.then_some(number)), rack, "{n}: {answer:?}");
    }
    wait_for("the nodes' racks in the state file", SOON, || {
        let state = fs::read_to_string(lab.path("run/tracker.json")).map_err(|e| e.to_string())?;
        let value: serde_json::Value = serde_json::from_str(&state).map_err(|e| e.to_string())?;
        let peers = value["torrents"][0]["peers"].as_array().cloned().unwrap_or_default();
        let racks: Vec<_> = peers.iter().map(|peer| peer["rack"].as_str()).collect();
        if racks == [Some("left"), Some("right"), Some("left"), None] { Ok(()) } else { Err(state) }
    })
    .unwrap();
}

#[test]
fn libtorrent_sessions_find_one_another() {
    let lab = Lab::new().unwrap();
    let hosts =
        ["m", "a", "b"].map(|n| lab.network.host(n, &format!("10.0.0.{}/24", n.as_bytes()[0])).unwrap());
    let [master, seed, leech] = hosts;
    fs::write(lab.path("swarm.py"), SWARM).unwrap();
    let script = lab.path("swarm.py").display().to_string();
    let folder = |name: &str| {
        fs::create_dir_all(lab.path(name)).unwrap();
        lab.path(name).display().to_string()
    };
    let announce = "udp://10.0.0.109:6969";
    let python = |name: &str, role: &str| {
        ["/usr/bin/python3", &script, announce, &folder(name), role].map(str::to_owned)
    };
    let hash = python("seed", "hash");
    let hash = master.run(&hash.each_ref().map(String::as_str)).unwrap();
    let _tracker = start(&lab, "tracker.log", Some(&master.netns), "0.0.0.0:6969", hash.trim());
    let _seed =
        Launch::new(&python("seed", "seed"), lab.path("seed.log")).netns(&seed.netns).start().unwrap();
    wait_for("the seed's announce", SOON, || {
        let state = fs::read_to_string(lab.path("run/tracker.json")).map_err(|e| e.to_string())?;
        if state.contains("10.0.0.97:6881") { Ok(()) } else { Err(state) }
    })
    .unwrap();
    let mut leech =
        Launch::new(&python("leech", "leech"), lab.path("leech.log")).netns(&leech.netns).start().unwrap();
    leech.expect("COMPLETE True", Duration::from_secs(60)).unwrap();
}

/// aria2 without its DHT asks trackers over HTTP only, and dials nobody that no tracker names.
#[test]
fn aria2s_find_one_another_over_http() {
    let lab = Lab::new().unwrap();
    let hosts =
        ["m", "a", "b"].map(|n| lab.network.host(n, &format!("10.0.0.{}/24", n.as_bytes()[0])).unwrap());
    let [master, seed, leech] = hosts;
    let folder = |name: &str| {
        fs::create_dir_all(lab.path(name)).unwrap();
        lab.path(name)
    };
    let torrent = torrent::make(&folder("theirs"), "image", 40, 1 << 16).unwrap();
    let _tracker = start(&lab, "tracker.log", Some(&master.netns), "0.0.0.0:6969", &torrent.info_hash);
    let aria2 = |name: &str, rest: &[&str]| {
        let dir = format!("--dir={}", folder(name).display());
        let mut argv =
            vec!["aria2c", "--enable-dht=false", "--bt-enable-lpd=false", "--listen-port=6881", &dir];
        argv.extend(["--bt-tracker=http://10.0.0.109:6969/announce", "--summary-interval=1"]);
        argv.extend(rest);
        let file = torrent.file.display().to_string();
        argv.push(&file);
        argv.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let argv = aria2("theirs", &["--check-integrity=true", "--seed-ratio=0"]);
    let _seed = Launch::new(&argv, lab.path("seed.log")).netns(&seed.netns).start().unwrap();
    wait_for("the seed's announce", SOON, || {
        let state = fs::read_to_string(lab.path("run/tracker.json")).map_err(|e| e.to_string())?;
        if state.contains("10.0.0.97:6881") { Ok(()) } else { Err(state) }
    })
    .unwrap();
    let argv = aria2("got", &["--seed-time=0"]);
    let mut leech = Launch::new(&argv, lab.path("leech.log")).netns(&leech.netns).start().unwrap();
    leech.wait(Duration::from_secs(60)).unwrap();
    assert!(fs::read(lab.path("got/image")).unwrap() == fs::read(&torrent.data).unwrap());
    let page = master.run(&["curl", "-s", "http://10.0.0.109:6969/nothing"]).unwrap();
    assert!(page.contains("BitTorrent tracker"), "{page}");
}

/// BEP 14: the needy one asks, and a complete one that has nothing to ask for answers.
#[test]
fn without_a_tracker_two_nodes_find_one_another() {
    let lab = Lab::new().unwrap();
    let [a, b] = ["a", "b"].map(|n| lab.network.host(n, &format!("10.0.0.{}/24", n.as_bytes()[0])).unwrap());
    fs::create_dir_all(lab.path("theirs")).unwrap();
    let torrent = torrent::make(&lab.path("theirs"), "image", 40, 1 << 16).unwrap();
    let fetch = |to: &str, linger: &str, tracker: &[&str]| {
        let to = lab.path(to).display().to_string();
        let (agent, file) = (programs::agent().display().to_string(), torrent.file.display().to_string());
        let mut argv = vec![agent, "fetch".into(), file, "--to".into(), to, "--linger".into(), linger.into()];
        argv.extend(tracker.iter().map(|&a| a.to_owned()));
        argv
    };
    let has = Launch::new(&fetch("theirs", "forever", &[]), lab.path("has.log")).netns(&a.netns);
    let _has = has.start().unwrap();
    // There is nobody at this address, not even somebody to say so.
    let argv = fetch("got", "0", &["--tracker", "10.0.0.200:6969"]);
    let mut wants = Launch::new(&argv, lab.path("wants.log")).netns(&b.netns).start().unwrap();
    wants.wait(Duration::from_secs(30)).unwrap();
    assert!(fs::read(lab.path("got/image")).unwrap() == fs::read(&torrent.data).unwrap());
}
