//! Nothing that the site's key has not signed is taken: neither a catalog, nor a list, nor a piece.

use crate::boot::BOOT;
use crate::faults::table::{ALTERED_CATALOG, ALTERED_LIST, FALSE_PIECE};
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::peer;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::net::{Ipv4Addr, SocketAddrV4};

const TFTP: &str = "/var/lib/boottorrent/current/tftp";

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
    ALTERED_CATALOG.at_both_ends(&node, &room.master, 0);
    room.master.run(&format!("cp -p /tmp/catalog.good {catalog}")).unwrap();
    ALTERED_LIST.at_both_ends(&node, &room.master, 0);
    room.master.run(&format!("for f in {list}; do cp -p /tmp/$(basename $f).good $f; done")).unwrap();
    node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
}

/// Pieces that a node has begun with one peer at the same time.
const IN_FLIGHT: usize = 2;

#[test]
fn a_peer_with_false_pieces_is_named_and_dropped() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("small", "")]).node(&spec, "os = \"small\"");
    let room = Room::serving(&site).unwrap();
    // The master is slow, so that the liar is asked, too.
    room.master.host.limit(20).unwrap();
    let liar = room.lab.network.host("liar", "10.0.0.66/24").unwrap();
    let (hash, pieces) = room.torrent().unwrap();
    peer::lie(&liar.netns, SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 11), 6881), hash, pieces).unwrap();
    let node = room.node(&spec).unwrap();
    FALSE_PIECE.at_both_ends(&node, &room.master, 0);
    let named = node.console.expect_line("10.0.0.66", BOOT).unwrap();
    println!("{}", named.line);
    assert!(named.line.contains("sent a false piece"), "{}", named.line);
    node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    // It dials again and again, but what was in flight at its first lie is all that it ever gave.
    assert!(node.console.count("is not the one that the site signed") <= IN_FLIGHT, "it was asked again");
}
