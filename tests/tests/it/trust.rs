//! Nothing that the site's key has not signed is taken: neither a catalog, nor a list, nor a piece.

use crate::boot::BOOT;
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::process::Launch;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::path::Path;
use std::time::Duration;

const TFTP: &str = "/var/lib/boottorrent/current/tftp";
const SOON: Duration = Duration::from_secs(30);

#[test]
fn an_altered_catalog_and_an_altered_list_are_refused_and_forgiven() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("small", "")]).node(&spec, "os = \"small\"");
    let room = Room::serving(&site).unwrap();
    let (catalog, list) = (format!("{TFTP}/catalog"), format!("{TFTP}/pieces/*"));
    for file in [&catalog, &list] {
        room.master.run(&format!("for f in {file}; do cp -p $f /tmp/$(basename $f).good; done")).unwrap();
    }
    room.master.run(&format!("sed -i 's/Small OS small/Small OS SMALL/' {catalog}")).unwrap();
    room.master
        .run(&format!("for f in {list}; do printf x | dd of=$f conv=notrunc status=none; done"))
        .unwrap();
    let node = room.node(&spec).unwrap();
    let refusal = node.console.expect_line("signature", BOOT).unwrap();
    println!("{}", refusal.line);
    assert!(refusal.line.contains("catalog") && refusal.line.contains("key"), "{}", refusal.line);
    room.master.run(&format!("cp -p /tmp/catalog.good {catalog}")).unwrap();
    let refusal = node.console.expect_line("piece list", BOOT).unwrap();
    println!("{}", refusal.line);
    room.master.run(&format!("for f in {list}; do cp -p /tmp/$(basename $f).good $f; done")).unwrap();
    node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
}

/// Seeds a folder without looking at it, as a broken or hostile peer would; announces itself to the tracker.
const FALSE_SEED: &str = r#"
import libtorrent, sys, time
torrent, folder, address = sys.argv[1:]
session = libtorrent.session({"listen_interfaces": address + ":6881", "enable_dht": False, "enable_lsd": False,
    "enable_upnp": False, "enable_natpmp": False, "alert_mask": 0, "out_enc_policy": 2, "in_enc_policy": 2})
p = libtorrent.add_torrent_params()
p.ti = libtorrent.torrent_info(torrent)
p.save_path = folder
p.trackers = ["udp://10.0.0.1:6969"]
p.flags |= libtorrent.torrent_flags.seed_mode
session.add_torrent(p)
print("seeding", flush=True)
while True:
    time.sleep(1)
"#;

#[test]
fn a_peer_with_false_pieces_is_named_and_dropped() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("small", "")]).node(&spec, "os = \"small\"");
    let room = Room::serving(&site).unwrap();
    // The master is slow, so that the false peer is asked.
    room.master.host.limit(20).unwrap();
    let liar = room.lab.network.host("liar", "10.0.0.66/24").unwrap();
    let folder = room.lab.path("liar");
    std::fs::create_dir_all(&folder).unwrap();
    let torrent = folder.join("image.torrent");
    let inside = room.master.run(&format!("cat {TFTP}/torrents/small.torrent | base64 -w0")).unwrap();
    let decode = format!("echo {} | base64 -d > {}", inside.trim(), torrent.display());
    boottorrent_tests::process::run(&["sh", "-c", &decode]).unwrap();
    fill_with_zeros(&folder, &torrent);
    let script = folder.join("seed.py");
    std::fs::write(&script, FALSE_SEED).unwrap();
    let words: Vec<String> =
        ["/usr/bin/python3".into(), text(&script), text(&torrent), text(&folder), "10.0.0.66".into()].into();
    let mut seed = Launch::new(&words, room.lab.path("liar.log")).netns(&liar.netns).start().unwrap();
    seed.expect("seeding", SOON).unwrap();
    let node = room.node(&spec).unwrap();
    let told = node.console.expect_line("10.0.0.66", BOOT).unwrap();
    println!("{}", told.line);
    assert!(told.line.contains("false"), "{}", told.line);
    node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Files of the torrent's names and sizes with nothing true in them.
fn fill_with_zeros(folder: &Path, torrent: &Path) {
    let script = "import libtorrent, os, sys\n\
        info = libtorrent.torrent_info(sys.argv[1])\n\
        for n in range(info.files().num_files()):\n\
        \x20   path = os.path.join(sys.argv[2], info.files().file_path(n))\n\
        \x20   os.makedirs(os.path.dirname(path), exist_ok=True)\n\
        \x20   open(path, 'wb').truncate(info.files().file_size(n))\n";
    let argv = ["/usr/bin/python3", "-c", script, &text(torrent), &text(folder)];
    boottorrent_tests::process::run(&argv).unwrap();
}
