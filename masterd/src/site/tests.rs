//! Whole folders, read from disk: what a good one becomes. What broken ones say stands in tests/golden/broken.

use super::*;
use std::fs;

const SITE: &str = r#"
[site]
name = "lab"
interface = "eth1"
address = "10.0.0.1"
linger = "5s"

[dhcp]
options = { domain-name = "lab.example", routers = ["10.0.0.254"] }
[[dhcp.subnet]]
network = "10.0.0.0/24"
range = "10.0.0.100-10.0.0.200"
options = { routers = ["10.0.0.1"] }

[menu]
timeout = "never"

[tracker]
enabled = false
port = 7000

[[node]]
mac = "52:54:00:00:00:01"
name = "n01"
os = "b"
"#;

fn folder(site: &str, images: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), site).unwrap();
    for (name, text) in images {
        let os = dir.path().join("os").join(name);
        fs::create_dir_all(&os).unwrap();
        fs::write(os.join("vmlinuz"), "kernel").unwrap();
        fs::write(os.join(os::FILE), text).unwrap();
    }
    dir
}

fn told(dir: &Path) -> Vec<String> {
    let findings = Findings::new();
    let _ = load(dir, &findings);
    let place = format!("{}/", dir.display());
    findings.into_sorted().iter().map(|f| f.to_string().replace(&place, "")).collect()
}

fn good(dir: &Path) -> Site {
    let findings = Findings::new();
    let site = load(dir, &findings);
    assert!(findings.is_empty(), "{:?}", findings.into_sorted());
    site.unwrap()
}

#[test]
fn what_is_not_said_comes_from_the_site_or_has_a_default() {
    let kexec = "method = \"kexec\"\nkernel = \"vmlinuz\"\n";
    let own = format!("{kexec}linger = \"auto\"\nmemory = \"1G\"\n");
    let dir = folder(SITE, &[("b", kexec), ("a", &own)]);
    fs::create_dir_all(dir.path().join("nodes/n01")).unwrap();
    let site = good(dir.path());
    let names: Vec<&str> = site.images.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((site.images[0].linger, site.images[0].memory), (Linger::Auto, 1 << 30));
    assert_eq!((site.images[1].linger, site.images[1].memory), (Linger::Milliseconds(5000), 256 << 20));
    assert_eq!(site.images[1].title, "b");
    assert_eq!(site.menu.timeout, None);
    assert_eq!((site.services.tracker, site.services.tracker_port), (None, 7000));
    assert_eq!(site.services.seed, Some(SEED_PORT));
    assert!(site.services.tftp && site.services.log && site.services.ra);
    assert_eq!(site.nodes[0].overlay.as_deref(), Some(dir.path().join("nodes/n01").as_path()));
    let dhcp = site.dhcp.unwrap();
    assert_eq!(dhcp.lease_time, Duration::from_secs(43_200));
    let codes: Vec<u8> = dhcp.subnets[0].options.iter().map(|o| o.code).collect();
    assert_eq!(codes, [3, 15]);
    assert_eq!(dhcp.subnets[0].options[0].value, [10, 0, 0, 1], "the subnet's own option wins");
}

#[test]
fn files_are_parts_in_the_order_of_the_hand_over() {
    let text = r#"
method = "kexec"
kernel = "vmlinuz"
initrd = ["z", "a"]
files = { "z" = "/b/z", "a" = "a" }
"#;
    let dir = folder(SITE, &[("b", text)]);
    for name in ["z", "a"] {
        fs::write(dir.path().join("os/b").join(name), name).unwrap();
    }
    let site = good(dir.path());
    let parts: Vec<(String, boottorrent_swarm::catalog::Role)> = site.images[0]
        .parts
        .iter()
        .map(|p| (p.source.file_name().unwrap().to_string_lossy().into_owned(), p.role.clone()))
        .collect();
    use boottorrent_swarm::catalog::Role::{Initrd, Kernel, Wrapped};
    let expected = [
        ("vmlinuz", Kernel),
        ("z", Initrd),
        ("a", Initrd),
        ("a", Wrapped("a".into())),
        ("z", Wrapped("b/z".into())),
    ];
    assert_eq!(parts, expected.map(|(n, r)| (n.to_owned(), r)));
}

#[test]
fn names_that_a_torrent_cannot_carry_are_told() {
    assert_eq!(os::torrent_name(Path::new("/a/vmlinuz-6.1 (copy)")), Ok("vmlinuz-6.1 (copy)"));
    assert!(os::torrent_name(Path::new("/a/..")).is_err());
    assert!(os::torrent_name(Path::new("a\nb")).is_err());
    assert!(os::torrent_name(Path::new(&"x".repeat(241))).is_err());
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff.img");
    assert_eq!(os::torrent_name(Path::new::<std::ffi::OsStr>(bytes)), Err("the name is not UTF-8"));
}

#[test]
fn an_empty_folder_names_both_things_that_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let told = told(dir.path());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("boottorrent.toml: there is no such file;"), "{told:?}");
    assert!(told[1].starts_with("os: cannot be read: No such file"), "{told:?}");
}

#[test]
fn every_syntax_error_has_its_line() {
    let dir = folder(
        "[site]\nname = x\naddress = 1.2.3.4\n",
        &[("b", "method = \"kexec\"\nkernel = \"vmlinuz\"\n")],
    );
    let told = told(dir.path());
    assert!(told.iter().any(|t| t.starts_with("boottorrent.toml:2: ")), "{told:?}");
    assert!(told.iter().any(|t| t.starts_with("boottorrent.toml:3: ")), "{told:?}");
}

/// Folders of the user's own are bound into the unit, where those above them are made anew; others must be open.
#[test]
fn a_file_that_the_seed_cannot_reach_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let kexec = "method = \"kexec\"\nkernel = \"vmlinuz\"\nin-place = true\n";
    let dir = folder(SITE, &[("b", kexec)]);
    let close = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    close(dir.path(), 0o700);
    good(dir.path());
    close(&dir.path().join("os/b"), 0o750);
    let told = told(dir.path());
    assert!(
        matches!(&told[..], [one] if one.starts_with("os/b/os.toml:2: ") && one.contains("which not everybody may enter")),
        "{told:?}"
    );
}

/// A line is found by a search, not by reading the file again for each value: 20,000 nodes took minutes.
#[test]
fn lines_are_right_in_a_long_file() {
    let nodes: String = (0..20_000)
        .map(|n| format!("[[node]]\nmac = \"02:00:00:00:{:02x}:{:02x}\"\nname = \"n{n}\"\n", n >> 8, n & 255))
        .collect();
    let lines = SITE.lines().count() + 3 * 20_000;
    let dir = folder(
        &format!("{SITE}{nodes}nane = \"x\"\n"),
        &[("b", "method = \"kexec\"\nkernel = \"vmlinuz\"\n")],
    );
    let told = told(dir.path());
    assert!(
        matches!(&told[..], [one] if one.starts_with(&format!("{FILE}:{}: unknown key \"nane\"", lines + 1))),
        "{told:?}"
    );
}
