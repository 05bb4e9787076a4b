//! What a guest has of its node: the screen and the keyboard without a desktop, names, and the wire.

use crate::boot::BOOT;
use crate::run::{at_menu, line};
use boottorrent_tests::clock::wait_for;
use boottorrent_tests::guest::{self, AFTER_A_KEY, BARS};
use boottorrent_tests::node::{Node, NodeSpec, Vga};
use boottorrent_tests::picture::Picture;
use boottorrent_tests::programs;
use boottorrent_tests::room::Room;
use boottorrent_tests::site::{IMAGES, Os, Site};
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// From switch-on to a guest's picture: each change is drawn by OpenGL, in software, on emulated processors.
const DRAWN: Duration = Duration::from_secs(300);
/// Each bar is an eighth of the guest's screen; the node's may have black beside it, where it has another form.
const MUCH: usize = 6;

/// QEMU with these words behind it, on a bundle of this kind.
fn qemu(name: &str, words: &str, files: &str, bundle: &str, memory: &str) -> Os {
    let words: Vec<String> = words.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    let toml = format!(
        "title = \"Guest {name}\"\nmethod = \"run\"\nfiles = {{ {files} }}\n\
         run = [\"/usr/bin/qemu-system-x86_64\", \"-machine\", \"accel=kvm:tcg\", \"-nodefaults\", {}]\n\
         memory = \"{memory}\"\nbundle = {{ qemu = true, {bundle} }}\n",
        words.join(", ")
    );
    Os { name: name.into(), toml }
}

/// Waits for a picture, pressing a key before each look if one is given; what it came to is kept for people to look at.
fn painted(node: &Node, name: &str, keys: &[&str], is_it: impl Fn(&Picture) -> bool) {
    let seen = node.expect_picture(&format!("the picture {name}"), DRAWN, is_it, |node| node.press(keys));
    node.keep_picture(name).unwrap();
    let after = node.switched_on().elapsed().as_secs_f64();
    println!("{name} {after:.1} s after switch-on: {:?}", seen.unwrap());
}

#[test]
fn a_guest_fills_the_screen_without_a_desktop_and_has_the_keyboard_to_itself() {
    let specs = [
        NodeSpec::new(1).memory_mb(1280).cpus(2),
        NodeSpec::new(2).memory_mb(1280).cpus(2).vga(Vga::Virtio),
        NodeSpec::new(3).memory_mb(1280).vga(Vga::None),
    ];
    let folder = programs::cache().join("os/painter");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("disk.img"), guest::painter()).unwrap();
    let words = "-vga std -display sdl -m 16 -drive file=/os/disk.img,format=raw,snapshot=on";
    let disk = format!("\"{IMAGES}/painter/disk.img\" = \"/os/disk.img\"");
    let os = qemu("painter", words, &disk, "display = \"sdl\"", "384M");
    let site = specs.iter().fold(Site::with(&[os]), |site, spec| site.node(spec, "os = \"painter\""));
    let room = Room::serving(&site).unwrap();
    // One after the other: each draws with the processor, and that is emulated.
    for spec in &specs[..2] {
        let node = room.node(spec).unwrap();
        let name = format!("guest-{:?}", spec.vga).to_lowercase();
        painted(&node, &name, &[], bars);
        keys_are_the_guests(&node, &name, spec.vga == Vga::Std);
        at_menu(&node);
        painted(&node, &format!("{name}-menu"), &[], |picture| picture.share(AFTER_A_KEY) < MUCH);
    }
    let none = room.node(&specs[2]).unwrap();
    let told = line(&none, 0, "no display for the program on this node", BOOT);
    assert!(told.contains("it has no graphics card") && told.contains("-display curses"), "{told}");
    at_menu(&none);
    room.expect_board("the missing display", |board| {
        let node = board.node(&specs[2].mac)?;
        node.failures()
            .any(|step| step.stage == "run" && step.text.contains("no display for the program"))
            .then_some(())
    })
    .unwrap();
}

/// Also those that would be the console's; the guest ends by Escape, or is ended by three times `^]`.
fn keys_are_the_guests(node: &Node, name: &str, by_itself: bool) {
    painted(node, &format!("{name}-key"), &["z"], yellow);
    let start = node.console.end();
    node.press(&["q", "x", "q"]).unwrap();
    let (keys, words) = if by_itself {
        (&["esc"][..], "it ended with status 0")
    } else {
        (&["ctrl-bracket_right"; 3][..], "it was ended at the console")
    };
    node.press(keys).unwrap();
    let ended = line(node, start, words, SOON);
    assert!(ended.contains("the menu again"), "{ended}");
    let text = node.console.text();
    assert!(!text[start..].contains("qxq"), "the keys came by the terminal as well: {}", &text[start..]);
}

fn bars(picture: &Picture) -> bool {
    BARS.iter().all(|bar| picture.share(*bar) >= MUCH)
}

fn yellow(picture: &Picture) -> bool {
    picture.share(AFTER_A_KEY) >= 6 * MUCH
}

/// iPXE of the guest's card, which asks for an address, and for whatever its answer names.
#[test]
fn a_guest_resolves_names_behind_the_node_and_has_its_own_address_on_the_wire() {
    /// The node's, with two bits of it changed.
    const GUEST: &str = "56:54:00:b7:00:01";
    let spec = NodeSpec::new(1).memory_mb(1024);
    let behind = "-display none -m 16 -nic user,model=e1000,bootfile=http://boot.lab.example/guest";
    let wire = "-netdev tap,id=wire,fd={tap} -device e1000,netdev=wire,mac={tap-mac}";
    let os = qemu("wire", &format!("{behind} {wire}"), "", "display = \"none\"", "192M");
    let os = Os { toml: format!("tap = true\n{}", os.toml), ..os };
    let room = Room::serving(&Site::with(&[os]).node(&spec, "os = \"wire\"")).unwrap();
    let names = "--keep-in-foreground --no-hosts --no-resolv --log-queries --log-facility=-";
    room.master
        .run(&format!("systemd-run -q --unit=names dnsmasq {names} --address=/lab.example/10.0.0.1"))
        .unwrap();
    let node = room.node(&spec).unwrap();
    let told = line(&node, 0, "no KVM on this node", BOOT);
    assert!(told.contains("in software"), "{told}");
    wait_for("the guest's question for a name, from the node's address", BOOT, || {
        let asked = room.master.run("journalctl -o cat -u names").map_err(|error| error.to_string())?;
        let by_node = asked.lines().any(|line| line.contains("boot.lab.example from 10.0.0.11"));
        if by_node { Ok(()) } else { Err(asked) }
    })
    .unwrap();
    let address = wait_for("a lease of the guest's own", BOOT, || {
        let state = room.state("dhcp").map_err(|error| error.to_string())?;
        let leases = state.get("leases").and_then(|leases| leases.as_array()).cloned().unwrap_or_default();
        let own = leases.iter().find(|lease| lease.get("mac").and_then(|mac| mac.as_str()) == Some(GUEST));
        own.and_then(|lease| lease.get("address").cloned()).ok_or_else(|| state.to_string())
    })
    .unwrap();
    println!("the guest has {address} beside its node");
    let board = room.expect_board("the lack of KVM", |board| {
        let steps = &board.node(&spec.mac)?.steps;
        steps
            .iter()
            .any(|step| step.event == "note" && step.text.contains("no KVM on this node"))
            .then_some(())
    });
    board.unwrap();
    // The node's own address has not suffered: it ends the guest, and goes on.
    node.console.send("\x1d\x1d\x1d");
    at_menu(&node);
}
