//! The lab itself, without the product: a node boots straight over HTTP, and a master's systemd comes up.

use boottorrent_tests::lab::Lab;
use boottorrent_tests::master::Master;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::os;
use boottorrent_tests::straight::Straight;
use std::time::Duration;

#[test]
fn a_node_boots_straight_over_http() {
    let image = os::small().unwrap();
    let lab = Lab::new().unwrap();
    let _server =
        Straight::start(&lab, &image, "initrd", &[("payload.bin", "/wrapped/payload.bin")], "console=ttyS0")
            .unwrap();
    let node = Node::switch_on(&lab, NodeSpec::new(1)).unwrap();
    let seen = node.console.expect_line("BT-OS-UP", Duration::from_secs(90)).unwrap();
    assert!(seen.line.contains("console=ttyS0"), "{}", seen.line);
    node.console.expect_line("BT-OS-SUMS ok", Duration::from_secs(60)).unwrap();
}

#[test]
fn the_master_runs_systemd_and_leaves_nothing() {
    let lab = Lab::new().unwrap();
    let name = lab.name().to_owned();
    let master = Master::boot(&lab, "10.0.0.1/24", &[]).unwrap();
    assert!(master.run("ip -o addr show eth0").unwrap().contains("10.0.0.1/24"));
    master.run("systemd-run --wait -p DynamicUser=yes -p PrivateNetwork=yes true").unwrap();
    drop(master);
    drop(lab);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&name), "{mounts}");
    let namespaces: Vec<_> =
        std::fs::read_dir("/run/netns").unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(!namespaces.iter().any(|entry| entry.to_string_lossy().starts_with(&name)), "{namespaces:?}");
}
