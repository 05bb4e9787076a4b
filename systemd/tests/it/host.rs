//! What this machine has to have, asked without --root: interface, address, free ports. Only `check`: it writes nothing.

use crate::tree::{generate, golden, read, stderr, write};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

/// A site on the loopback interface that listens on two ports of ours only.
fn site(dir: &Path, interface: &str, address: &str, tracker: u16, seed: u16) -> PathBuf {
    let site = dir.join("site");
    write(&site, &read(&golden().join("units/seed-only/site")));
    let off =
        "[dhcp]\nmode = \"off\"\n[tftp]\nenabled = false\n[log]\nenabled = false\n[ra]\nenabled = false\n";
    let text = format!(
        "[site]\nname = \"seed-only\"\ninterface = \"{interface}\"\naddress = \"{address}\"\n{off}[tracker]\nport = {tracker}\n[seed]\nport = {seed}\n"
    );
    std::fs::write(site.join("boottorrent.toml"), text).unwrap();
    site
}

fn check(site: &Path) -> String {
    let output = generate(["check".as_ref(), site.as_os_str()]);
    assert_eq!(output.status.code(), Some(1));
    stderr(&output)
}

#[test]
fn ports_in_use_are_named_with_who_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tracker, seed) = (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
    let said = check(&site(dir.path(), "lo", "127.0.0.1", tracker, seed));
    let process = std::process::id();
    for (kind, port, name) in [("UDP", tracker, "tracker"), ("TCP", seed, "seed")] {
        let what =
            format!("boottorrent.toml:4: {kind} port {port}, which boottorrent-{name} needs, is in use by ");
        assert!(said.contains(&what) && said.contains(&format!("(process {process})")), "{said}");
        assert!(said.contains(&format!("stop that program, or write another [{name}] port")), "{said}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_named_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let said = check(&site(dir.path(), "boot7", "127.0.0.1", 6969, 6881));
    assert!(
        said.contains("boottorrent.toml:3: there is no interface \"boot7\" here; this machine has "),
        "{said}"
    );
}

#[test]
fn an_address_that_the_interface_has_not_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let said = check(&site(dir.path(), "lo", "198.51.100.1", 6969, 6881));
    assert!(said.contains("boottorrent.toml:4: lo has 127.0.0.1"), "{said}");
    assert!(said.contains("ip address add 198.51.100.1/24 dev lo"), "{said}");
}
