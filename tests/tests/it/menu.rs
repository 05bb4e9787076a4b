//! A person at the node: the menu is on every console, and a USB keyboard reaches it.

use crate::boot::BOOT;
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::guest;
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::time::Duration;

const PRESS_AGAIN: Duration = Duration::from_secs(1);

#[test]
fn a_usb_keyboard_picks_the_second_entry_and_a_serial_line_the_first() {
    let with_keyboard = NodeSpec::new(1).usb_keyboard();
    let with_serial = NodeSpec::new(2);
    let site = Site::with(&[Os::small("alpha", ""), Os::small("beta", "")])
        .node(&with_keyboard, "")
        .node(&with_serial, "")
        .menu("alpha", "300s");
    let room = Room::serving(&site).unwrap();
    let keyboard = room.node(&with_keyboard).unwrap();
    let serial = room.node(&with_serial).unwrap();
    for node in [&keyboard, &serial] {
        node.console.expect_line("Small OS beta", BOOT).unwrap();
    }
    serial.console.send("1\r");
    // The driver of a USB keyboard comes a moment after the menu: a person would press again, too.
    wait_for("an answer to the keyboard", BOOT, || {
        keyboard.press(&["2", "ret"]).map_err(|error| error.to_string())?;
        keyboard.console.expect("choice: done", PRESS_AGAIN).map_err(|error| error.to_string())
    })
    .unwrap();
    let up = keyboard.console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-os=beta"), "{}", up.line);
    let up = serial.console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-os=alpha"), "{}", up.line);
}

#[test]
fn nobody_at_the_node_means_the_default() {
    let spec = NodeSpec::new(1);
    let site =
        Site::with(&[Os::small("alpha", ""), Os::small("beta", "")]).node(&spec, "").menu("beta", "2s");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    let up = node.console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-os=beta"), "{}", up.line);
}

#[test]
fn a_person_reads_chooses_fails_and_boots_by_keys() {
    let spec = NodeSpec::new(1);
    let with = |name: &str, from: &str, to: &str| {
        let os = Os::small(name, "");
        Os { toml: os.toml.replace(from, to), ..os }
    };
    let oses = [
        Os::small("alpha", ""),
        Os::small("beta", ""),
        with("huge", "memory = \"64M\"", "memory = \"64G\""),
        with("snow", "Small OS snow", "Été, Größe und ☃"),
    ];
    let site = Site::with(&oses).node(&spec, "").menu("alpha", "300s");
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(40).unwrap();
    let node = room.node(&spec).unwrap();
    let console = &node.console;
    // A collector of text gets text; a terminal that answers gets the pages that are on the screen.
    console.expect("choose an operating system", BOOT).unwrap();
    console.answer_as_terminal();
    let see = |wanted: &str| console.expect_shown(wanted, BOOT).unwrap();
    let menu = see("any key stops the countdown");
    assert!(menu.contains("Été, Größe und ☃") && menu.contains("52:54:00:b7:00:01  10.0.0.11"), "{menu}");
    node.keep_picture("menu").unwrap();
    node.press(&["down", "down"]).unwrap();
    see("this node is too small");
    node.keep_picture("menu-too-small").unwrap();
    node.press(&["d"]).unwrap();
    see("info-hash");
    node.keep_picture("details").unwrap();
    node.press(&["esc", "ret"]).unwrap();
    see("The stage \"memory\" failed");
    node.keep_picture("failure").unwrap();
    // Tried again from the menu, which says why it is there again.
    see("! this node is too small");
    node.press(&["2", "ret"]).unwrap();
    see("from the master");
    wait_for("progress of the download", BOOT, || {
        let sent = room.sent_by_seed();
        if sent > 12_000_000 { Ok(()) } else { Err(format!("{sent} bytes sent")) }
    })
    .unwrap();
    node.keep_picture("download").unwrap();
    node.press(&["l"]).unwrap();
    see("Esc: back");
    node.keep_picture("log").unwrap();
    node.press(&["esc"]).unwrap();
    let up = console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-os=beta"), "{}", up.line);
    // Between all those pages every sentence stands on a line of its own, once.
    let text = console.text();
    for (sentence, times) in
        [("choice: done in", 2), ("memory: FAILED after", 1), ("download: done in", 1), ("kexec: done in", 1)]
    {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(sentence)).collect();
        assert!(lines.iter().all(|line| line.starts_with('[')), "{lines:?}");
        assert_eq!(lines.len(), times, "{lines:?}");
    }
}

#[test]
fn power_off_in_mid_download_takes_two_keys() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("alpha", "")]).node(&spec, "os = \"alpha\"");
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(20).unwrap();
    let mut node = room.node(&spec).unwrap();
    node.console.expect("download: ", BOOT).unwrap();
    node.console.answer_as_terminal();
    node.console.expect_shown("pieces: ", BOOT).unwrap();
    node.press(&["p"]).unwrap();
    node.console.expect_shown("Power off? y: yes", BOOT).unwrap();
    node.press(&["y"]).unwrap();
    node.console.expect_line("powering off: asked for at the console", BOOT).unwrap();
    node.expect_off(BOOT).unwrap();
}

#[test]
fn uefi_is_told_to_start_the_local_disk() {
    let spec = NodeSpec::new(1).uefi().disk(Vec::new()).may_reset();
    let site = Site::with(&[Os::small("alpha", "")]).node(&spec, "").menu("alpha", "300s");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    node.console.expect("choose an operating system", BOOT).unwrap();
    node.console.answer_as_terminal();
    let shown = node.console.expect_shown("boot from local disk: ", BOOT).unwrap();
    let name =
        shown.split("boot from local disk: ").nth(1).unwrap().lines().next().unwrap().trim().to_owned();
    node.keep_picture("menu-uefi").unwrap();
    let before = node.console.end();
    node.press(&["b"]).unwrap();
    let off = node.console.expect_from(before, &["rebooting: local disk"], BOOT).unwrap();
    // The disk is empty: the firmware tries it first, says that it is, and goes on with the network.
    let next = node.console.expect_from(off.end, &["BdsDxe: "], BOOT).unwrap();
    let next = node.console.expect_from(next.end, &["\" from "], BOOT).unwrap();
    assert!(next.line.contains(&name), "{name:?} was not the first: {}", next.line);
}

#[test]
fn a_bios_boots_its_disk_once_by_key_and_once_what_the_master_orders() {
    let spec = NodeSpec::new(1).disk(guest::disk("BT-LOCAL-DISK")).may_reset();
    let site =
        Site::with(&[Os::small("alpha", ""), Os::small("beta", "")]).node(&spec, "").menu("alpha", "300s");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    let console = &node.console;
    console.expect("choose an operating system", BOOT).unwrap();
    console.send("b");
    let off =
        console.expect("rebooting: local disk: the master at 10.0.0.1 lets one boot pass", BOOT).unwrap();
    let disk = console.expect_from(off.end, &["BT-LOCAL-DISK"], BOOT).unwrap();
    let journal = room.master.run("journalctl --no-pager -o cat -u boottorrent-dhcp").unwrap();
    for told in
        ["asks to boot its own disk next time", "is told to boot its own disk this time, as it has asked"]
    {
        assert!(journal.contains(&format!("52:54:00:b7:00:01 (n01) {told}")), "{told}: {journal}");
    }
    let ordered = room.master.run("boottorrentctl boot n01 --os beta; boottorrentctl status").unwrap();
    assert!(
        ordered.contains("n01 (52:54:00:b7:00:01): boots \"beta\" next, once, if it comes within 1h"),
        "{ordered}"
    );
    assert!(ordered.contains("    next boot, if it comes within "), "{ordered}");
    node.reset().unwrap();
    let chosen = console.expect_from(disk.end, &["ordered at the master, for this boot"], BOOT).unwrap();
    let up = console.expect_from(chosen.end, &["BT-OS-UP"], BOOT).unwrap();
    let up = console.expect_from(up.end, &["bt-os=beta"], BOOT).unwrap();
    let after = room.master.run("boottorrentctl status").unwrap();
    assert!(!after.contains("next boot"), "{after}");
    node.reset().unwrap();
    console.expect_from(up.end, &["choose an operating system"], BOOT).unwrap();
    assert_eq!(console.count("BT-LOCAL-DISK"), 1);
}
