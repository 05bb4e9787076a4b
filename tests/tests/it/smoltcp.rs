//! Nodes without the kernel's TCP beside those with it: one swarm core over two drivers, in namespaces, to the byte.
//! The smoltcp node sees frames as they are on its card, which has no address of the kernel's.

use crate::interop_swarm::image;
use boottorrent_tests::lab::Lab;
use boottorrent_tests::network::Host;
use boottorrent_tests::process::{Launch, Process, run_in};
use boottorrent_tests::programs;
use boottorrent_tests::torrent::Torrent;
use std::fs;
use std::time::Duration;

pub(crate) const SEED: &str = "10.0.0.1:6881";
pub(crate) const TRACKER: &str = "10.0.0.1:6969";
const SOON: Duration = Duration::from_secs(20);
/// Seconds of work; the rest is for a machine that does other things, too.
const WHOLE: Duration = Duration::from_secs(120);
/// Of the seed in the mixed swarm, so that the nodes have to share.
const SEED_MBIT: u32 = 60;

pub(crate) struct Swarm {
    pub(crate) torrent: Torrent,
    pub(crate) lab: Lab,
}

impl Swarm {
    /// The torrent is in `made/theirs`.
    pub(crate) fn new() -> Swarm {
        let lab = Lab::new().unwrap();
        let torrent = image(&lab.path("made"));
        Swarm { torrent, lab }
    }

    fn text(&self, leaf: &str) -> String {
        self.lab.path(leaf).display().to_string()
    }

    /// With the kernel's network, or with a bare card.
    pub(crate) fn host(&self, name: &str, address: &str) -> Host {
        self.lab.network.host(name, address).unwrap()
    }

    fn start(&self, host: &Host, log: &str, argv: &[&str]) -> Process {
        Launch::new(argv, self.lab.path(&format!("{log}.log"))).netns(&host.netns).start().unwrap()
    }

    /// The kernel's hosts leave segments and sums to cards that are none: the bridge's ports finish them.
    fn finish_frames(&self) {
        let switch = self.lab.network.switch();
        let program = programs::path("boottorrent-smolnode").display().to_string();
        let cards = run_in(switch, &["ls", "/sys/class/net"]).unwrap();
        let ports: Vec<&str> = cards.split_whitespace().filter(|card| card.starts_with('v')).collect();
        assert!(ports.len() > 1, "{cards}");
        for port in ports {
            run_in(switch, &[&program, "--finish-frames", port]).unwrap();
        }
    }

    pub(crate) fn kernel_seed(&self, host: &Host) -> Process {
        let program = programs::path("boottorrent-seed").display().to_string();
        let (file, data) = (self.torrent.file.display().to_string(), self.torrent.data.display().to_string());
        let argv = [&program, "--torrent", &file, "--data", &data, "--listen", SEED];
        self.start(host, "seed", &argv)
    }

    /// With further lines of its configuration.
    pub(crate) fn tracker(&self, host: &Host, more: &str) -> Process {
        fs::create_dir_all(self.lab.path("store/current")).unwrap();
        let config = format!(
            "interval-seconds = 10\nseeds = [\"{SEED}\"]\n{more}[[torrents]]\ninfo-hash = \"{}\"\nname = \"image\"\n",
            self.torrent.info_hash
        );
        fs::write(self.lab.path("store/current/tracker.toml"), config).unwrap();
        let program = programs::path("boottorrent-tracker").display().to_string();
        let store = self.text("store");
        let mut tracker = self.start(host, "tracker", &[&program, "--store", &store, "--listen", TRACKER]);
        tracker.expect("serves 1 torrents", SOON).unwrap();
        tracker
    }

    /// Downloads to a file `name`, or serves the torrent's data.
    fn smolnode(&self, host: &Host, name: &str, address: &str, more: &[&str]) -> Process {
        let program = programs::path("boottorrent-smolnode").display().to_string();
        let is_seed = more.contains(&"--seed");
        let file = if is_seed { self.torrent.data.display().to_string() } else { self.text(name) };
        let (torrent, stats) = (self.torrent.file.display().to_string(), self.text(&format!("{name}.json")));
        let argv = [&program, &torrent, &file, "--card", "eth0", "--address", address, "--stats", &stats];
        self.start(host, name, &[&argv[..], more].concat())
    }

    /// Downloads to a file `image` in a folder `name`.
    pub(crate) fn kernel_node(&self, host: &Host, name: &str, more: &[&str]) -> Process {
        let program = programs::agent().display().to_string();
        let (torrent, to) = (self.torrent.file.display().to_string(), self.text(name));
        let stats = self.text(&format!("{name}.json"));
        let argv = [&program, "fetch", &torrent, "--to", &to, "--listen", "0.0.0.0:6881", "--stats", &stats];
        self.start(host, name, &[&argv[..], more].concat())
    }

    pub(crate) fn assert_whole(&self, copy: &str) {
        let same = fs::read(self.lab.path(copy)).unwrap() == fs::read(&self.torrent.data).unwrap();
        assert!(same, "{copy} differs");
    }

    /// What a node says that has ended.
    pub(crate) fn stats(&self, name: &str) -> serde_json::Value {
        let stats = fs::read(self.lab.path(&format!("{name}.json"))).unwrap();
        serde_json::from_slice(&stats).unwrap()
    }

    /// Bytes that it had from these addresses.
    fn taken(&self, name: &str, from: &[&str]) -> u64 {
        let stats = self.stats(name);
        let peers = stats["peers"].as_array().unwrap();
        let of = |peer: &serde_json::Value| {
            let address = peer["address"].as_str().unwrap().split(':').next().unwrap();
            if from.contains(&address) { peer["bytes_in"].as_u64().unwrap() } else { 0 }
        };
        peers.iter().map(of).sum()
    }
}

pub(crate) fn ended(process: &mut Process) {
    assert!(process.wait(WHOLE).unwrap().success(), "{}", process.log());
}

#[test]
fn a_smoltcp_node_downloads_from_a_kernel_seed() {
    let swarm = Swarm::new();
    let (master, bare) = (swarm.host("m", "10.0.0.1/24"), swarm.host("a", ""));
    swarm.finish_frames();
    let _seed = swarm.kernel_seed(&master);
    let mut node = swarm.smolnode(&bare, "got", "10.0.0.11/24", &["--peer", SEED]);
    ended(&mut node);
    swarm.assert_whole("got");
    assert_eq!(swarm.taken("got", &["10.0.0.1"]), swarm.torrent.bytes);
}

#[test]
fn a_kernel_node_downloads_from_a_smoltcp_seed() {
    let swarm = Swarm::new();
    let (bare, host) = (swarm.host("m", ""), swarm.host("a", "10.0.0.11/24"));
    swarm.finish_frames();
    let _seed = swarm.smolnode(&bare, "seed", "10.0.0.1/24", &["--seed"]);
    let mut node = swarm.kernel_node(&host, "got", &["--peer", SEED]);
    ended(&mut node);
    swarm.assert_whole("got/image");
    assert_eq!(swarm.taken("got", &["10.0.0.1"]), swarm.torrent.bytes);
}

#[test]
fn both_kinds_share_in_one_swarm() {
    let swarm = Swarm::new();
    let master = swarm.host("m", "10.0.0.1/24");
    let kernel: Vec<Host> =
        [11, 12].map(|n| swarm.host(&format!("k{n}"), &format!("10.0.0.{n}/24"))).into_iter().collect();
    let bare: Vec<Host> = [21, 22].map(|n| swarm.host(&format!("s{n}"), "")).into_iter().collect();
    swarm.finish_frames();
    master.limit(SEED_MBIT).unwrap();
    let (_seed, _tracker) = (swarm.kernel_seed(&master), swarm.tracker(&master, ""));
    let mut nodes = vec![];
    for (host, n) in kernel.iter().zip([11, 12]) {
        nodes.push(swarm.kernel_node(host, &format!("k{n}"), &["--tracker", TRACKER]));
    }
    for (host, n) in bare.iter().zip([21, 22]) {
        let address = format!("10.0.0.{n}/24");
        nodes.push(swarm.smolnode(host, &format!("s{n}"), &address, &["--tracker", TRACKER]));
    }
    nodes.iter_mut().for_each(ended);
    ["k11/image", "k12/image", "s21", "s22"].iter().for_each(|copy| swarm.assert_whole(copy));
    let (kernel, bare) = (["10.0.0.11", "10.0.0.12"], ["10.0.0.21", "10.0.0.22"]);
    let by_kernel = swarm.taken("k11", &bare) + swarm.taken("k12", &bare);
    let by_bare = swarm.taken("s21", &kernel) + swarm.taken("s22", &kernel);
    println!(
        "of {} bytes: kernel from smoltcp {by_kernel}, smoltcp from kernel {by_bare}",
        swarm.torrent.bytes
    );
    // Which way is for the order of their ids in the ring to say; there is no order without a step between the two kinds.
    assert!(by_kernel + by_bare >= swarm.torrent.bytes / 2, "{by_kernel} and {by_bare}");
}
