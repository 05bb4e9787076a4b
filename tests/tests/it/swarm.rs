//! "From one another": with the master's link limited below the nodes', they take from each other what it can't give.

use crate::boot::{BOOT, image_bytes};
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};

/// One copy of the small OS takes twelve seconds through it.
const MASTER_MBIT: u32 = 40;

#[test]
fn three_nodes_draw_less_than_two_copies_from_the_master() {
    let specs: Vec<NodeSpec> = (1..=3).map(NodeSpec::new).collect();
    let site = specs
        .iter()
        .fold(Site::with(&[Os::small("small", "")]), |site, spec| site.node(spec, "os = \"small\""));
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(MASTER_MBIT).unwrap();
    let nodes: Vec<Node> = specs.iter().map(|spec| room.node(spec).unwrap()).collect();
    for node in &nodes {
        node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    }
    let reports = room.expect_board("the last records of three nodes", |board| {
        let done = board.nodes.iter().filter(|report| report.seconds("load").is_some()).count();
        (done == 3).then(|| board.nodes.clone())
    });
    let reports = reports.unwrap();
    let copy = image_bytes();
    let master: u64 = reports.iter().map(|report| report.bytes_master).sum();
    let peers: u64 = reports.iter().map(|report| report.bytes_peers).sum();
    println!("{:.2} copies from the master, {:.2} from peers", ratio(master, copy), ratio(peers, copy));
    assert!(master < 2 * copy, "{master} bytes from the master, a copy is {copy}");
    assert!(master + peers >= 3 * copy, "{master} + {peers} bytes are no three copies of {copy}");
}

#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn ratio(bytes: u64, copy: u64) -> f64 {
    bytes as f64 / copy as f64
}
