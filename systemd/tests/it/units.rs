//! Golden trees of units and of what the daemons are told, and systemd's own opinion of the units.

use crate::tree::{Tree, assert_golden, golden};
use boottorrent_gen::daemons::configs;
use boottorrent_gen::units::{Places, render, site_of};
use boottorrent_masterd::site::{Findings, load};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tenths of systemd's exposure level that a unit may have.
const MAX_EXPOSURE: &str = "20";

fn tree(case: &str, bindir: &Path) -> Tree {
    let dir = golden().join("units").join(case).join("site");
    let findings = Findings::new();
    let site = load(&dir, &findings).unwrap();
    assert!(findings.is_empty(), "{:?}", findings.into_sorted());
    let places = Places {
        bindir: bindir.to_owned(),
        store: "/var/lib/boottorrent".into(),
        in_place: vec!["/srv/images".into(), "/home/images".into()],
    };
    let mut tree = Tree::new();
    for (name, text) in render(&site, &places).unwrap() {
        assert_eq!(site_of(&text), Some(site.name.as_str()));
        tree.insert(format!("systemd/{name}"), text.into());
    }
    for (name, text) in configs(&site, Vec::new()).unwrap() {
        tree.insert(format!("store/{name}"), text.into());
    }
    tree
}

#[test]
fn one_subnet() {
    check("one-subnet");
}

#[test]
fn two_subnets() {
    check("two-subnets");
}

#[test]
fn everything_off_but_the_seed() {
    let tree = check("seed-only");
    let names: Vec<&String> = tree.keys().collect();
    let units =
        ["systemd/boottorrent-seed.service", "systemd/boottorrent-seed.socket", "systemd/boottorrent.target"];
    assert_eq!(names[..2], ["store/ctl.toml", "store/seed.toml"]);
    assert_eq!(names[2..], units, "only the seed's units");
}

/// Compares with the golden tree and asks systemd.
fn check(case: &str) -> Tree {
    let rendered = tree(case, Path::new("/usr/sbin"));
    assert_golden(&golden().join("units").join(case).join("tree"), &rendered);
    let (dir, units) = on_disk(case);
    let arguments = ["verify", "--man=no", "--recursive-errors=one"];
    let verified = Command::new("systemd-analyze").args(arguments).args(&units).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "systemd-analyze verify: {said}");
    for service in units.iter().filter(|u| u.extension().is_some_and(|e| e == "service")) {
        let threshold = format!("--threshold={MAX_EXPOSURE}");
        let arguments = ["security", "--offline=true", "--no-pager", &threshold];
        let judged = Command::new("systemd-analyze").args(arguments).arg(service).output().unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{}: {said}", service.display());
    }
    drop(dir);
    rendered
}

/// The units in a folder of their own, with programs that exist: systemd looks for them.
fn on_disk(case: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let bindir = dir.path().join("sbin");
    fs::create_dir(&bindir).unwrap();
    for name in ["dhcp", "tftp", "tracker", "seed", "log", "ra"] {
        let program = bindir.join(format!("boottorrent-{name}"));
        fs::write(&program, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut units = Vec::new();
    for (name, text) in tree(case, &bindir) {
        if let Some(unit) = name.strip_prefix("systemd/") {
            let path = dir.path().join(unit);
            fs::write(&path, text).unwrap();
            units.push(path);
        }
    }
    (dir, units)
}
