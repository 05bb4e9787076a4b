//! Process 1 never exits: the worker may be killed or panic in the middle of a download, and the boot goes on.

use crate::boot::BOOT;
use crate::faults::table::DEAD_WORKER;
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};

#[test]
fn a_worker_killed_and_panicking_in_mid_download_finds_its_pieces_again() {
    let spec = NodeSpec::new(1).second_serial();
    let site = Site::with(&[Os::small("small", ""), Os::small("usual", "")])
        .node(&spec, "os = \"usual\"")
        .bootstrap_cmdline("bt.debug=ttyS1");
    let room = Room::serving(&site).unwrap();
    room.master.host.limit(40).unwrap();
    // An order is given once: the worker that follows it must leave it to the next one.
    room.master.run("boottorrentctl boot n01 --os small").unwrap();
    let node = room.node(&spec).unwrap();
    let rescue = node.second_serial().unwrap();
    for (command, word) in [
        ("kill-worker", "the worker died (killed by signal SIGKILL"),
        ("panic-worker", "the worker died (panic"),
    ] {
        let start = node.console.end();
        node.console.expect_from(start, &["download"], BOOT).unwrap();
        let sent = room.sent_by_seed();
        wait_for("progress of the download", BOOT, || {
            let now = room.sent_by_seed();
            if now > sent + 4_000_000 { Ok(()) } else { Err(format!("{now} bytes sent")) }
        })
        .unwrap();
        let start = node.console.end();
        rescue.send(&format!("{command}\r"));
        let told = node.console.expect_from(start, &[word], BOOT).unwrap();
        println!("{}", told.line);
    }
    DEAD_WORKER.at_both_ends(&node, &room.master, 0);
    let up = node.console.expect_line("BT-OS-UP", BOOT).unwrap();
    assert!(up.line.contains("bt-os=small"), "{}", up.line);
    node.console.expect_line("BT-OS-SUMS ok", BOOT).unwrap();
    // Verified pieces were not fetched again: what was in flight at two deaths is all that may be lost.
    let total = room.sent_by_seed();
    let image = crate::boot::image_bytes();
    println!("{total} bytes sent for an image of {image}");
    assert!(total < image + image / 4, "{total} bytes sent for an image of {image}");
}
