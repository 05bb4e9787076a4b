//! Where the programs under test are: decides by environment, then by the folder of the running program.
//! Never builds anything: `make build` does.

use std::path::{Path, PathBuf};

/// The master's daemons, in the order of the flow.
pub const DAEMONS: &[&str] = &[
    "boottorrent-dhcp",
    "boottorrent-ra",
    "boottorrent-tftp",
    "boottorrent-tracker",
    "boottorrent-seed",
    "boottorrent-log",
];
pub const GEN: &str = "boottorrent-gen";
pub const CTL: &str = "boottorrentctl";

/// Folder of the master's programs: `BT_BIN_DIR`, else that of the running program (tests run from its `deps/`).
#[must_use]
pub fn folder() -> PathBuf {
    if let Some(dir) = std::env::var_os("BT_BIN_DIR") {
        return dir.into();
    }
    let exe = std::env::current_exe().unwrap_or_default();
    let dir = exe.parent().unwrap_or(Path::new("."));
    if dir.ends_with("deps") { dir.parent().unwrap_or(dir).into() } else { dir.into() }
}

#[must_use]
pub fn path(name: &str) -> PathBuf {
    folder().join(name)
}

/// The static agent: `BT_AGENT`, else where `make build` leaves it.
#[must_use]
pub fn agent() -> PathBuf {
    match std::env::var_os("BT_AGENT") {
        Some(file) => file.into(),
        None => repository().join("target/x86_64-unknown-linux-gnu/node/boottorrent-agent"),
    }
}

/// Root of the repository that this program was built from.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).into()
}

/// What is expensive to make and never changes (kernel, OS images): kept between runs.
#[must_use]
pub fn cache() -> PathBuf {
    repository().join("target/lab")
}
