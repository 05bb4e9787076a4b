//! Ways in: a shell from the menu and in mid-download, a second console with the log, the words of the kernel's command
//! line, and a machine that has had enough of failures.

use crate::boot::BOOT;
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::console::Console;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::time::Duration;

/// What a stage, a shell or a person's key needs.
const SOON: Duration = Duration::from_secs(60);
const GREETING: &str = "exit goes back to it.";

/// Types a line into a shell and waits for what it prints, which must not stand in the line itself.
fn ask(console: &Console, line: &str, answer: &str) {
    let start = console.end();
    console.send(&format!("{line}\r"));
    console.expect_from(start, &[answer], SOON).unwrap();
}

/// Ends a command by Ctrl-C, as a shell with job control lets people do. The word comes from within the command: a key
/// that comes while the shell still forks is lost in any shell.
fn interrupt(console: &Console) {
    let start = console.end();
    console.send("sh -c 'echo BT-WAIT; exec sleep 1000'\r");
    console.expect_from(start, &["\nBT-WAIT"], SOON).unwrap();
    console.send("\x03");
    ask(console, "echo BT-$?", "BT-130");
}

/// Waits, in a shell, until the command there succeeds.
fn until(console: &Console, command: &str) {
    ask(console, &format!("until {command}; do sleep 0.1; done; echo BT-DONE-$((40+2))"), "BT-DONE-42");
}

#[test]
fn a_person_gets_in_before_beside_and_in_the_middle_of_a_boot() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("alpha", ""), Os::small("beta", "")])
        .node(&spec, "")
        .menu("alpha", "5s")
        .busybox()
        .bootstrap_cmdline("bt.rescue bt.debug bt.timeout=300 bt.colour=red bt.panic=soon");
    let room = Room::new().unwrap();
    let told = room.compile(&site).unwrap();
    let size = told.lines().find(|line| line.starts_with("bootstrap: busybox")).unwrap();
    println!("{size}");
    assert!(size.contains("to fetch"), "{size}");
    room.start().unwrap();
    room.master.host.limit(40).unwrap();
    let node = room.node(&spec).unwrap();
    let console = &node.console;
    before_the_network(console);
    // The site says five seconds.
    console.expect("choose an operating system", BOOT).unwrap();
    console.answer_as_terminal();
    let menu = console.expect_shown("any key stops the countdown", SOON).unwrap();
    let seconds = menu.split("starts in ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!((100..=300).contains(&seconds.parse::<u32>().unwrap()), "{menu}");

    let start = console.end();
    console.send("s");
    console.expect_from(start, &[GREETING], SOON).unwrap();
    ask(console, "stty size", "24 80");
    the_second_console(&node);
    console.send("exit\r");
    console.expect_shown("Choose an operating system", SOON).unwrap();

    console.send("2\r");
    console.expect_shown("from the master", SOON).unwrap();
    in_mid_download(&room, &spec, console);
    let up = console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-os=beta"), "{}", up.line);
}

fn before_the_network(console: &Console) {
    console.expect(GREETING, BOOT).unwrap();
    for sentence in [
        "kernel command line: bt.colour=red: no such word, only bt.debug",
        "kernel command line: bt.panic=soon: it must be a number of seconds",
    ] {
        console.expect(sentence, SOON).unwrap();
    }
    assert_eq!(console.count("lease: "), 0, "nothing of the network comes before it");
    ask(console, "tty", "/dev/ttyS0");
    ask(console, "awk 'BEGIN { print \"BT-\" 7*8 }'", "BT-56");
    interrupt(console);
    console.send("exit\r");
    console.expect("rescue: done", SOON).unwrap();
}

/// Everything on it by the keys of the node's keyboard; what it shows is read from the shell on the serial line.
fn the_second_console(node: &Node) {
    let console = &node.console;
    let shows = |text: &str| until(console, &format!("fold -w 80 /dev/vcs2 | grep -q '{text}'"));
    node.press(&["alt-f2"]).unwrap();
    shows("choice: which operating system to start");
    shows("Enter: a shell");
    node.keep_picture("second-console").unwrap();
    // bt.debug: the kernel's own words, from the first on.
    node.press(&["home"]).unwrap();
    shows("kernel: Linux version");
    node.press(&["end", "ret"]).unwrap();
    shows("A shell on tty2");
    let keys = ["t", "o", "u", "c", "h", "spc", "slash", "x", "ret", "e", "x", "i", "t", "ret"];
    node.press(&keys).unwrap();
    until(console, "[ -e /x ]");
    shows("Enter: a shell");
    node.press(&["alt-f1"]).unwrap();
}

fn in_mid_download(room: &Room, spec: &NodeSpec, console: &Console) {
    let start = console.end();
    console.send("s");
    console.expect_from(start, &[GREETING], SOON).unwrap();
    let before = room.sent_by_seed();
    wait_for("progress beside the shell", BOOT, || {
        let sent = room.sent_by_seed();
        if sent > before + 4_000_000 { Ok(()) } else { Err(format!("{sent} bytes sent")) }
    })
    .unwrap();
    // The next kernel does not take it from whoever is in it.
    wait_for("the wait for the shell", BOOT, || {
        let board = room.board().map_err(|error| error.to_string())?;
        let waits = board.node(&spec.mac).is_some_and(|node| node.steps.iter().any(is_wait));
        if waits { Ok(()) } else { Err(format!("{board:#?}")) }
    })
    .unwrap();
    ask(console, "echo BT-$((3*7))", "BT-21");
    assert_eq!(console.count("BT-OS-UP"), 0);
    console.send("exit\r");
}

fn is_wait(step: &boottorrent_tests::board::Step) -> bool {
    step.stage == "kexec" && step.text.contains("waits until the shell on ttyS0 is left")
}

#[test]
fn the_command_line_has_the_last_word_on_the_master() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("alpha", "")]).node(&spec, "").bootstrap_cmdline("bt.master=10.0.0.9");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    let lease = node.console.expect_line("lease: done", BOOT).unwrap();
    assert!(lease.line.contains("from 10.0.0.1"), "{}", lease.line);
    node.console.expect_from(lease.end, &["catalog from 10.0.0.9: 0 bytes so far"], SOON).unwrap();
}

#[test]
fn nothing_but_failures_or_dying_workers_reboots() {
    let spec = NodeSpec::new(1).second_serial().may_reset();
    let site = |words: &str| {
        Site::with(&[Os::small("alpha", ""), Os::small("beta", "")])
            .node(&spec, "os = \"alpha\"")
            .bootstrap_cmdline(&format!("bt.debug=ttyS1 {words}"))
    };
    let room = Room::serving(&site("bt.os=gamma bt.panic=6")).unwrap();
    let node = room.node(&spec).unwrap();
    let failed =
        node.console.expect_line("bt.os= on the kernel's command line wants \"gamma\"", BOOT).unwrap();
    let off = node.console.expect_line("rebooting: nothing but failures for ", SOON).unwrap();
    assert!(off.line.contains("(bt.panic=6)"), "{}", off.line);
    assert!((off.after - failed.after).as_secs() >= 5, "{:?} to {:?}", failed.after, off.after);
    node.console.expect_from(off.end, &["process 1 is up"], BOOT).unwrap();
    drop(node);

    // A worker that dies in a download again and again gets no further.
    room.compile(&site("bt.os=beta bt.panic=9")).unwrap();
    room.master.host.limit(40).unwrap();
    let node = room.node(&spec).unwrap();
    node.console.expect_line("Small OS beta (bt.os= on the kernel's command line)", BOOT).unwrap();
    let commands = node.second_serial().unwrap();
    let mut start = 0;
    for death in 0.. {
        let rebooting = "rebooting: nothing but failures for";
        let begun = node.console.expect_from(start, &["download: downloading", rebooting], BOOT).unwrap();
        if begun.line.contains(rebooting) {
            assert!(death >= 2, "after {death} deaths");
            node.console.expect_from(begun.end, &["process 1 is up"], BOOT).unwrap();
            break;
        }
        commands.send("kill-worker\r");
        start = node.console.expect_from(begun.end, &["Enter: start it now"], SOON).unwrap().end;
    }
}

#[test]
fn without_a_worker_the_keys_are_process_ones() {
    let spec = NodeSpec::new(1).second_serial();
    let site = Site::with(&[Os::small("alpha", "")])
        .node(&spec, "os = \"alpha\"")
        .busybox()
        .bootstrap_cmdline("bt.debug=ttyS1");
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(20).unwrap();
    let mut node = room.node(&spec).unwrap();
    let commands = node.second_serial().unwrap();
    let console = &node.console;
    let mut start = 0;
    // The wait doubles: after the fourth death it is eight seconds, enough for a person.
    for _ in 0..4 {
        let begun = console.expect_from(start, &["download: downloading"], BOOT).unwrap();
        commands.send("kill-worker\r");
        start = console.expect_from(begun.end, &["Enter: start it now"], SOON).unwrap().end;
    }
    console.send("s");
    console.expect_from(start, &[GREETING], SOON).unwrap();
    // The new worker leaves the shell alone and downloads on, and the shell is left to the new worker.
    let before = room.sent_by_seed();
    wait_for("the next worker's download", BOOT, || {
        let sent = room.sent_by_seed();
        if sent > before + 2_000_000 { Ok(()) } else { Err(format!("{sent} bytes sent")) }
    })
    .unwrap();
    ask(console, "echo BT-$((5*5))", "BT-25");
    interrupt(console);
    console.send("exit\r");
    let begun = console.expect_from(start, &["download: downloading"], SOON).unwrap();
    commands.send("kill-worker\r");
    let died = console.expect_from(begun.end, &["Enter: start it now"], SOON).unwrap();
    console.send("\r");
    let again = console.expect_from(died.end, &["modules: loading"], SOON).unwrap();
    let waited = again.after - died.after;
    assert!(waited < Duration::from_secs(10), "it would have been 16 s, and was {waited:?}");
    commands.send("kill-worker\r");
    start = console.expect_from(again.end, &["Enter: start it now"], SOON).unwrap().end;
    // Process 1 replaces itself, first without a worker, then beside one: nobody draws over the shell.
    console.send("s");
    start = console.expect_from(start, &[GREETING], SOON).unwrap().end;
    room.master.host.limit(4).unwrap();
    for _ in 0..2 {
        let (panicked, before) = (console.end(), room.sent_by_seed());
        commands.send("panic-init\r");
        console.expect_from(panicked, &["starts afresh"], SOON).unwrap(); // the kernel's word
        wait_for("the download beside the new process 1", BOOT, || {
            let sent = room.sent_by_seed();
            if sent > before + 500_000 { Ok(()) } else { Err(format!("{sent} bytes sent")) }
        })
        .unwrap();
        ask(console, "echo BT-$((6*6))", "BT-36");
    }
    let text = console.text();
    let (_, shell) = text.rsplit_once(GREETING).unwrap();
    assert!(!shell.contains("download: "), "{shell}");
    interrupt(console);
    console.send("exit\r");
    start = console.expect_from(start, &["process 1 is up"], SOON).unwrap().end; // what it kept to itself meanwhile
    commands.send("kill-worker\r");
    start = console.expect_from(start, &["Enter: start it now"], SOON).unwrap().end;
    console.send("p");
    console.expect_from(start, &["powering off: asked for at the console"], SOON).unwrap();
    node.expect_off(SOON).unwrap();
}
