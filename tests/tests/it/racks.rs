//! Racks of one subnet behind a shared uplink, on real sockets: who is in which only the tracker knows, and each rack
//! takes about one copy through its uplink.

use crate::interop_swarm::image;
use boottorrent_tests::lab::Lab;
use boottorrent_tests::network::Host;
use boottorrent_tests::process::{Launch, Process};
use boottorrent_tests::programs;
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
/// Seconds of work; the rest is for a machine that does other things, too.
const WHOLE: Duration = Duration::from_secs(120);
const SEED: &str = "10.0.0.1:6881";
const TRACKER: &str = "10.0.0.1:6969";
const NODES_OF_A_RACK: u8 = 4;
/// Of a node's link, and of a rack's uplink.
const MBIT: u32 = 100;

#[test]
fn a_rack_takes_about_one_copy_through_its_uplink() {
    let lab = Lab::new().unwrap();
    let torrent = image(&lab.path("made"));
    let text = |leaf: &str| lab.path(leaf).display().to_string();
    let start = |host: &Host, log: &str, argv: &[&str]| -> Process {
        Launch::new(argv, lab.path(&format!("{log}.log"))).netns(&host.netns).start().unwrap()
    };
    let master = lab.network.host("m", "10.0.0.1/24").unwrap();
    master.limit(MBIT).unwrap();
    fs::create_dir_all(lab.path("store/current")).unwrap();
    let racks = "[[named-racks]]\nname = \"left\"\nnetworks = [\"10.0.0.32/28\"]\n\
                 [[named-racks]]\nname = \"right\"\nnetworks = [\"10.0.0.48/28\"]\n";
    let config = format!(
        "interval-seconds = 10\nseeds = [\"{SEED}\"]\n{racks}[[torrents]]\ninfo-hash = \"{}\"\nname = \"image\"\n",
        torrent.info_hash
    );
    fs::write(lab.path("store/current/tracker.toml"), config).unwrap();
    let [seed, tracker] =
        ["seed", "tracker"].map(|name| programs::path(&format!("boottorrent-{name}")).display().to_string());
    let (file, data) = (torrent.file.display().to_string(), torrent.data.display().to_string());
    let _seed = start(&master, "seed", &[&seed, "--torrent", &file, "--data", &data, "--listen", SEED]);
    let mut tracker = start(&master, "tracker", &[&tracker, "--store", &text("store"), "--listen", TRACKER]);
    tracker.expect("serves 1 torrents", SOON).unwrap();

    let agent = programs::agent().display().to_string();
    let mut nodes = Vec::new();
    let mut uplinks = Vec::new();
    for (wire, first) in [("left", 33), ("right", 49)] {
        uplinks.push(lab.network.uplink(wire, MBIT).unwrap());
        for n in first..first + NODES_OF_A_RACK {
            let name = format!("n{n}");
            let host = lab.network.host(&name, &format!("10.0.0.{n}/24")).unwrap();
            lab.network.plug(&host, wire).unwrap();
            host.limit(MBIT).unwrap();
            let to = text(&name);
            let fetch = ["fetch", &file, "--to", &to, "--listen", "0.0.0.0:6881", "--tracker", TRACKER];
            nodes.push((start(&host, &name, &[&[&agent[..]], &fetch[..]].concat()), name, host));
        }
    }
    for (node, name, _) in &mut nodes {
        assert!(node.wait(WHOLE).unwrap().success(), "{}", node.log());
        assert!(fs::read(lab.path(&format!("{name}/image"))).unwrap() == fs::read(&torrent.data).unwrap());
    }
    for uplink in uplinks {
        // Frames carry some 5 % beside the image, and acknowledgements of what goes the other way.
        let (taken, sent) = uplink.copies(torrent.bytes).unwrap();
        println!("{}: {taken:.2} copies in, {sent:.2} out", uplink.wire);
        assert!(taken < 1.5, "{}: {taken:.2} copies in, {sent:.2} out", uplink.wire);
    }
}
