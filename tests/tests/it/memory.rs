//! The memory bill of a kernel against real machines: who has just enough boots, and who lacks 32 MiB is told before the
//! download what it needs. The bill of a program is asked for where programs are (run.rs).

use crate::boot::BOOT;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};

/// MiB that MemAvailable and what the kernel keeps for itself differ by from one machine to the next.
const DRIFT: u32 = 6;
const LESS: u32 = 32;
/// Enough for the bootstrap, and for nothing else.
const TOO_LITTLE: u32 = 320;

/// MiB that a node has and needs, by its own refusal; and that it has downloaded nothing before.
fn refused(node: &Node) -> (u32, u32) {
    let told = node.console.expect_line("memory: FAILED", BOOT).unwrap().line;
    println!("{told}");
    let number = |before: &str| {
        let rest = told.split(before).nth(1).unwrap_or_else(|| panic!("{before:?} is not in {told}"));
        rest.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert!(!node.console.text().contains("download:"), "{}", node.console.text());
    (number("it has "), number("and needs "))
}

#[test]
fn a_kernel_boots_in_what_it_was_billed_and_32_mib_less_are_refused_before_the_download() {
    let spec = NodeSpec::new(1);
    let room = Room::serving(&Site::with(&[Os::small("small", "")]).node(&spec, "os = \"small\"")).unwrap();
    let with = |memory_mb| room.node(&spec.clone().memory_mb(memory_mb)).unwrap();
    let (has, needs) = refused(&with(TOO_LITTLE));
    // The machine has more than its kernel counts: what the firmware and the kernel's own image take.
    let machine = needs + (TOO_LITTLE - has);
    let enough = with(machine + DRIFT);
    enough.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    drop(enough);
    let (has, told) = refused(&with(machine - LESS));
    assert!(told.abs_diff(needs) <= DRIFT && has < told, "{told} MiB, and {needs} MiB before");
    assert_eq!(room.sent_by_seed() / (48 << 20), 1, "one of the three has downloaded something");
}
