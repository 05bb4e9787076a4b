//! What every later test stands on: the programs are built and say who they are.

use boottorrent_tests::programs;
use std::process::Command;

#[test]
fn every_program_states_its_version() {
    for name in programs::DAEMONS.iter().chain(&[programs::GEN, programs::CTL]) {
        let output = Command::new(programs::path(name)).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains(env!("CARGO_PKG_VERSION")), "{name}: {text:?}");
    }
}

#[test]
fn the_agent_is_static_and_states_its_version() {
    let output = Command::new(programs::agent()).arg("--version").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(env!("CARGO_PKG_VERSION")));
    let elf = std::fs::read(programs::agent()).unwrap();
    assert!(!elf.windows(14).any(|bytes| bytes == b"/ld-linux-x86-"), "the agent names a dynamic loader");
}
