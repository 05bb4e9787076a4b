use super::*;
use boottorrent_swarm::InfoHash;
use boottorrent_swarm::catalog::Linger;
use std::io::{Cursor, Read as _};

fn image(files: &[(&str, u64, Role)]) -> Image {
    Image {
        name: "test".into(),
        title: "Test".into(),
        method: Method::Kexec,
        info_hash: InfoHash([7; 20]),
        piece_length: 16384,
        pieces_sha256: [0; 32],
        files: files
            .iter()
            .map(|(path, length, role)| catalog::File {
                path: (*path).into(),
                length: *length,
                role: role.clone(),
            })
            .collect(),
        cmdline: String::new(),
        memory: 0,
        linger: Linger::Auto,
        program: None,
    }
}

/// A newc archive of one file, as an overlay or an initrd would be.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let builder = cpio::newc::Builder::new(name).mode(0o100_644);
    let mut writer = builder.write(Vec::new(), content.len() as u32);
    std::io::Write::write_all(&mut writer, content).unwrap();
    cpio::newc::trailer(writer.finish().unwrap()).unwrap()
}

/// What is in the initrd, archive after archive, as the kernel reads it: zeros between archives are passed over.
fn unpack(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == 0 {
            at += 1;
            continue;
        }
        assert_eq!(at % 4, 0, "an archive begins off the boundary");
        let mut rest = Cursor::new(&bytes[at..]);
        loop {
            let mut reader = cpio::newc::Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                rest = reader.finish().unwrap();
                break;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            found.push((name, mode, content));
            rest = reader.finish().unwrap();
        }
        at += rest.position() as usize;
    }
    found
}

#[test]
fn the_final_initrd_holds_everything_in_order() {
    let first = archive("init", b"first\n");
    let squashfs: Vec<u8> = (0..40_001u32).map(|n| n as u8).collect();
    let overlay: Arc<[u8]> = archive("etc/hostname", b"n01\n").into();
    let image = image(&[
        ("rootfs.squashfs", squashfs.len() as u64, Role::Wrapped("live/filesystem.squashfs".into())),
        ("vmlinuz", 5, Role::Kernel),
        ("initrd.img", first.len() as u64 - 2, Role::Initrd),
        ("extra", 3, Role::Wrapped("live/deep/extra".into())),
        ("second.img", 0, Role::Initrd),
    ]);
    // A length that is no multiple of four: the tail of the archive's own padding is cut off.
    let first = &first[..first.len() - 2];
    let torrent = [&squashfs[..], b"bzImg", first, b"abc"].concat();

    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("an-older-image")).unwrap();
    fs::write(root.path().join("an-older-image/kernel"), [1; 100_000]).unwrap();
    let promised = File::create(root.path().join("an-older-image/initrd")).unwrap();
    promised.set_len(1 << 40).unwrap();
    let plan = Plan::new(&image, &overlay).unwrap();
    assert_eq!(plan.stored(root.path(), &image), 0);
    let displaced = plan.displaced(root.path(), &image);
    assert!((100_000..200_000).contains(&displaced), "{displaced}: what has not come takes no memory");
    let Laying { laid, shelf, found } = plan.lay(root.path(), &image).unwrap();
    assert!(!found);
    let store = Shared(Arc::clone(&shelf));
    for (at, chunk) in torrent.chunks(16384).enumerate() {
        storage::Store::write(&store, at as u64 * 16384, chunk).unwrap();
    }

    shelf.seal().unwrap();
    assert!(storage::Store::write(&store, 0, b"late").is_err(), "a sealed image is only read");
    let mut read = Vec::new();
    storage::Store::digest(&store, 0, torrent.len() as u64, &mut |bytes| read.extend_from_slice(bytes))
        .unwrap();
    assert_eq!(read, torrent);
    let Laid::Kernel { kernel, initrd: Some(initrd) } = laid else { panic!("{laid:?}") };
    assert_eq!(fs::read(kernel).unwrap(), b"bzImg");
    let initrd = fs::read(initrd).unwrap();
    assert_eq!(5 + initrd.len() as u64, plan.bytes());
    assert!(plan.stored(root.path(), &image) >= plan.bytes());
    assert_eq!(plan.displaced(root.path(), &image), 0);
    assert!(!root.path().join("an-older-image").exists());
    let found = unpack(&initrd);
    let names: Vec<(&str, u32)> = found.iter().map(|(name, mode, _)| (name.as_str(), *mode)).collect();
    assert_eq!(
        names,
        [
            ("init", 0o100_644),
            ("live", 0o040_755),
            ("live/filesystem.squashfs", 0o100_644),
            ("live/deep", 0o040_755),
            ("live/deep/extra", 0o100_644),
            ("etc/hostname", 0o100_644),
        ]
    );
    assert_eq!(found[2].2, squashfs);
    assert_eq!(found[4].2, b"abc");
    assert_eq!(found[5].2, b"n01\n");
}

#[test]
fn a_kernel_alone_has_no_initrd() {
    let image = image(&[("vmlinuz", 5, Role::Kernel)]);
    let root = tempfile::tempdir().unwrap();
    let laid = Plan::new(&image, &Arc::default()).unwrap().lay(root.path(), &image).unwrap().laid;
    assert!(matches!(laid, Laid::Kernel { initrd: None, .. }), "{laid:?}");
}

#[test]
fn a_programs_files_lie_as_they_are_and_may_be_executed_once_they_are_sealed() {
    let script = b"#!/bin/sh\nexit 7\n";
    let root = vec![9; 20_000];
    let files = [
        ("root.squashfs", root.len() as u64, Role::Root),
        ("tool", script.len() as u64, Role::Placed("/bin/tool".into())),
    ];
    let image = Image { method: Method::Run, ..image(&files) };
    let place = tempfile::tempdir().unwrap();
    let overlay: Arc<[u8]> = archive("etc/hostname", b"n01\n").into();
    let plan = Plan::new(&image, &overlay).unwrap();
    assert_eq!(plan.bytes(), root.len() as u64 + script.len() as u64, "nothing is wrapped or added");
    let Laying { laid, shelf, .. } = plan.lay(place.path(), &image).unwrap();
    let store = Shared(Arc::clone(&shelf));
    for (at, chunk) in [&root[..], &script[..]].concat().chunks(16384).enumerate() {
        storage::Store::write(&store, at as u64 * 16384, chunk).unwrap();
    }
    shelf.seal().unwrap();
    let Laid::Files(paths) = laid else { panic!("{laid:?}") };
    assert_eq!(fs::read(&paths[0]).unwrap(), root);
    assert_eq!(std::process::Command::new(&paths[1]).status().unwrap().code(), Some(7));
    assert!(plan.stored(place.path(), &image) >= plan.bytes());
    assert_eq!(plan.displaced(place.path(), &image), 0);
}

#[test]
fn files_above_four_gib_cannot_be_wrapped() {
    let image = image(&[("vmlinuz", 5, Role::Kernel), ("big", 1 << 32, Role::Wrapped("big".into()))]);
    let error = Plan::new(&image, &Arc::default()).unwrap_err().to_string();
    assert_eq!(error, "big: a file inside an initrd must be smaller than 4 GiB");
}
