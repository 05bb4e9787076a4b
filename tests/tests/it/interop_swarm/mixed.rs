//! Swarms in which our nodes are a few among others: Transmission alone with ours, and every kind at once through
//! somebody else's tracker. Each has a host of its own, since Transmission takes no peer in 127.0.0.0/8.

use super::LIBTORRENT;
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::lab::Lab;
use boottorrent_tests::network::Host;
use boottorrent_tests::process::{Launch, Process};
use boottorrent_tests::programs;
use boottorrent_tests::torrent::{self, Torrent};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Transmission's choke rounds alone are ten seconds each.
const WHOLE: Duration = Duration::from_secs(90);
const SOON: Duration = Duration::from_secs(20);

/// 5 MB: what Transmission takes its time for does not depend on the size.
const PIECES: u32 = 80;
const PIECE: u32 = 65_536;
const TRACKER: &str = "10.0.0.1:6969";

/// Everything that would look for peers beyond what the test names is off; plain TCP, as the baselines have it.
const TRANSMISSION: &str = r#"{"peer-port": 6881, "dht-enabled": false, "lpd-enabled": false, "utp-enabled": false,
"port-forwarding-enabled": false, "rpc-enabled": false, "encryption": 0}"#;

struct Swarm {
    lab: Lab,
    torrent: Torrent,
}

impl Swarm {
    /// A torrent that names the tracker, since Transmission is told of one in no other way.
    fn new() -> Swarm {
        let lab = Lab::new().unwrap();
        fs::create_dir_all(lab.path("made")).unwrap();
        let torrent = torrent::make(&lab.path("made"), "image", PIECES, PIECE).unwrap();
        let announce = format!("http://{TRACKER}/announce");
        let bare = fs::read(&torrent.file).unwrap();
        let head = format!("d8:announce{}:{announce}", announce.len());
        fs::write(&torrent.file, [head.as_bytes(), &bare[1..]].concat()).unwrap();
        Swarm { lab, torrent }
    }

    fn host(&self, name: &str, last: u8) -> Host {
        self.lab.network.host(name, &format!("10.0.0.{last}/24")).unwrap()
    }

    fn start<S: AsRef<str>>(&self, host: &Host, name: &str, argv: &[S]) -> Process {
        Launch::new(argv, self.lab.path(&format!("{name}.log"))).netns(&host.netns).start().unwrap()
    }

    /// The pieces `from..to` of the image stand in the folder `name` already; all else there is zeros.
    fn part(&self, name: &str, from: u32, to: u32) {
        fs::create_dir_all(self.lab.path(name)).unwrap();
        let whole = fs::read(&self.torrent.data).unwrap();
        let place = |piece: u32| (piece * PIECE) as usize;
        let file = File::create(self.lab.path(name).join("image")).unwrap();
        file.set_len(self.torrent.bytes).unwrap();
        file.write_all_at(&whole[place(from)..place(to)], place(from) as u64).unwrap();
    }

    fn text(&self, name: &str) -> String {
        self.lab.path(name).display().to_string()
    }

    fn ours(&self, host: &Host, name: &str, rest: &[&str]) -> Process {
        let (agent, file) =
            (programs::agent().display().to_string(), self.torrent.file.display().to_string());
        let (to, stats) = (self.text(name), self.text(&format!("{name}.json")));
        let argv = [&agent, "fetch", &file, "--to", &to, "--stats", &stats];
        self.start(host, name, &[&argv[..], rest].concat())
    }

    fn transmission(&self, host: &Host, name: &str) -> Process {
        let settings = self.lab.path(&format!("{name}-settings"));
        fs::create_dir_all(&settings).unwrap();
        fs::create_dir_all(self.lab.path(name)).unwrap();
        fs::write(settings.join("settings.json"), TRANSMISSION).unwrap();
        let (settings, file) = (settings.display().to_string(), self.torrent.file.display().to_string());
        let argv =
            ["transmission-cli", "--config-dir", &settings, "--download-dir", &self.text(name), "--verify"];
        self.start(host, name, &[&argv[..], &["--encryption-tolerated", &file]].concat())
    }

    fn aria2(&self, host: &Host, name: &str) -> Process {
        let (dir, file) = (format!("--dir={}", self.text(name)), self.torrent.file.display().to_string());
        let argv = ["aria2c", "--enable-dht=false", "--bt-enable-lpd=false", "--listen-port=6881", &dir];
        let rest =
            ["--check-integrity=true", "--allow-overwrite=true", "--seed-ratio=0", "--summary-interval=1"];
        self.start(host, name, &[&argv[..], &rest, &[&file]].concat())
    }

    fn libtorrent(&self, host: &Host, name: &str, listen: &str) -> Process {
        let (to, file) = (self.text(name), self.torrent.file.display().to_string());
        let tracker = format!("http://{TRACKER}/announce");
        self.start(host, name, &["/usr/bin/python3", "-c", LIBTORRENT, &file, &to, listen, &tracker])
    }

    /// Waits until each of the folders has the image, to the byte.
    fn expect_whole(&self, names: &[&str]) {
        let whole = fs::read(&self.torrent.data).unwrap();
        wait_for("every copy, to the byte", WHOLE, || {
            let has = |name: &&str| fs::read(self.lab.path(name).join("image")).is_ok_and(|b| b == whole);
            let lacking: Vec<_> = names.iter().filter(|name| !has(name)).copied().collect();
            if lacking.is_empty() { Ok(()) } else { Err(format!("not yet: {lacking:?}")) }
        })
        .unwrap();
    }

    fn stats(&self, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.lab.path(&format!("{name}.json"))).unwrap()).unwrap()
    }
}

/// Ours, told of the master's seed.
fn our_tracker(swarm: &Swarm, master: &Host) -> Process {
    fs::create_dir_all(swarm.lab.path("store/current")).unwrap();
    let config = format!(
        "interval-seconds = 10\nseeds = [\"10.0.0.1:6881\"]\n[[torrents]]\ninfo-hash = \"{}\"\nname = \"image\"\n",
        swarm.torrent.info_hash
    );
    fs::write(swarm.lab.path("store/current/tracker.toml"), config).unwrap();
    let program = programs::path("boottorrent-tracker").display().to_string();
    let store = swarm.text("store");
    let argv = [&program, "--store", &store, "--listen", "0.0.0.0:6969"];
    let mut tracker = swarm.start(master, "tracker", &argv);
    tracker.expect("serves 1 torrents", SOON).unwrap();
    tracker
}

/// Debian's serves the torrents of a list only. It gives up root, and wants a folder to lock itself up in.
fn opentracker(swarm: &Swarm, master: &Host) -> Process {
    let list = swarm.lab.path("made/list");
    fs::write(&list, format!("{}\n", swarm.torrent.info_hash)).unwrap();
    let folder = list.parent().unwrap_or(Path::new("/")).display().to_string();
    let argv = ["opentracker", "-i", "10.0.0.1", "-p", "6969", "-P", "6969", "-d", &folder, "-w", "list"];
    let tracker = swarm.start(master, "opentracker", &argv);
    wait_for("opentracker's port", SOON, || {
        master
            .run(&["curl", "-s", "-o", "/dev/null", &format!("http://{TRACKER}/stats")])
            .map_err(|e| e.to_string())
    })
    .unwrap();
    tracker
}

#[test]
fn transmission_downloads_from_our_seed() {
    let swarm = Swarm::new();
    let [master, node] = [("m", 1), ("a", 11)].map(|(name, last)| swarm.host(name, last));
    let program = programs::path("boottorrent-seed").display().to_string();
    let (file, data) = (swarm.torrent.file.display().to_string(), swarm.torrent.data.display().to_string());
    let argv = [&program, "--torrent", &file, "--data", &data, "--listen", "10.0.0.1:6881"];
    let _seed = swarm.start(&master, "seed", &argv);
    let _tracker = our_tracker(&swarm, &master);
    let _transmission = swarm.transmission(&node, "got");
    swarm.expect_whole(&["got"]);
}

#[test]
fn our_client_downloads_from_transmission() {
    let swarm = Swarm::new();
    let [other, node] = [("a", 11), ("b", 12)].map(|(name, last)| swarm.host(name, last));
    swarm.part("theirs", 0, PIECES);
    let _transmission = swarm.transmission(&other, "theirs");
    let mut ours = swarm.ours(&node, "got", &["--peer", "10.0.0.11:6881", "--linger", "0"]);
    assert!(ours.wait(WHOLE).unwrap().success(), "{}", ours.log());
    swarm.expect_whole(&["got"]);
    assert_eq!(swarm.stats("got")["bytes_from_named_peers"], swarm.torrent.bytes);
}

/// Four kinds begin with a quarter each, so that nobody can end without all of the others' uploads; a fifth brings nothing.
/// The tracker is opentracker: ours are asked for nothing that it does not do.
#[test]
fn every_kind_gives_its_part_and_ends_with_the_whole() {
    let swarm = Swarm::new();
    let master = swarm.host("m", 1);
    let hosts =
        [("a", 11), ("b", 12), ("c", 13), ("d", 14), ("e", 15)].map(|(name, last)| swarm.host(name, last));
    let [ours, late, libtorrent, aria2, transmission] = &hosts;
    let parts = ["ours", "libtorrent", "aria2", "transmission"];
    for (name, quarter) in parts.iter().zip(0..) {
        swarm.part(name, quarter * PIECES / 4, (quarter + 1) * PIECES / 4);
    }
    let _tracker = opentracker(&swarm, &master);
    let tracker = ["--tracker", TRACKER, "--linger", "forever"];
    let _others = [
        swarm.transmission(transmission, "transmission"),
        swarm.aria2(aria2, "aria2"),
        swarm.libtorrent(libtorrent, "libtorrent", "10.0.0.13:6881"),
        swarm.ours(ours, "ours", &tracker),
    ];
    let mut late = swarm.ours(late, "late", &tracker);
    swarm.expect_whole(&["ours", "libtorrent", "aria2", "transmission", "late"]);
    late.expect("verified", SOON).unwrap();
}
