//! The whole chain: firmware, bootstrap, agent, swarm, kexec, up to what the booted OS says of itself.

use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::os;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};
use std::time::Duration;

/// From switch-on to the OS under software emulation, with the machine's two cores shared by three nodes.
pub(crate) const BOOT: Duration = Duration::from_secs(180);

#[test]
fn one_node_boots_with_its_own_command_line_and_overlay() {
    let spec = NodeSpec::new(1);
    let site = Site::with(&[Os::small("small", "")])
        .node(&spec, "os = \"small\"\ncmdline = \"role=worker\"")
        .file("nodes/n01/overlay/greeting", "hello from the site folder\n");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    let up = node.console.expect_line("BT-OS-UP", BOOT).unwrap();
    for word in [
        "bt-os=small",
        "bt-host=n01",
        "bt-ip=10.0.0.11",
        "bt-mac=52:54:00:b7:00:01",
        "bt-master=10.0.0.1",
        "role=worker",
    ] {
        assert!(up.line.contains(word), "{word} is missing in {}", up.line);
    }
    node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    let overlay = node.console.expect_line("BT-OS-OVERLAY", BOOT).unwrap();
    assert!(overlay.line.ends_with("/overlay/greeting hello from the site folder"), "{}", overlay.line);
    let report = room.expect_board("the node's last record", |board| {
        board.node(&spec.mac).filter(|report| report.seconds("load").is_some()).cloned()
    });
    let report = report.unwrap();
    assert_eq!((report.name.as_str(), report.address.as_str()), ("n01", "10.0.0.11"));
    assert_eq!(report.failures().count(), 0, "{report:#?}");
    assert_eq!(report.bytes_master, image_bytes(), "one node gets everything once, from the master");
}

/// Bytes of the small OS as the swarm sees it.
pub(crate) fn image_bytes() -> u64 {
    let folder = os::small().unwrap();
    ["vmlinuz", "initrd", "payload.bin"].map(|file| folder.join(file).metadata().unwrap().len()).iter().sum()
}
