//! The catalog, which a node reads by TFTP before it can check anything but the signature beside it.
#![no_main]

use boottorrent_fuzz::seeds;
use boottorrent_swarm::InfoHash;
use boottorrent_swarm::catalog::{After, Catalog, File, Image, Linger, Method, Program, Role};
use libfuzzer_sys::fuzz_target;

fn catalog() -> Catalog {
    let file = |path: &str, role| File { path: path.into(), length: 70_000, role };
    let image = |name: &str, linger| Image {
        name: name.into(),
        title: "Debian 12, in memory".into(),
        method: Method::Kexec,
        info_hash: InfoHash([9; 20]),
        piece_length: 32_768,
        pieces_sha256: [3; 32],
        files: vec![
            file("vmlinuz", Role::Kernel),
            file("initrd", Role::Initrd),
            file("root", Role::Wrapped("live/filesystem.squashfs".into())),
        ],
        cmdline: "boot=live hostname={hostname}".into(),
        memory: 1 << 28,
        linger,
        program: None,
    };
    let program = Program {
        argv: vec!["/usr/bin/qemu".into(), "{memory}".into()],
        env: vec![("TERM".into(), "linux".into())],
        workdir: "/".into(),
        after: After::Menu,
        nice: 5,
        seed_rate: Some(6_250_000),
        tap: true,
    };
    let dos = Image {
        method: Method::Run,
        files: vec![file("00-root", Role::Root), file("01-dos.img", Role::Placed("/os/dos.img".into()))],
        program: Some(program),
        ..image("dos", Linger::Milliseconds(5000))
    };
    Catalog {
        site: "lab".into(),
        generation: 7,
        default: Some("debian".into()),
        timeout_ms: Some(10_000),
        tracker_port: 6969,
        seed_port: 6881,
        images: vec![image("debian", Linger::Auto), dos],
    }
}

fuzz_target!(init: seeds(&[catalog().emit()]), |data: &[u8]| {
    let Ok(catalog) = Catalog::parse(data) else { return };
    assert_eq!(Catalog::parse(&catalog.emit()).as_ref(), Ok(&catalog));
    for image in &catalog.images {
        let total: u64 = image.files.iter().map(|f| f.length).sum();
        assert_eq!(image.geometry().map(|g| g.total()), Ok(total));
    }
    if let Some(default) = &catalog.default {
        assert!(catalog.image(default).is_some());
    }
});
