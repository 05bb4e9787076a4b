//! A program in place of a kernel: it runs in its own root on the node's consoles, the node serves on meanwhile, and the
//! menu comes back after it.

use crate::boot::BOOT;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::os;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::time::Duration;

/// What a stage or a person needs once the program is there.
const SOON: Duration = Duration::from_secs(60);

/// A line that has no pages yet has the menu as a list, under the same words.
pub(crate) fn at_menu(node: &Node) {
    node.console.expect_shown("hoose an operating system", SOON).unwrap();
}

/// Says what it finds, tries what it must not, leaves an orphan behind, and ends when somebody has typed a line.
const CURIOUS: &str = r#"
say=BT-PROGRAM
mkdir -p /etc/written && echo yes > /etc/written/here
echo overwrite 2>/dev/null > /os/payload.bin && echo $say-BAD the placed file was written to
(sleep 1000 &)
echo "$say-UP host=$0 memory=$1 cpus=$2 tty=$(tty) in=$(pwd) who=$WHO shm=$(ls -d /dev/shm) \
written=$(cat /etc/written/here) dns=$(echo $(cat /etc/resolv.conf)) name=$(cat /etc/hostname) sum=$(sha256sum < /os/payload.bin | head -c 64) size=$(stty size)"
read line
echo "$say-READ $line"
"#;

#[test]
fn a_program_has_its_root_and_the_consoles_and_the_menu_comes_back() {
    let spec = NodeSpec::new(1);
    let more = "env = { WHO = \"{ip}\" }\nworkdir = \"/etc\"\nnice = 5";
    let site = Site::with(&[Os::program("curious", CURIOUS, more)]).node(&spec, "os = \"curious\"");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    for round in ["first", "second"] {
        // The menu shows the last words of the run before.
        let start = node.console.end();
        let start = node.console.expect_from(start, &["run: starting the program"], BOOT).unwrap().end;
        let up = line(&node, start, "BT-PROGRAM-UP", SOON);
        println!("{up}");
        for word in ["host=n01", "tty=/dev/pts/0", "in=/etc", "who=10.0.0.11", "shm=/dev/shm", "written=yes"]
        {
            assert!(up.contains(word), "{word} is missing in {up}");
        }
        assert!(up.contains("dns=search lab.example nameserver 10.0.0.1 name=n01 "), "{up}");
        let memory = up.split("memory=").nth(1).and_then(|rest| rest.split(' ').next());
        let memory: u32 = memory.and_then(|text| text.parse().ok()).unwrap();
        assert!((300..640).contains(&memory), "{memory} MiB for a guest of a node with 768");
        assert!(up.contains(&format!("sum={}", payload_sum())), "{up}");
        node.console.send(&format!("{round} line\r"));
        node.console.expect_from(start, &[&format!("BT-PROGRAM-READ {round} line")], SOON).unwrap();
        let ended = line(&node, start, "it ended with status 0 after", SOON);
        assert!(ended.contains("its last words:") && ended.contains("the menu again"), "{ended}");
        // The node's own entry names this program; what follows its end is a choice all the same.
        at_menu(&node);
        node.console.send("1\r");
    }
    let start = node.console.end();
    let start = node.console.expect_from(start, &["run: starting the program"], BOOT).unwrap().end;
    node.console.expect_from(start, &["BT-PROGRAM-UP"], SOON).unwrap();
    node.console.send("\x1d\x1d\x1d");
    let ended = line(&node, start, "it was ended at the console", SOON);
    assert!(ended.contains("the menu again"), "{ended}");
    assert_eq!(node.console.count("BT-PROGRAM-BAD"), 0);
    let (end, line) = room
        .expect_board("the program's end and its lines", |board| {
            let steps = &board.node(&spec.mac)?.steps;
            let end = steps.iter().find(|step| step.stage == "run" && step.event == "end")?.clone();
            Some((
                end,
                steps.iter().any(|step| step.event == "note" && step.text.contains("BT-PROGRAM-READ")),
            ))
        })
        .unwrap();
    assert!(end.text.contains("it ended with status 0"), "{}", end.text);
    assert!(line, "the program's lines go to the master, too");
}

/// The whole line in which a text stands.
pub(crate) fn line(node: &Node, start: usize, wanted: &str, limit: Duration) -> String {
    let seen = node.console.expect_from(start, &[wanted], limit).unwrap();
    node.console.expect_from(seen.end, &["\n"], SOON).unwrap();
    node.console.expect_from(start, &[wanted], SOON).unwrap().line
}

fn payload_sum() -> String {
    let payload = os::small().unwrap().join("payload.bin");
    let output = std::process::Command::new("sha256sum").arg(payload).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_program_that_ends_at_once_again_and_again_waits_longer_each_time() {
    let spec = NodeSpec::new(1);
    let broken = Os::program("broken", "echo I am broken; exit 3\n", "after = \"restart\"");
    let site = Site::with(&[broken]).node(&spec, "os = \"broken\"");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    for wait in [1, 2, 4] {
        let then = format!("it starts again in {wait} s");
        let told = node.console.expect(&then, BOOT).unwrap();
        assert!(told.line.contains("it ended with status 3 after"), "{}", told.line);
        assert!(told.line.contains("its last words: I am broken"), "{}", told.line);
    }
    room.expect_board("the failures", |board| {
        let failed = |wait: &str| {
            board.node(&spec.mac).is_some_and(|node| {
                node.failures().any(|step| step.stage == "run" && step.text.contains(wait))
            })
        };
        (failed("in 1 s") && failed("(3 times in a row within 2 s); it starts again in 4 s")).then_some(())
    })
    .unwrap();
}

/// A script that starts something that cannot be started, and the words of whoever finds that out.
fn faulty() -> [(Os, &'static [&'static str]); 4] {
    let placed = |os: Os, more: &str| Os {
        toml: os.toml.replace("payload.bin\" }", &format!("payload.bin\", {more} }}")),
        ..os
    };
    // This machine's own program and its loader, and none of its libraries.
    let lacking = placed(
        Os::program("lacking", "exec /os/ld.so /os/id\n", ""),
        "\"/lib64/ld-linux-x86-64.so.2\" = \"/os/ld.so\", \"/usr/bin/id\" = \"/os/id\"",
    );
    let mut data = Os::program("data", "", "");
    data.toml = data.toml.replace("\"/bin/sh\", \"-c\"", "\"/os/payload.bin\"");
    [
        (data, &["cannot start /os/payload.bin", "it is no program for this kind of processor"]),
        (
            Os::program("closed", "echo x > /etc/closed; exec /etc/closed\n", ""),
            &["status 126 (what it was to start cannot be executed)", "/etc/closed: Permission denied"],
        ),
        (lacking, &["status 127 (a program or a library", "libselinux.so.1: cannot open shared object file"]),
        (
            Os::program("missing", "exec /bin/nothing\n", ""),
            &["status 127 (a program or a library that it needs was not found)", "/bin/nothing: not found"],
        ),
    ]
}

#[test]
fn programs_that_cannot_be_end_in_a_sentence_and_the_menu() {
    let spec = NodeSpec::new(1);
    let glutton = Os::program("glutton", "awk 'BEGIN {{ s = \"x\"; while (1) s = s s }}'\n", "");
    let giant = Os::program("giant", "true\n", "");
    let giant = Os { toml: giant.toml.replace("\"64M\"", "\"4G\""), ..giant };
    let faulty = faulty();
    let mut oses = vec![giant, glutton];
    oses.extend(faulty.iter().map(|(os, _)| os.clone()));
    oses.sort_by(|a, b| a.name.cmp(&b.name));
    let number = |name: &str| 1 + oses.iter().position(|os| os.name == name).unwrap();
    let site = Site::with(&oses).node(&spec, "os = \"glutton\"");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    let told = line(&node, 0, "it took more memory than this node has for it", BOOT);
    assert!(told.contains("Program glutton") && told.contains("the menu again"), "{told}");
    at_menu(&node);
    // Process 1 and its worker are as they were, and serve what the program was started from.
    let copy = room.master.run(
        "/usr/lib/boottorrent/boottorrent-agent fetch /var/lib/boottorrent/current/tftp/torrents/glutton.torrent \
         --to /tmp/copy --peer 10.0.0.11:6881 --tracker 127.0.0.1:9 --linger 0 && cmp $(find /tmp/copy -name '*payload.bin') /srv/images/small/payload.bin",
    );
    copy.unwrap();
    assert_eq!(node.console.count("the worker died"), 0);
    let start = node.console.end();
    node.console.send(&format!("{}\r", number("giant")));
    let told = line(&node, start, "memory: FAILED", SOON);
    assert!(told.contains("this node is too small") && told.contains("program 4096"), "{told}");
    for (os, words) in &faulty {
        at_menu(&node);
        let start = node.console.end();
        node.console.send(&format!("{}\r", number(&os.name)));
        let told = line(&node, start, "run: FAILED", SOON);
        assert!(words.iter().all(|word| told.contains(word)), "{}: {told}", os.name);
        room.expect_board(words[0], |board| {
            let mut failures = board.node(&spec.mac)?.failures();
            failures.any(|step| step.stage == "run" && step.text.contains(words[1])).then_some(())
        })
        .unwrap();
    }
    at_menu(&node);
}

/// Stays until it is told to go, and says so.
const PATIENT: &str = r#"
say=BT-PROGRAM
trap 'echo $say-TERM; exit 0' TERM
echo "$say-UP $0"
while :; do sleep 1; done
"#;

#[test]
fn a_node_serves_its_image_while_the_program_runs_and_goes_off_in_order() {
    let specs = [NodeSpec::new(1), NodeSpec::new(2)];
    let more = "seed = { rate = \"80Mbit\" }\nafter = \"poweroff\"";
    let site = Site::with(&[Os::program("patient", PATIENT, more)]);
    let site = specs.iter().fold(site, |site, spec| site.node(spec, "os = \"patient\""));
    let room = Room::serving(&site).unwrap();
    let mut first = room.node(&specs[0]).unwrap();
    first.console.expect_line("BT-PROGRAM-UP n01", BOOT).unwrap();
    room.master.run("systemctl stop boottorrent-seed.socket boottorrent-seed.service").unwrap();
    let second = room.node(&specs[1]).unwrap();
    second.console.expect_line("BT-PROGRAM-UP n02", BOOT).unwrap();
    let report = room
        .expect_board("the second node's download", |board| {
            board.node(&specs[1].mac).filter(|report| report.seconds("download").is_some()).cloned()
        })
        .unwrap();
    let seconds = report.seconds("download").unwrap();
    println!("{} bytes from the first node in {seconds:.1} s", report.bytes_peers);
    assert_eq!(report.bytes_master, 0, "the master's seed is gone");
    assert!(report.bytes_peers > 48 << 20);
    let rate = report.bytes_peers as f64 * 8.0 / seconds / 1e6;
    assert!(rate < 80.0 * 1.05, "{rate:.1} Mbit/s, bounded to 80");
    first.press_power().unwrap();
    first.console.expect("BT-PROGRAM-TERM", SOON).unwrap();
    first.expect_off(SOON).unwrap();
}

/// What a node says of its memory before it downloads: MiB of the image, and MiB that are free.
fn bill(node: &Node) -> (u64, u64) {
    let text = line(node, 0, "free now", BOOT);
    let number = |before: &str| {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("{before:?} is not in {text}"));
        rest.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    (number("image "), number("MiB of "))
}

/// Fills as much memory as it is billed for, but for what shell and dd have themselves, and says so.
fn filling(name: &str, mib: u64) -> Os {
    const OWN: u64 = 8;
    let fill = mib.saturating_sub(OWN);
    let script = format!(
        "dd if=/dev/zero of=/tmp/filled bs=1048576 count={fill} && say=BT-PROGRAM && echo $say-FILLED\nread x\n"
    );
    let os = Os::program(name, &script, "");
    Os { toml: os.toml.replace("\"64M\"", &format!("\"{mib}M\"")), ..os }
}

#[test]
fn a_program_gets_what_it_was_billed_and_32_mib_more_are_refused_before_the_download() {
    /// What MemAvailable differs by from one boot to the next.
    const DRIFT: u64 = 6;
    const HEADROOM: u64 = 64;
    let spec = NodeSpec::new(1);
    let site = |oses: &[Os]| Site::with(oses).node(&spec, &format!("os = \"{}\"", oses[0].name));
    let room = Room::serving(&site(&[filling("fits", 1)])).unwrap();
    let (image, free) = bill(&room.node(&spec).unwrap());
    let fits = free - image - HEADROOM - DRIFT;
    println!("{free} MiB free, {image} of them for the image: {fits} for a program");
    room.compile(&site(&[filling("fits", fits), filling("short", fits + 32 + 2 * DRIFT)])).unwrap();
    let node = room.node(&spec).unwrap();
    node.console.expect("BT-PROGRAM-FILLED", BOOT).unwrap();
    node.console.send("done\r");
    at_menu(&node);
    let start = node.console.end();
    node.console.send("2\r");
    let refused = line(&node, start, "memory: FAILED", SOON);
    println!("{refused}");
    assert!(refused.contains("MiB of memory and needs"), "{refused}");
    let text = node.console.text();
    assert!(!text[start..].contains("download:"), "{}", &text[start..]);
}

/// Counts what an earlier one has left, leaves something itself that wants to stay, and stays.
const LITTERING: &str = r#"
say=BT-PROGRAM
left=$(cat /proc/[0-9]*/comm | awk '$0 == "sleep" {{ n++ }} END {{ print n + 0 }}')
(trap '' HUP TERM; sleep 1000 &)
echo "$say-UP left=$left"
while :; do read line; done
"#;

#[test]
fn a_worker_that_dies_takes_its_program_along_and_starts_it_again() {
    let spec = NodeSpec::new(1).second_serial();
    let site = Site::with(&[Os::program("littering", LITTERING, "")])
        .node(&spec, "os = \"littering\"")
        .bootstrap_cmdline("bt.debug=ttyS1");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    let rescue = node.second_serial().unwrap();
    node.console.expect_line("BT-PROGRAM-UP left=0", BOOT).unwrap();
    let start = node.console.end();
    rescue.send("kill-worker\r");
    node.console.expect_from(start, &["the worker died"], SOON).unwrap();
    let up = line(&node, start, "BT-PROGRAM-UP", BOOT);
    assert!(up.contains("left=0"), "{up}");
    let again = line(&node, start, "download: done", SOON);
    assert!(again.contains("0.0 MB from the master"), "{again}");
}
