//! Every way in that this version knows: BIOS through the card's iPXE ROM (e1000), BIOS through undionly.kpxe, UEFI.

use crate::boot::BOOT;
use boottorrent_tests::node::{Node, NodeSpec};
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};

/// The lab's only BIOS ROM is iPXE itself, so the maker's ROM that would load undionly.kpxe is played by a script: the
/// ROM's own driver goes to undionly, and undionly, which asks DHCP again, goes on to the boot script.
const CHAIN: &str =
    "#!ipxe\niseq ${net0/chip} undionly && chain boot/boot.ipxe || chain boot/undionly.kpxe\n";

#[test]
fn bios_with_e1000_undionly_and_uefi() {
    let e1000 = NodeSpec::new(1).e1000();
    let undionly = NodeSpec::new(2);
    let uefi = NodeSpec::new(3).uefi();
    let site = Site::with(&[Os::small("small", "")])
        .node(&e1000, "os = \"small\"")
        .node(&undionly, "os = \"small\"\noptions = { bootfile-name = \"chain.ipxe\" }")
        .node(&uefi, "os = \"small\"");
    let room = Room::serving(&site).unwrap();
    room.master.write("/var/lib/boottorrent/current/tftp/chain.ipxe", CHAIN).unwrap();
    let nodes: Vec<Node> = [&e1000, &undionly, &uefi].map(|spec| room.node(spec).unwrap()).into();
    for node in &nodes {
        let up = node.console.expect_line("BT-OS-UP", BOOT).unwrap();
        println!("{}: {:.1} s", node.spec.name, up.after.as_secs_f64());
        assert!(up.line.contains(&format!("bt-host={}", node.spec.name)), "{}", up.line);
        node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    }
    // Each took the way that it was meant to take.
    let transfers = room.master.run("journalctl --no-pager -o cat -u boottorrent-tftp").unwrap();
    for file in ["undionly.kpxe", "snponly.efi", "boot.ipxe"] {
        assert!(transfers.contains(file), "nobody has loaded {file}:\n{transfers}");
    }
}
