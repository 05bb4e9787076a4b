//! A broken folder per mistake: tests/golden/broken/<case>/site is laid over tests/golden/site, and `check` says
//! exactly what stands in tests/golden/broken/<case>/says, with status 1 and nothing changed.

use crate::tree::{Tree, assert_golden, command, generate, golden, read, stderr, write};
use std::fs;
use std::path::Path;

#[test]
fn every_mistake_is_told_with_its_line_and_nothing_is_changed() {
    let mut cases: Vec<_> =
        fs::read_dir(golden().join("broken")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 30, "the cases are gone");
    for case in cases {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        write(&site, &read(&golden().join("site")));
        write(&site, &read(&case.join("site")));
        let before = read(dir.path());
        for action in ["check", "compile"] {
            let says = refuse(dir.path(), &site, action);
            assert_golden(&case.join("says"), &Tree::from([("stderr".to_owned(), says.into_bytes())]));
            assert_eq!(read(dir.path()), before, "{}: something was written", case.display());
        }
    }
}

fn refuse(root: &Path, site: &Path, action: &str) -> String {
    let mut args = vec![site.to_str().unwrap(), "--root", root.to_str().unwrap()];
    if action == "check" {
        args.insert(0, action);
    }
    let output = generate(args);
    assert_eq!(output.status.code(), Some(1), "{}: {}", site.display(), stderr(&output));
    stderr(&output).replace(site.to_str().unwrap(), "SITE")
}

#[test]
fn an_unreadable_file_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    write(&site, &read(&golden().join("site")));
    let initrd = site.join("os/debian/initrd.img");
    fs::set_permissions(&initrd, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command =
        command(["check".as_ref(), site.as_os_str(), "--root".as_ref(), dir.path().as_os_str()]);
    if nix::unistd::geteuid().is_root() {
        // Root reads everything, unless it is root without the capabilities to.
        let program = command.get_program().to_owned();
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        command = std::process::Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search").arg(program).args(args);
    }
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let told = "os.toml:4: ";
    assert!(said.contains(told) && said.contains("initrd.img cannot be read: Permission denied"), "{said}");
}

#[test]
fn a_store_without_space_is_refused_before_anything_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    write(&site, &read(&golden().join("site")));
    // Sparse: far larger than any disk here.
    let image = fs::File::create(site.join("os/debian/rootfs.squashfs")).unwrap();
    image.set_len(1 << 43).unwrap();
    let said = refuse(dir.path(), &site, "compile");
    assert!(said.contains("needs 8796.") && said.contains("in-place = true"), "{said}");
}
