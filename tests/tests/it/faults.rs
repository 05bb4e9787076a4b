//! What goes wrong in a room: services die, the master goes away, a node loses power, an image changes under the seed;
//! and what both ends say of whatever keeps a node from booting.

pub(crate) mod table;
pub(crate) mod told;

use crate::boot::{BOOT, image_bytes};
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::master::Master;
use boottorrent_tests::network::Loss;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::observer::Observer;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::Receiver;
use std::time::Duration;
use table::{
    ALTERED_FILE, ENDS_AT_ONCE, NO_KERNEL, NOT_CONFIRMED, OTHERS_FILE, SILENT_DHCP, SILENT_TFTP, STANDSTILL,
    SUPERSEDED, TOO_SMALL,
};

const SOON: Duration = Duration::from_secs(30);
/// One copy of the small OS takes twelve seconds: a download has a middle.
const MASTER_MBIT: u32 = 40;

fn room_of(nodes: u8) -> (Room, Vec<NodeSpec>) {
    let specs: Vec<NodeSpec> = (1..=nodes).map(NodeSpec::new).collect();
    let site = Site::with(&[Os::small("small", "")]);
    let site = specs.iter().fold(site, |site, spec| site.node(spec, "os = \"small\""));
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(MASTER_MBIT).unwrap();
    (room, specs)
}

fn all_boot(nodes: &[Node]) {
    for node in nodes {
        node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    }
}

fn observer(room: &Room, nodes: u8) -> Observer {
    let (hash, pieces) = room.torrent().unwrap();
    let addresses: Vec<_> =
        (1..=nodes).map(|n| SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 10 + n), 6881)).collect();
    Observer::new(&room.master.host.netns, &addresses, hash, pieces).unwrap()
}

#[test]
fn each_service_is_killed_ten_times_in_a_download() {
    let (room, specs) = room_of(3);
    let nodes: Vec<Node> = specs.iter().map(|spec| room.node(spec).unwrap()).collect();
    let mut kills = 0;
    for round in 0..10 {
        for service in ["dhcp", "ra", "tftp", "tracker", "log", "seed"] {
            // A service that no packet has woken yet cannot be killed; it counts once the download is on.
            let unit = format!("boottorrent-{service}");
            wait_for(&format!("{unit} in round {round}"), BOOT, || {
                room.master.run(&format!("systemctl kill -s KILL {unit}.service")).map_err(|e| e.to_string())
            })
            .unwrap();
            kills += 1;
            // Its socket stays open and no limit is hit; where there is no socket it comes back by itself.
            wait_for(&format!("{unit} to be served again"), SOON, || {
                let line = format!(
                    "systemctl is-active --quiet {unit}.socket || systemctl is-active --quiet {unit}.service"
                );
                room.master.run(&line).map_err(|error| error.to_string())
            })
            .unwrap();
        }
    }
    all_boot(&nodes);
    println!("{kills} kills");
    let failed =
        room.master.run("systemctl list-units --state=failed --plain --no-legend 'boottorrent*'").unwrap();
    assert_eq!(failed, "");
}

#[test]
fn the_master_may_leave_once_the_nodes_hold_a_copy() {
    let (room, specs) = room_of(3);
    let nodes: Vec<Node> = specs.iter().map(|spec| room.node(spec).unwrap()).collect();
    let observer = observer(&room, 3);
    observer.expect_copy(BOOT).unwrap();
    drop(observer);
    room.master.run("systemctl stop boottorrent.target").unwrap();
    let unfinished = nodes.iter().filter(|node| node.console.count("BT-OS-UP") == 0).count();
    assert!(unfinished > 0, "the nodes were faster than the test: nothing is shown");
    all_boot(&nodes);
}

#[test]
fn a_node_that_loses_power_holds_nobody_up() {
    let (room, specs) = room_of(3);
    let mut nodes: Vec<Node> = specs.iter().map(|spec| room.node(spec).unwrap()).collect();
    wait_for("the middle of the download", BOOT, || {
        let sent = room.sent_by_seed();
        if sent > image_bytes() / 2 { Ok(()) } else { Err(format!("{sent} bytes sent")) }
    })
    .unwrap();
    nodes[0].cut_power();
    all_boot(&nodes[1..]);
    // And it boots when the power is back.
    nodes[0] = room.node(&specs[0]).unwrap();
    all_boot(&nodes[..1]);
}

#[test]
fn an_image_that_changed_after_gen_is_refused_by_name() {
    let room = Room::new().unwrap();
    let copies = "mkdir -p /srv/site/os/inplace && cp /srv/images/small/* /srv/site/os/inplace/";
    room.master.run(copies).unwrap();
    let spec = NodeSpec::new(1);
    let toml = "title = \"Small OS in place\"\nmethod = \"kexec\"\nkernel = \"vmlinuz\"\ninitrd = [\"initrd\"]\n\
                files = { \"payload.bin\" = \"/wrapped/payload.bin\" }\nin-place = true\n\
                cmdline = \"console=ttyS0 quiet bt-os=inplace\"\nmemory = \"64M\"\n";
    let os = Os { name: "inplace".into(), toml: toml.into() };
    let site = Site::with(&[os]).node(&spec, "os = \"inplace\"");
    room.compile(&site).unwrap();
    room.start().unwrap();
    room.master
        .run("printf changed | dd of=/srv/site/os/inplace/payload.bin conv=notrunc status=none")
        .unwrap();
    let node = room.node(&spec).unwrap();
    wait_for("the seed's refusal", BOOT, || {
        let journal = room.master.run("journalctl --no-pager -o cat -u boottorrent-seed").unwrap();
        let told = journal.lines().any(|line| line.contains("payload.bin") && line.contains("changed"));
        if told { Ok(()) } else { Err(journal) }
    })
    .unwrap();
    assert_eq!(node.console.count("BT-OS-UP"), 0);
    drop(node);
    // The maintainer compiles again, with the payload as it was: a node boots.
    room.master.run("cp /srv/images/small/payload.bin /srv/site/os/inplace/payload.bin").unwrap();
    room.compile(&site).unwrap();
    all_boot(&[room.node(&spec).unwrap()]);
}

#[test]
fn whatever_keeps_a_node_from_booting_is_a_sentence_at_both_ends() {
    let (served, chooses, starves) = (NodeSpec::new(3), NodeSpec::new(4), NodeSpec::new(5));
    let with = |name: &str, from: &str, to: &str| {
        let os = Os::small(name, "");
        Os { toml: os.toml.replace(from, to), ..os }
    };
    let oses = [
        with("a-huge", "\"64M\"", "\"64G\""),
        with("b-broken", "small/vmlinuz", "small/initrd"),
        Os::program("brief", "exit 3\n", ""),
        Os::small("late", ""),
        Os::small("small", ""),
    ];
    let mut site = Site::with(&oses).menu("a-huge", "300s");
    for (spec, keys) in [(&served, "os = \"small\""), (&chooses, ""), (&starves, "os = \"late\"")] {
        site = site.node(spec, keys);
    }
    let room = Room::serving(&site).unwrap();
    let [served, chooses, starves] = [served, chooses, starves].map(|spec| room.node(&spec).unwrap());
    let master = &room.master;
    let (compiled, is_compiled) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let served = &served;
        scope.spawn(move || services_that_do_not_answer_this_node(served, master, &is_compiled));
        scope.spawn(|| images_that_cannot_be(&chooses, master));
        let (start, _lost) = nobody_to_download_from(&starves, master);
        // What it waits for is replaced: it asks, and goes on with the new one.
        let late = site.oses.iter_mut().find(|os| os.name == "late").unwrap();
        late.toml =
            late.toml.lines().filter(|line| !line.starts_with("files")).collect::<Vec<_>>().join("\n");
        room.compile(&site).unwrap();
        compiled.send(()).unwrap();
        SUPERSEDED.at_both_ends(&starves, master, start);
    });
}

fn services_that_do_not_answer_this_node(node: &Node, master: &Master, compiled: &Receiver<()>) {
    let (console, port) = (&node.console, &node.ports[0]);
    let start = console.expect("process 1 is up", BOOT).unwrap().end;
    let answers = port.lose(false, "udp dport 68").unwrap();
    console.expect_from(start, &["eth0: asking for an address ("], SOON).unwrap();
    // Others are heard, so the port is not to blame.
    master.run("boottorrentctl wake n03").unwrap();
    let silent = SILENT_DHCP.on_console(node, start);
    // DHCP's message type is the first option: an ACK. 236 bytes of BOOTP and its cookie stand before it.
    let acks = port.lose(false, "udp dport 68 @th,1984,24 0x350105").unwrap();
    drop(answers);
    let half = NOT_CONFIRMED.on_console(node, silent.end);
    let questions = port.lose(true, "udp dport 69").unwrap();
    drop(acks);
    let deaf = SILENT_TFTP.at_both_ends(node, master, half.end);
    // A generation that comes now would have the right files again.
    compiled.recv().unwrap();
    let own = "/var/lib/boottorrent/current/tftp/nodes/52-54-00-b7-00-03";
    let others = own.replace("-03", "-04");
    let copy = |from: &str, to: &str| {
        master.run(&format!("cp -p {from} {to} && cp -p {from}.minisig {to}.minisig")).unwrap();
    };
    copy(own, "/tmp/own");
    copy(&others, own);
    drop(questions);
    let foreign = OTHERS_FILE.at_both_ends(node, master, deaf.end);
    copy("/tmp/own", own);
    master.run(&format!("sed -i 's/small/SMALL/' {own}")).unwrap();
    let altered = ALTERED_FILE.at_both_ends(node, master, foreign.end);
    copy("/tmp/own", own);
    let reached = console.expect_from(altered.end, &["catalog: done"], BOOT).unwrap();
    for fault in [SILENT_DHCP, NOT_CONFIRMED] {
        fault.at_master(node, master, node.switched_on() + reached.after);
    }
    console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
}

fn images_that_cannot_be(node: &Node, master: &Master) {
    for (key, fault) in [("1\r", TOO_SMALL), ("2\r", NO_KERNEL), ("3\r", ENDS_AT_ONCE)] {
        node.console.expect_shown("hoose an operating system", BOOT).unwrap();
        let start = node.console.end();
        node.console.send(key);
        fault.at_both_ends(node, master, start);
    }
}

/// Where its console is then, and what must not be found again before the end.
fn nobody_to_download_from(node: &Node, master: &Master) -> (usize, [Loss; 2]) {
    let start = node.console.expect("process 1 is up", BOOT).unwrap().end;
    let lost = ["tcp dport 6881", "udp dport 6969"].map(|rule| node.ports[0].lose(true, rule).unwrap());
    (STANDSTILL.at_both_ends(node, master, start).end, lost)
}
