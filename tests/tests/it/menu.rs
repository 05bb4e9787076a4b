//! A person at the node: the menu is on every console, and a USB keyboard reaches it.

use crate::boot::BOOT;
use boottorrent_tests::clock::wait_for;
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
