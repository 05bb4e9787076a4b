//! The real thing: Debian's kernel, Debian's own live-boot initramfs, a squashfs of a debootstrapped root.

use crate::boot::BOOT;
use boottorrent_tests::node::NodeSpec;
use boottorrent_tests::os;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{Os, Site};

/// What the issue asks of the squashfs.
const AT_LEAST: u64 = 100_000_000;

#[test]
fn debian_reaches_its_login_prompt_with_every_file_intact() {
    let image = os::debian().unwrap();
    assert!(image.join("filesystem.squashfs").metadata().unwrap().len() >= AT_LEAST);
    let spec = NodeSpec::new(1).memory_mb(2048);
    let site = Site::with(&[Os::debian()]).node(&spec, "os = \"debian\"");
    let room = Room::serving(&site).unwrap();
    let node = room.node(&spec).unwrap();
    node.console.expect_line("Welcome to Debian GNU/Linux 12", BOOT).unwrap();
    let prompt = node.console.expect("n01 login:", BOOT).unwrap();
    println!("login prompt {:.1} s after switch-on", prompt.after.as_secs_f64());
    let sums = node.console.expect_line("BT-SUMS-", BOOT).unwrap();
    println!("{}", sums.line);
    assert!(sums.line.contains("BT-SUMS-OK"), "{}", sums.line);
}
