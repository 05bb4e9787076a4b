//! Real hardware's ways: several cards, carrier that comes late, ports that block, cables that are pulled, firmware that is
//! missing, a lease that changes under a running program, and a clock that jumps. Each is told at both ends.

use crate::boot::BOOT;
use crate::faults::table::{
    BLOCKED_PORT, BOOT_CARD, CABLE, CHANGED, CONFIRMED, DEAD_CARD, FIRMWARE, FOREIGN_NETWORK, LINK_LOCAL,
    NO_CARRIER, RAN_OUT, TAKEN_BACK,
};
use boottorrent_swarm::InfoHash;
use boottorrent_tests::clock::{now, wait_for};
use boottorrent_tests::lab::Lab;
use boottorrent_tests::master::Master;
use boottorrent_tests::network::Host;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::observer::Observer;
use boottorrent_tests::process::{Launch, Process};
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use serde_json::Value;
use std::net::SocketAddrV4;
use std::time::Duration;

/// What a stage without a deadline takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);
/// The kernel has started, and the network is still untouched.
const AGENT: &str = "process 1 is up";
/// A node without a lease asks again after so long at most.
const ASKS_AGAIN: Duration = Duration::from_secs(8);

#[test]
fn cables_ports_cards_leases_and_clocks_that_do_not_do_as_they_should() {
    let one_card = NodeSpec::new(1);
    let three_cards = NodeSpec::new(2).card("virtio-net-pci", "bmc").card("virtio-net-pci", "foreign");
    let session = NodeSpec::new(3).card("i82551", "br0").clock("1970-01-02T00:00:00").second_serial();
    let mut site = Site::with(&[Os::small("small", ""), Os::program("timeless", TIMELESS, "")])
        .node(&one_card, "os = \"small\"")
        .node(&three_cards, "os = \"small\"")
        .node(&session, &format!("os = \"timeless\"\n{SHORT_LEASE}"))
        // A second serial line at another speed, and consoles that no machine here has.
        .bootstrap_cmdline("console=ttyS1,57600n8 console=ttyS7 console=hvc0");
    site.bootstrap_keys = "extra-modules = [\"e100\"]\n".into();
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(60).unwrap();
    let _bmc = foreign_dhcp(&room.lab, "bmc", "169.254.3.1/16", "169.254.3.50");
    let _foreign = foreign_dhcp(&room.lab, "foreign", "192.168.9.1/24", "192.168.9.50");
    let [first, second, third] = [&one_card, &three_cards, &session].map(|spec| room.node(spec).unwrap());
    let master = &room.master;
    std::thread::scope(|scope| {
        scope.spawn(|| late_carrier_blocked_port_and_pulled_cable(&first, master));
        scope.spawn(|| cards_take_turns(&second, master));
        a_lease_changes_and_runs_out_and_the_clock_jumps(&room, site, &third);
    });
}

/// Somebody else's DHCP server, on a wire of its own: it gives out one address.
fn foreign_dhcp(lab: &Lab, wire: &str, own: &str, given: &str) -> (Process, Host) {
    lab.network.another_wire(wire).unwrap();
    let host = lab.network.host(wire, own).unwrap();
    lab.network.plug(&host, wire).unwrap();
    let range = format!("--dhcp-range={given},{given},1h");
    let words = "dnsmasq --no-daemon --conf-file=/dev/null --port=0 --leasefile-ro --no-ping --user=root";
    let argv: Vec<&str> = words.split(' ').chain(["--interface=eth0", &range]).collect();
    let log = lab.path(&format!("dnsmasq-{wire}.log"));
    let mut server = Launch::new(&argv, log).netns(&host.netns).start().unwrap();
    server.expect("DHCP, IP range", SOON).unwrap();
    (server, host)
}

fn late_carrier_blocked_port_and_pulled_cable(node: &Node, master: &Master) {
    let (console, port) = (&node.console, &node.ports[0]);
    let start = console.expect(AGENT, BOOT).unwrap().end;
    node.plug(0, false).unwrap();
    let counted = console.expect_from(start, &["waiting for carrier on eth0 ("], SOON).unwrap();
    let missed = NO_CARRIER.on_console(node, counted.end);
    // A spanning tree: the link is there, the port passes nothing yet.
    port.forward(false).unwrap();
    node.plug(0, true).unwrap();
    console.expect_from(missed.end, &["link: done"], SOON).unwrap();
    console.expect_from(missed.end, &["eth0: asking for an address ("], SOON).unwrap();
    let blocked = BLOCKED_PORT.on_console(node, missed.end);
    port.forward(true).unwrap();
    let reached = console.expect_from(blocked.end, &["catalog: done"], SOON).unwrap();
    for fault in [NO_CARRIER, BLOCKED_PORT] {
        fault.at_master(node, master, node.switched_on() + reached.after);
    }
    // In the middle of the download: something has come.
    let some = console.expect_from(reached.end, &[" s left  "], SOON).unwrap();
    node.plug(0, false).unwrap();
    let pulled = CABLE.on_console(node, some.end);
    console.expect_from(pulled.end, &["nothing comes at the moment"], SOON).unwrap();
    node.plug(0, true).unwrap();
    let back = console.expect_from(pulled.end, &["download: carrier on eth0 again"], SOON).unwrap();
    CABLE.at_master(node, master, node.switched_on() + back.after);
    console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
}

fn cards_take_turns(node: &Node, master: &Master) {
    let console = &node.console;
    let start = console.expect(AGENT, BOOT).unwrap().end;
    node.plug(0, false).unwrap();
    let passed = BOOT_CARD.on_console(node, start);
    let useless = LINK_LOCAL.on_console(node, passed.end);
    let foreign = console.expect_from(useless.end, &["lease: done"], SOON).unwrap();
    console.expect_from(foreign.end, &["192.168.9.50/24 on eth1 from 192.168.9.1"], SOON).unwrap();
    let lost = FOREIGN_NETWORK.on_console(node, foreign.end);
    node.plug(0, true).unwrap();
    let right = console.expect_from(lost.end, &["10.0.0.12/24 on eth2 from 10.0.0.1"], SOON).unwrap();
    let reached = console.expect_from(right.end, &["catalog: done"], SOON).unwrap();
    for fault in [BOOT_CARD, LINK_LOCAL, FOREIGN_NETWORK] {
        fault.at_master(node, master, node.switched_on() + reached.after);
    }
    let up = console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-ip=10.0.0.12") && up.line.contains(&node.spec.mac), "{}", up.line);
}

/// Says what year it is, sets the clock a long way forward, and lives on.
const TIMELESS: &str = r#"
say=BT-PROGRAM
echo "$say-UP in $(date +%Y)"
date -s 2044-05-06 > /dev/null
while sleep 2; do n=$((n + 1)); echo "$say-TICK $n in $(date +%Y)"; done
"#;

/// As the option below has it; it is renewed after 6 s and rebound after 12.
const LEASE: Duration = Duration::from_secs(60);
const SHORT_LEASE: &str = "options = { 51 = \"hex:0000003c\", 58 = \"hex:00000006\", 59 = \"hex:0000000c\" }";

fn a_lease_changes_and_runs_out_and_the_clock_jumps(room: &Room, mut site: Site, node: &Node) {
    let (console, master) = (&node.console, &room.master);
    let second = node.second_serial().unwrap();
    let up = console.expect("BT-PROGRAM-UP in 1970", BOOT).unwrap();
    second.expect("BT-PROGRAM-UP in 1970", SOON).unwrap();
    for fault in [FIRMWARE, DEAD_CARD] {
        fault.on_console(node, 0);
        fault.at_master(node, master, node.switched_on() + up.after);
    }
    console.expect_from(up.end, &["in 2044"], SOON).unwrap();

    // Renewed, and not only once: the server's own file says so.
    let mut renewals = Vec::new();
    wait_for("two renewals", SOON, || {
        let until = leased(room, node, "10.0.0.13")?;
        if renewals.last() != Some(&until) {
            renewals.push(until);
        }
        if renewals.len() > 2 { Ok(()) } else { Err(format!("{renewals:?}")) }
    })
    .unwrap();

    // The server that gave it does not hear what is sent to it alone: whoever hears the broadcast may confirm it.
    let deaf = node.ports[0].lose(true, "ip daddr 10.0.0.1 udp dport 67").unwrap();
    let before = leased(room, node, "10.0.0.13").unwrap();
    wait_for("the lease from whoever hears", SOON, || {
        let lost = deaf.frames().map_err(|error| error.to_string())?;
        let until = leased(room, node, "10.0.0.13")?;
        if lost > 0 && until > before { Ok(()) } else { Err(format!("{lost} lost, {before} s, {until} s")) }
    })
    .unwrap();
    drop(deaf);

    // Another address is reserved: the next renewal is refused.
    site.nodes = site.nodes.replace("10.0.0.13", "10.0.0.50");
    room.compile(&site).unwrap();
    wait_for("the new address everywhere", SOON, || {
        leased(room, node, "10.0.0.50")?;
        let (_, seeds) = tracked(room)?;
        if seeds.contains(&"10.0.0.50:6881".to_owned()) { Ok(()) } else { Err(format!("{seeds:?}")) }
    })
    .unwrap();
    [TAKEN_BACK, CHANGED].iter().for_each(|fault| fault.at_master(node, master, now()));
    // It seeds on, from there.
    let (hash, _) = tracked(room).unwrap();
    let pieces = format!("stat -c %s /var/lib/boottorrent/current/tftp/pieces/{hash}");
    let pieces = master.run(&pieces).unwrap().trim().parse::<usize>().unwrap() / 32;
    let hash = hash.parse::<InfoHash>().unwrap().0;
    let node_at = SocketAddrV4::new([10, 0, 0, 50].into(), 6881);
    Observer::new(&master.host.netns, &[node_at], hash, pieces).unwrap().expect_copy(SOON).unwrap();

    // The server does not hear it for longer than the lease lasts, and then it does.
    let lost = node.ports[0].lose(true, "udp dport 67").unwrap();
    RAN_OUT.at_master(node, master, now() + LEASE);
    drop(lost);
    CONFIRMED.at_master(node, master, now() + ASKS_AGAIN);
    wait_for("the lease in the server's file", SOON, || leased(room, node, "10.0.0.50")).unwrap();

    // The program has the consoles: what was said meanwhile stands there when it has ended.
    let after = console.end();
    console.expect_from(after, &["BT-PROGRAM-TICK"], SOON).unwrap();
    assert_eq!(console.count("BT-PROGRAM-UP"), 1, "the program was started again");
    console.send("\x1d\x1d\x1d");
    for fault in [TAKEN_BACK, CHANGED, RAN_OUT, CONFIRMED] {
        fault.on_console(node, after);
        second.expect(fault.sentence, SOON).unwrap();
    }
}

/// Until when the server's own file gives the node this address.
fn leased(room: &Room, node: &Node, address: &str) -> Result<u64, String> {
    let state = room.state("dhcp").map_err(|error| error.to_string())?;
    let leases = state["leases"].as_array().cloned().unwrap_or_default();
    let own: Vec<&Value> = leases.iter().filter(|lease| lease["mac"] == node.spec.mac.as_str()).collect();
    match own.as_slice() {
        [lease] if lease["address"] == address => lease["until"].as_u64().ok_or("no end".into()),
        other => Err(format!("{other:?}")),
    }
}

/// The program's torrent, and its peers' addresses as the tracker knows them.
fn tracked(room: &Room) -> Result<(String, Vec<String>), String> {
    let state = room.state("tracker").map_err(|error| error.to_string())?;
    let torrents = state["torrents"].as_array().cloned().unwrap_or_default();
    let torrent = torrents.iter().find(|torrent| torrent["name"] == "timeless").ok_or("no such torrent")?;
    let peers = torrent["peers"].as_array().cloned().unwrap_or_default();
    let addresses = peers.iter().filter_map(|peer| peer["address"].as_str().map(str::to_owned)).collect();
    Ok((torrent["info_hash"].as_str().unwrap_or_default().to_owned(), addresses))
}
