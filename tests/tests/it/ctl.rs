//! boottorrentctl on a real master: what it says of units that wait, fail and are stopped, of nodes that report and of
//! strangers who lie, and where its magic packets go.

use crate::boot::BOOT;
use boottorrent_swarm::Mac;
use boottorrent_swarm::record::{Event, Record};
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::network::Host;
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const LOG: &str = "10.0.0.1:514";
/// What the log service may take in a flood: its buffers, and a table of nobody.
const GROWTH_KIB: u64 = 16 << 10;

/// What boottorrentctl wrote to both outputs, and its exit status.
fn ctl(room: &Room, arguments: &str) -> (String, i32) {
    let text =
        room.master.run(&format!("boottorrentctl {arguments} 2>&1; status=$?; echo; echo $status")).unwrap();
    let (said, status) = text.trim_end().rsplit_once('\n').unwrap();
    (said.trim_end().to_owned(), status.parse().unwrap())
}

fn status(room: &Room) -> Value {
    let (said, _) = ctl(room, "status --json");
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
}

fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    let list = status["services"].as_array().unwrap();
    list.iter().find(|service| service["name"] == name).unwrap_or_else(|| panic!("no {name}: {status:#}"))
}

fn node<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    status["nodes"].as_array().unwrap().iter().find(|node| node["name"] == name)
}

/// A socket that lives in a host's network.
fn socket(host: &Host, address: &str) -> UdpSocket {
    let (path, address) = (Path::new("/run/netns").join(&host.netns), address.to_owned());
    // The namespace belongs to a thread; the socket stays in the one that it was made in.
    let made = std::thread::spawn(move || {
        setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
        UdpSocket::bind(address).unwrap()
    });
    made.join().unwrap()
}

fn record(mac: &str, sequence: u32, stage: &str, event: Event, text: &str) -> Record {
    Record {
        node: "whatever it says".into(),
        mac: mac.parse().unwrap(),
        boot: 0xbeef,
        sequence,
        stage: stage.into(),
        event,
        elapsed_ms: u64::from(sequence) * 1000,
        params: vec![],
        text: text.into(),
    }
}

fn progress(mac: &str, sequence: u32, done: u64) -> Record {
    let numbers = [("bytes_done", done), ("bytes_total", 100_000_000), ("bytes_peers", done), ("peers", 3)];
    let params = numbers.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec();
    Record { params, ..record(mac, sequence, "download", Event::Progress, "") }
}

#[test]
fn status_tells_of_units_that_wait_and_of_those_that_do_not() {
    let room = Room::new().unwrap();
    let (said, code) = ctl(&room, "status");
    assert!(code == 1 && said.contains("run boottorrent-gen"), "{said}");
    room.compile(&Site::with(&[Os::small("small", "")])).unwrap();
    let (said, code) = ctl(&room, "status");
    assert!(code == 1 && said.contains("boottorrent.target is stopped and nothing is served"), "{said}");
    room.start().unwrap();
    let (said, code) = ctl(&room, "status");
    println!("{said}");
    assert_eq!(code, 0, "{said}");
    for (name, socket) in [
        ("dhcp", "UDP 0.0.0.0:67"),
        ("tftp", "UDP 10.0.0.1:69"),
        ("tracker", "UDP+TCP 10.0.0.1:6969"),
        ("seed", "TCP 10.0.0.1:6881"),
        ("log", "UDP 10.0.0.1:514"),
    ] {
        let row = said.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        assert!(row.contains(socket) && row.ends_with("listening, no request yet"), "{row}");
    }
    assert!(said.lines().any(|line| line.starts_with("ra ") && line.contains("running")), "{said}");
    // A first packet, and the sentence is another one.
    room.master.host.run(&["bash", "-c", "exec 3<>/dev/tcp/10.0.0.1/6881"]).unwrap();
    wait_for("the seed in the table", SOON, || {
        let status = status(&room);
        let seed = service(&status, "seed");
        if seed["state"] == "running" { Ok(()) } else { Err(seed.to_string()) }
    })
    .unwrap();
    let drop_in = "/etc/systemd/system/boottorrent-ra.service.d/broken.conf";
    room.master.write(drop_in, "[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n").unwrap();
    room.master.run("systemctl daemon-reload; systemctl restart boottorrent-ra; true").unwrap();
    let (said, code) = ctl(&room, "status");
    assert!(code == 1 && said.contains("failed, it ended with status 1"), "{said}");
    let watched = room.master.run("boottorrentctl status --json --watch | head -n 2").unwrap();
    let documents = watched.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let times: Vec<u64> = documents.map(|document| document["at"].as_u64().unwrap()).collect();
    assert!(times.len() == 2 && times[0] < times[1], "{times:?}");
    let unprivileged = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let said = room.master.run(&format!("{unprivileged} boottorrentctl status; echo $?")).unwrap();
    assert!(
        said.contains("UDP 10.0.0.1:514") && said.contains("log.json can be read by root only"),
        "{said}"
    );
    let (said, code) = ctl(&room, "stats");
    assert!(code == 2 && said.contains("there is no command"), "{said}");
    room.master
        .run("systemctl revert boottorrent-ra.service; systemctl restart boottorrent-ra; true")
        .unwrap();
    room.master
        .run("systemctl stop boottorrent-seed.service; echo nonsense > /run/boottorrent/seed.json")
        .unwrap();
    let (said, code) = ctl(&room, "status");
    assert!(code == 1 && said.contains("seed.json is not of this version's form"), "{said}");
    assert_eq!(status(&room)["well"], false, "nobody knows what the seed does");
}

#[test]
fn records_are_shown_and_strangers_take_nobodys_place() {
    let (named, second) = (NodeSpec::new(1), NodeSpec::new(2));
    let mut site = Site::with(&[Os::small("small", "")]).node(&named, "os = \"small\"").node(&second, "");
    let room = Room::serving(&site).unwrap();
    let before = status(&room);
    assert_eq!(
        (&before["nodes"][0]["state"], &before["nodes"][1]["name"]),
        (&"unseen".into(), &"n02".into())
    );
    let host = room.lab.network.host("n", "10.0.0.11/24").unwrap();
    let voice = socket(&host, "10.0.0.11:0");
    let say = |record: &Record| voice.send_to(record.emit().as_bytes(), LOG).unwrap();
    say(&record(&named.mac, 1, "lease", Event::Fail, "nobody answered"));
    say(&record(&named.mac, 2, "lease", Event::End, "10.0.0.11"));
    say(&record(&named.mac, 3, "download", Event::Begin, "downloading"));
    for (sequence, done) in [(4, 10_000_000), (5, 20_000_000), (6, 30_000_000)] {
        say(&progress(&named.mac, sequence, done));
    }
    let seen = wait_for("the node in the table", SOON, || {
        let status = status(&room);
        let seen = node(&status, "n01").filter(|node| node["percent"] == 30).cloned();
        seen.ok_or_else(|| status.to_string())
    });
    let seen = seen.unwrap();
    assert_eq!(
        (&seen["stage"], &seen["rate"], &seen["peers"]),
        (&"download".into(), &10_000_000.into(), &3.into())
    );
    assert_eq!((&seen["last_error"]["overcome"], &seen["address"]), (&true.into(), &"10.0.0.11".into()));

    let (said, code) = ctl(&room, "log n01");
    println!("{said}");
    assert_eq!((code, said.lines().count()), (0, 3), "progress is no matter of the journal: {said}");
    assert!(said.contains("n01 lease: failed after 1.00 s: nobody answered"), "{said}");
    let fields = "journalctl -q -o json _SYSTEMD_UNIT=boottorrent-log.service STAGE=lease EVENT=fail";
    let entry: Value = serde_json::from_str(&room.master.run(fields).unwrap()).unwrap();
    let of_entry = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(["NODE", "MAC", "BOOT", "SECONDS"].map(of_entry), ["n01", &named.mac, "0000beef", "1.000"]);
    let (said, code) = ctl(&room, "log n02");
    assert!(code == 1 && said.contains("has no word of n02"), "{said}");
    programs(&room, &host, &second);

    flood(&room, &named);
    // The table outlives the service, and another generation.
    room.master.run("systemctl restart boottorrent-log.service").unwrap();
    site.nodes = site.nodes.replace("\"n01\"", "\"front\"");
    room.compile(&site).unwrap();
    say(&record(&named.mac, 9, "download", Event::End, "all of it"));
    wait_for("the node under its new name", SOON, || {
        let status = status(&room);
        let front = node(&status, "front").filter(|node| node["percent"] == 100 && node["boots"] == 1);
        front.map(drop).ok_or_else(|| status.to_string())
    })
    .unwrap();
    boots(&room, &say, &named);
}

/// A node that runs a program is neither booting nor gone, whatever went wrong on its way there.
fn programs(room: &Room, host: &Host, node_spec: &NodeSpec) {
    let voice = socket(host, "10.0.0.11:0");
    for (sequence, stage, event, text) in [
        (1, "run", Event::Begin, "starting the program"),
        (2, "worker", Event::Fail, "killed by signal 9"),
        (3, "run", Event::Begin, "starting the program"),
    ] {
        voice.send_to(record(&node_spec.mac, sequence, stage, event, text).emit().as_bytes(), LOG).unwrap();
    }
    let running = wait_for("the program in the table", SOON, || {
        let status = status(room);
        let row = node(&status, &node_spec.name).cloned().unwrap_or_default();
        if row["state"] == "running" { Ok((row, status["at"].clone())) } else { Err(row.to_string()) }
    });
    let (row, at) = running.unwrap();
    let since = at.as_u64().unwrap() - row["since"].as_u64().unwrap();
    assert!(since < 60 && row["last_error"]["overcome"] == true, "{row:#}");
    let (said, _) = ctl(room, "status");
    assert!(said.contains(", 1 running") && said.contains("  run "), "{said}");
}

/// The node starts anew: its log is that of the latest boot, unless another one is asked for.
fn boots(room: &Room, say: &dyn Fn(&Record) -> usize, node: &NodeSpec) {
    let mut again = record(&node.mac, 1, "link", Event::Begin, "once more");
    again.boot = 0xcafe;
    say(&again);
    let again = wait_for("the second boot in the journal", SOON, || match ctl(room, "log front") {
        (said, 0) if said.contains("once more") => Ok(said),
        (said, _) => Err(said),
    });
    assert_eq!(again.unwrap().lines().count(), 1);
    let (said, code) = ctl(room, "log front --boot -1");
    assert!(code == 0 && said.lines().count() == 4 && !said.contains("once more"), "{said}");
    assert_eq!(ctl(room, &format!("log {} --boot all", node.mac)).0.lines().count(), 5);
    let (said, code) = ctl(room, "log front --boot -2");
    assert!(code == 1 && said.contains("knows 2 boots of front: --boot 0 to --boot -1"), "{said}");
    // What follows is the past, and then what comes.
    let follow = "timeout 60 boottorrentctl log front --follow | grep -m 1 comes-late";
    let mut follower = room.master.enter(follow).stdout(Stdio::piped()).spawn().unwrap();
    let mut number = 1;
    let told = wait_for("what comes after the past", SOON, || {
        number += 1;
        let mut late = record(&node.mac, number, "link", Event::Note, "comes-late");
        late.boot = 0xcafe;
        say(&late);
        follower.try_wait().unwrap().ok_or_else(|| format!("{number} notes"))
    });
    assert!(told.unwrap().success());
}

/// Somebody at another address invents nodes, speaks for one that is there, and shouts.
fn flood(room: &Room, named: &NodeSpec) {
    let resident = || {
        let line = "grep VmRSS /proc/$(systemctl show -P MainPID boottorrent-log.service)/status";
        room.master.run(line).unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = resident();
    let liar = room.lab.network.host("x", "10.0.0.66/24").unwrap();
    let voice = socket(&liar, "10.0.0.66:0");
    for n in 0..20_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let mac = Mac([6, 0, 0, a, b, c]).to_string();
        let invented = record(&mac, n, "link", Event::Fail, &"\u{1b}[2J x".repeat(150));
        // What does not fit the socket is lost, as it is on any wire.
        let _ = voice.send_to(invented.emit().as_bytes(), LOG);
    }
    // Its allowance comes back; then it lies about a node.
    let forged = wait_for("the forgery's refusal", SOON, || {
        let _ = voice.send_to(record(&named.mac, 99, "kexec", Event::Fail, "forged").emit().as_bytes(), LOG);
        let state = room.state("log").map_err(|e| e.to_string())?;
        let refused = state["warnings"]["record dropped, its node speaks from another address"].as_u64();
        refused.map(|_| state.clone()).ok_or_else(|| state["warnings"].to_string())
    });
    let warnings = forged.unwrap()["warnings"].clone();
    assert!(warnings["messages dropped, the sender says too much"].as_u64() > Some(1000), "{warnings}");
    let status = status(room);
    let nodes = status["nodes"].as_array().unwrap();
    assert!(nodes.len() <= 2 + 8, "{} nodes", nodes.len());
    let named = node(&status, "n01").unwrap();
    assert_eq!((&named["stage"], &named["address"]), (&"download".into(), &"10.0.0.11".into()));
    let grown = resident().saturating_sub(before);
    assert!(grown < GROWTH_KIB, "the log service has grown by {grown} KiB");
    let (said, _) = ctl(room, "status");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn a_magic_packet_arrives_or_the_sites_own_command_runs() {
    let specs = [NodeSpec::new(1), NodeSpec::new(2)];
    let mut site = specs.iter().fold(Site::with(&[Os::small("small", "")]), |site, spec| site.node(spec, ""));
    let room = Room::new().unwrap();
    room.compile(&site).unwrap();
    // It has no address: a machine that is switched off has none, and its card hears the frame all the same.
    let asleep = room.lab.network.host("n", "").unwrap();
    let card = socket(&asleep, "0.0.0.0:9");
    setsockopt(&card, sockopt::BindToDevice, &"eth0".into()).unwrap();
    card.set_read_timeout(Some(SOON)).unwrap();
    let (said, code) = ctl(&room, "wake n02");
    assert_eq!(code, 0, "{said}");
    let sent = "magic packet sent to UDP 9 of 255.255.255.255 and 10.0.0.255 from eth0";
    assert_eq!(said, format!("n02 (52:54:00:b7:00:02): {sent}"));
    assert_eq!(heard(&card), [0x52, 0x54, 0, 0xb7, 0, 2]);
    let (said, code) = ctl(&room, "wake --all");
    assert!(code == 0 && said.lines().count() == 2, "{said}");
    let (said, code) = ctl(&room, "wake n01 n03");
    assert!(code == 1 && said.contains("there is no node \"n03\""), "{said}");
    assert!(!said.contains("magic packet sent"), "nobody is woken where one is misspelt: {said}");

    site.more = "\n[power]\nwake = [\"/usr/local/bin/bmc\", \"{name}-bmc\", \"{mac}\", \"on\"]\n".into();
    room.master
        .write("/usr/local/bin/bmc", "#!/bin/sh\necho \"$@\" >> /tmp/woken\necho Chassis up\n")
        .unwrap();
    room.master.run("chmod 755 /usr/local/bin/bmc").unwrap();
    room.compile(&site).unwrap();
    let (said, code) = ctl(&room, "wake --all");
    assert!(code == 0 && said.contains("/usr/local/bin/bmc ended with status 0: Chassis up"), "{said}");
    let woken = room.master.run("cat /tmp/woken").unwrap();
    assert_eq!(woken, "n01-bmc 52:54:00:b7:00:01 on\nn02-bmc 52:54:00:b7:00:02 on\n");
    room.master.write("/usr/local/bin/bmc", "#!/bin/sh\necho no session >&2\nexit 1\n").unwrap();
    let (said, code) = ctl(&room, "wake n01");
    assert!(code == 1 && said.ends_with("ended with status 1: no session"), "{said}");
    interrupted(&room);
    orders(&room);
}

/// Ctrl-C ends the site's own command with everything that it has started, and wakes nobody else.
fn interrupted(room: &Room) {
    let hook =
        "#!/bin/sh\nsleep 600 &\necho $! > /tmp/sleeper.new\nmv /tmp/sleeper.new /tmp/sleeper\nsleep 600\n";
    room.master.write("/usr/local/bin/bmc", hook).unwrap();
    // What the tests' own parent ignores, as a shell does for what it puts into the background, it would ignore, too.
    let waking = "echo $$ > /tmp/ctl; exec env --default-signal=INT boottorrentctl wake --all 2>&1";
    let mut waking = room.master.enter(waking);
    let waking = waking.stdout(Stdio::piped()).spawn().unwrap();
    wait_for("the hook", SOON, || room.master.run("cat /tmp/sleeper").map_err(|e| e.to_string())).unwrap();
    room.master.run("kill -INT $(cat /tmp/ctl)").unwrap();
    let ended = waking.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stdout).unwrap();
    assert!(
        ended.status.code() == Some(1) && said.ends_with("interrupted; 1 more were to be woken\n"),
        "{said}"
    );
    wait_for("the end of what the hook has started", SOON, || {
        room.master.run("! kill -0 $(cat /tmp/sleeper)").map_err(|e| e.to_string())
    })
    .unwrap();
}

/// What nodes boot next is said to the DHCP server, awake or asleep, if there is one and the site has the image.
fn orders(room: &Room) {
    let (said, code) = ctl(room, "boot n01 --os small");
    assert!(code == 1 && said.contains("systemctl start boottorrent.target"), "{said}");
    room.master.write("/usr/local/bin/bmc", "#!/bin/sh\necho up\n").unwrap();
    room.start().unwrap();
    assert_eq!(service(&status(room), "dhcp")["state"], "listening");
    let (said, code) = ctl(room, "wake n01 --os small --within 10m");
    assert_eq!(code, 0, "{said}");
    let ordered = "n01 (52:54:00:b7:00:01): boots \"small\" next, once, if it comes within 10m; /usr/local/bin/bmc ended";
    assert!(said.starts_with(ordered), "{said}");
    let row = |name| node(&status(room), name).cloned().unwrap_or_default();
    let next = row("n01")["next_boot"].clone();
    assert!(next["os"] == "small" && next["by"] == "master" && next["until"].is_u64(), "{next}");
    assert_eq!(row("n02")["next_boot"], Value::Null);
    // A server that was killed and one of another generation still know it.
    room.master
        .run("systemctl kill -s KILL boottorrent-dhcp.service; systemctl restart boottorrent-dhcp")
        .unwrap();
    assert_eq!(row("n01")["next_boot"], next);
    let (said, code) = ctl(room, "boot --all --as-usual");
    let lines: Vec<&str> = said.lines().collect();
    assert!(code == 0 && lines[0].ends_with("what was ordered is taken back"), "{said}");
    assert!(lines[1].ends_with("nothing was ordered") && row("n01")["next_boot"].is_null(), "{said}");
    for (arguments, told) in [
        ("boot n01 --os smal", "the site has no operating system \"smal\"; did you mean \"small\"?"),
        ("boot n01 n03 --os small", "there is no node \"n03\""),
        ("wake n01 --os nothing-like-it", "it has small"),
    ] {
        let (said, code) = ctl(room, arguments);
        assert!(code == 1 && said.contains(told), "{arguments}: {said}");
    }
    let unprivileged =
        "setpriv --reuid=65534 --regid=65534 --clear-groups boottorrentctl boot n01 --local 2>&1";
    let said = room.master.run(&format!("{unprivileged}; echo $?")).unwrap();
    assert!(said.contains("by root only") && said.ends_with("\n1\n"), "{said}");
}

/// The MAC of the next packet, which is a magic one.
fn heard(card: &UdpSocket) -> [u8; 6] {
    let mut packet = [0; 200];
    let (length, from) = card.recv_from(&mut packet).unwrap();
    assert!(matches!(from, SocketAddr::V4(from) if from.ip().octets() == [10, 0, 0, 1]), "{from}");
    assert_eq!((length, &packet[..6]), (102, &[0xff; 6][..]));
    let mac: [u8; 6] = packet[6..12].try_into().unwrap();
    assert!(packet[6..102].chunks(6).all(|copy| copy == mac), "{packet:?}");
    mac
}

#[test]
fn a_real_boot_is_followed_from_the_first_word_to_the_last() {
    let spec = NodeSpec::new(1);
    let room = Room::serving(&Site::with(&[Os::small("small", "")]).node(&spec, "os = \"small\"")).unwrap();
    room.master.host.limit(40).unwrap();
    let machine = room.node(&spec).unwrap();
    wait_for("a machine in its firmware", BOOT, || {
        let status = status(&room);
        let row = node(&status, "n01").cloned().unwrap_or_default();
        let fetched = row["boot_file"]["name"].as_str().is_some_and(|name| name.starts_with("boot/"));
        if row["state"] == "firmware" && fetched { Ok(()) } else { Err(row.to_string()) }
    })
    .unwrap();
    println!("{}", ctl(&room, "status").0);
    let halfway = wait_for("a download with figures", BOOT, || {
        let status = status(&room);
        let row = node(&status, "n01").cloned().unwrap_or_default();
        let moving = row["percent"].as_u64() > Some(20) && row["percent"].as_u64() < Some(90);
        if moving && row["rate"].as_u64() > Some(0) { Ok(row) } else { Err(row.to_string()) }
    });
    let halfway = halfway.unwrap();
    println!("{halfway:#}\n{}", ctl(&room, "status").0);
    let rate = halfway["rate"].as_u64().unwrap();
    assert!((500_000..8_000_000).contains(&rate), "40 Mbit/s are 5 MB/s less headers, not {rate}");
    assert_eq!((&halfway["os"], &halfway["stage"]), (&"small".into(), &"download".into()));
    assert!(halfway["bytes_master"].as_u64() > Some(0) && halfway["peers"] == 1, "{halfway:#}");
    machine.console.expect_line("BT-OS-UP", BOOT).unwrap();
    wait_for("the hand-over in the table", SOON, || {
        let status = status(&room);
        let row = node(&status, "n01").cloned().unwrap_or_default();
        if row["state"] == "started" && row["percent"] == 100 { Ok(()) } else { Err(row.to_string()) }
    })
    .unwrap();
    let (said, code) = ctl(&room, "log n01");
    println!("{said}");
    assert_eq!(code, 0);
    for stage in ["link", "lease", "catalog", "choice", "memory", "download", "load", "kexec"] {
        assert!(said.contains(&format!("n01 {stage}: ended after ")), "{stage}: {said}");
    }
}
