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
        make_key(dir.path());
        let before = read(dir.path());
        for action in ["check", "compile"] {
            let says = refuse(dir.path(), &site, action);
            assert_golden(&case.join("says"), &Tree::from([("stderr".to_owned(), says.into_bytes())]));
            assert_eq!(read(dir.path()), before, "{}: something was written", case.display());
        }
    }
}

/// The site key, so that its absence is not told as well; the example beside it is not used.
fn make_key(root: &Path) {
    let example = root.join("example");
    let args = ["init".as_ref(), example.as_os_str(), "--root".as_ref(), root.as_os_str()];
    assert!(generate(args).status.success());
}

fn refuse(root: &Path, site: &Path, action: &str) -> String {
    let agent = env!("CARGO_BIN_EXE_boottorrent-gen");
    let mut args = vec![site.to_str().unwrap(), "--root", root.to_str().unwrap(), "--agent", agent];
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
    make_key(dir.path());
    let said = refuse(dir.path(), &site, "compile");
    assert!(said.contains("needs 8796.") && said.contains("in-place = true"), "{said}");
}

#[test]
fn what_the_machine_lacks_is_told_together_with_what_the_folder_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    write(&site, &read(&golden().join("site")));
    write(&site, &read(&golden().join("broken/os-template/site")));
    let folder = dir.path().join("site/nodes/n01");
    fs::create_dir_all(&folder).unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let root = dir.path().to_str().unwrap();
    let said =
        stderr(&generate(["check", site.to_str().unwrap(), "--root", root, "--agent", "/nowhere/agent"]));
    for what in [
        "os.toml:6: \"cmdline\": there is no {host}",
        "boottorrent.toml:16: the overlay of n01 cannot be packed:",
        "etc/boottorrent/site.key: there is no site key",
        "--agent /nowhere/agent: there is no such file",
        "4 mistakes; nothing was changed",
    ] {
        assert!(said.contains(what), "{what} is missing in: {said}");
    }
}
