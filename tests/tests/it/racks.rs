//! Racks of one subnet behind a shared uplink, on real sockets: who is in which only the tracker knows, and each rack
//! takes about one copy through its uplink.

use crate::smoltcp::{Swarm, TRACKER, ended};

const NODES_OF_A_RACK: u8 = 4;
/// Of a node's link, and of a rack's uplink.
const MBIT: u32 = 100;

#[test]
fn a_rack_takes_about_one_copy_through_its_uplink() {
    let swarm = Swarm::new();
    let master = swarm.host("m", "10.0.0.1/24");
    master.limit(MBIT).unwrap();
    let racks = "[[named-racks]]\nname = \"left\"\nnetworks = [\"10.0.0.32/28\"]\n\
                 [[named-racks]]\nname = \"right\"\nnetworks = [\"10.0.0.48/28\"]\n";
    let (_seed, _tracker) = (swarm.kernel_seed(&master), swarm.tracker(&master, racks));
    let mut nodes = Vec::new();
    let mut uplinks = Vec::new();
    for (wire, first) in [("left", 33), ("right", 49)] {
        uplinks.push(swarm.lab.network.uplink(wire, MBIT).unwrap());
        for n in first..first + NODES_OF_A_RACK {
            let name = format!("n{n}");
            let host = swarm.host(&name, &format!("10.0.0.{n}/24"));
            swarm.lab.network.plug(&host, wire).unwrap();
            host.limit(MBIT).unwrap();
            nodes.push((swarm.kernel_node(&host, &name, &["--tracker", TRACKER]), name));
        }
    }
    for (node, name) in &mut nodes {
        ended(node);
        swarm.assert_whole(&format!("{name}/image"));
    }
    for uplink in uplinks {
        // Frames carry some 5 % beside the image, and acknowledgements of what goes the other way.
        let (taken, sent) = uplink.copies(swarm.torrent.bytes).unwrap();
        println!("{}: {taken:.2} copies in, {sent:.2} out", uplink.wire);
        assert!(taken < 1.5, "{}: {taken:.2} copies in, {sent:.2} out", uplink.wire);
    }
}
