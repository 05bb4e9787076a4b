use super::*;
use crate::elf::craft::dynamic;
use std::fs;
use std::os::unix::fs::symlink;

const MULTI: &str = "usr/lib/x86_64-linux-gnu";
const PLAIN: Wanted = Wanted { display: Display::None, uefi: false };

/// A system as Debian lays it out, /usr merged, with a QEMU that stands on three libraries.
fn system() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put(
        "usr/bin/qemu-system-x86_64",
        &dynamic(Some("/lib64/ld.so"), &["libz.so.1", "libpulse.so.0", "libc.so.6"], None),
    );
    put(&format!("{MULTI}/ld-2.so"), &dynamic(None, &[], None));
    put(&format!("{MULTI}/libc.so.6"), &dynamic(None, &["ld-2.so"], None));
    put(&format!("{MULTI}/libz.so.1.2"), &dynamic(None, &["libc.so.6"], None));
    let pulse = dynamic(None, &["libcommon.so"], Some("$ORIGIN/pulse"));
    put(&format!("{MULTI}/libpulse.so.0"), &pulse);
    put(&format!("{MULTI}/pulse/libcommon.so"), &dynamic(None, &["libc.so.6"], None));
    put(&format!("{MULTI}/libcommon.so"), b"\x7fELF\x01\x01 for another machine");
    put(&format!("{MULTI}/qemu/accel-tcg-x86_64.so"), &dynamic(None, &["libonly.so"], None));
    put("opt/lib/libonly.so", &dynamic(None, &[], None));
    let only = (0x0303, 0, "libonly.so", "/opt/lib/libonly.so");
    put("etc/ld.so.cache", &cache::craft::cache(&[only]));
    for rom in
        ["seabios/bios-256k.bin", "seabios/vgabios-stdvga.bin", "qemu/kvmvapic.bin", "qemu/linuxboot_dma.bin"]
    {
        put(&format!("usr/share/{rom}"), b"rom");
    }
    put("usr/lib/ipxe/qemu/efi-e1000.rom", &[0; 4096]);
    put("usr/share/qemu/keymaps/en-us", b"keys");
    fs::create_dir_all(root.path().join("usr/lib64")).unwrap();
    for (link, target) in [
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
        ("usr/lib64/ld.so", "/lib/x86_64-linux-gnu/ld-2.so"),
        ("usr/lib/x86_64-linux-gnu/libz.so.1", "libz.so.1.2"),
    ] {
        symlink(target, root.path().join(link)).unwrap();
    }
    root
}

fn entry<'b>(bundle: &'b Bundle, path: &str) -> Option<&'b Entry> {
    bundle.tree.entries().find(|(p, _)| *p == Path::new(path)).map(|(_, entry)| entry)
}

#[test]
fn holds_what_qemu_stands_on_where_the_nodes_loader_finds_it() {
    let root = system();
    let bundle = collect(root.path(), PLAIN).unwrap();
    let file = |path: &str| Some(Entry::File(root.path().join(path)));
    for path in [
        "usr/bin/qemu-system-x86_64",
        "usr/lib/x86_64-linux-gnu/ld-2.so",
        "usr/lib/x86_64-linux-gnu/libz.so.1.2",
        "usr/lib/x86_64-linux-gnu/pulse/libcommon.so",
        "opt/lib/libonly.so",
        "usr/share/qemu/keymaps/en-us",
    ] {
        assert_eq!(entry(&bundle, path).cloned(), file(path), "{path}");
    }
    let link = |target: &str| Some(Entry::Link(PathBuf::from(target)));
    assert_eq!(entry(&bundle, "lib64").cloned(), link("usr/lib64"));
    assert_eq!(entry(&bundle, "usr/lib64/ld.so").cloned(), link("/lib/x86_64-linux-gnu/ld-2.so"));
    assert_eq!(
        entry(&bundle, "usr/lib/x86_64-linux-gnu/libonly.so").cloned(),
        link("/opt/lib/libonly.so"),
        "the node has no cache that leads to /opt"
    );
    assert_eq!(entry(&bundle, "usr/lib/x86_64-linux-gnu/libcommon.so"), None, "it is for another machine");
    assert_eq!(entry(&bundle, "etc/ld.so.cache"), None);
    assert_eq!(entry(&bundle, "var/tmp"), Some(&Entry::Folder));
}

#[test]
fn every_path_stands_below_folders_of_the_tree() {
    let root = system();
    let bundle = collect(root.path(), PLAIN).unwrap();
    let mut folders = vec![Path::new("")];
    for (path, entry) in bundle.tree.entries() {
        assert!(folders.contains(&path.parent().unwrap()), "{path:?} comes before its folder");
        if *entry == Entry::Folder {
            folders.push(path);
        }
    }
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    let root = system();
    let told = |display| {
        let wanted = Wanted { display, uefi: display == Display::None };
        collect(root.path(), wanted).unwrap_err().to_string()
    };
    assert!(told(Display::None).ends_with("needs it for the guest's UEFI; apt-get install ovmf"));
    assert!(
        told(Display::Curses).ends_with("needs it for -display curses; apt-get install qemu-system-common")
    );
    fs::remove_file(root.path().join("usr/bin/qemu-system-x86_64")).unwrap();
    let told = collect(root.path(), PLAIN).unwrap_err().to_string();
    assert!(told.starts_with("/usr/bin/qemu-system-x86_64: not found"), "{told}");
    assert!(told.ends_with("apt-get install qemu-system-x86"), "{told}");
}

#[test]
fn a_missing_library_and_a_foreign_program_are_named() {
    let root = system();
    fs::remove_file(root.path().join(MULTI).join("pulse/libcommon.so")).unwrap();
    let told = collect(root.path(), PLAIN).unwrap_err().to_string();
    assert!(
        told.starts_with("libcommon.so: not found, and ") && told.contains("libpulse.so.0 needs it"),
        "{told}"
    );
    let qemu = root.path().join("usr/bin/qemu-system-x86_64");
    let mut foreign = fs::read(&qemu).unwrap();
    foreign[18] = 183;
    fs::write(&qemu, foreign).unwrap();
    let told = collect(root.path(), PLAIN).unwrap_err().to_string();
    assert!(
        told.contains("qemu-system-x86_64: no program of this machine (it is not built for x86-64)"),
        "{told}"
    );
}

#[test]
fn the_table_names_the_largest_and_the_sum() {
    let root = system();
    let bundle = collect(root.path(), PLAIN).unwrap();
    let table = bundle.to_string();
    let files = bundle.tree.by_size();
    let total: u64 = files.iter().map(|(size, _)| size).sum();
    assert!(table.starts_with("       4096 /usr/lib/ipxe/qemu/efi-e1000.rom\n"), "{table}");
    assert_eq!(table.lines().count(), LARGEST + 2);
    assert!(
        table.ends_with(&format!("{total} bytes in {} files, before they are packed", files.len())),
        "{table}"
    );
}

#[test]
fn the_environment_follows_the_display() {
    let of = |display| Wanted { display, uefi: false }.environment();
    assert_eq!(of(Display::None), [("TMPDIR", "/tmp")]);
    assert!(of(Display::Curses).contains(&("LANG", "C.UTF-8")));
    assert!(of(Display::Sdl).contains(&("SDL_VIDEODRIVER", "kmsdrm")));
}
