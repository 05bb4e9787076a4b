//! A cable that is pulled in the middle: TCP says nothing, and every link to that node is half open. The others go on at
//! once, and so does the node when the cable is back.

use crate::smoltcp::{Swarm, TRACKER, ended};
use boottorrent_tests::clock::wait_for;
use std::time::Duration;

const NODES: u8 = 6;
/// Of each link: slow enough for a second to be little.
const MBIT: u32 = 20;
/// Six nodes with so few pieces take up to 1.3 of a copy's 8 s, with the cable and without; TCP would wait for minutes.
const OVER_A_COPY: f64 = 2.0;

#[test]
fn a_pulled_cable_costs_nobody_else_and_the_node_goes_on_when_it_is_back() {
    let swarm = Swarm::new();
    let network = &swarm.lab.network;
    network.another_wire("nowhere").unwrap();
    let master = swarm.host("m", "10.0.0.1/24");
    master.limit(MBIT).unwrap();
    let (_seed, _tracker) = (swarm.kernel_seed(&master), swarm.tracker(&master, ""));
    let mut nodes = Vec::new();
    for n in 11..11 + NODES {
        let name = format!("n{n}");
        let host = swarm.host(&name, &format!("10.0.0.{n}/24"));
        host.limit(MBIT).unwrap();
        nodes.push((swarm.kernel_node(&host, &name, &["--tracker", TRACKER]), host, name));
    }
    let (mut node, host, name) = nodes.swap_remove(2);
    let received = || {
        host.run(&["cat", "/sys/class/net/eth0/statistics/rx_bytes"]).unwrap().trim().parse::<u64>().unwrap()
    };
    wait_for("a third of the image", Duration::from_secs(60), || match received() {
        bytes if bytes > swarm.torrent.bytes / 3 => Ok(()),
        bytes => Err(format!("{bytes} bytes")),
    })
    .unwrap();
    network.plug(&host, "nowhere").unwrap();
    assert!(received() < swarm.torrent.bytes, "it was not in the middle any more");
    let copy = swarm.torrent.bytes as f64 * 8.0 / (f64::from(MBIT) * 1e6);
    for (node, _, name) in &mut nodes {
        ended(node);
        swarm.assert_whole(&format!("{name}/image"));
        let over = swarm.stats(name)["seconds"].as_f64().unwrap() / copy;
        assert!(over < OVER_A_COPY, "{name} took {over:.2} of a copy's time");
    }
    assert!(node.ended().is_none(), "{}", node.log());
    network.plug(&host, "br0").unwrap();
    ended(&mut node);
    swarm.assert_whole(&format!("{name}/image"));
}
