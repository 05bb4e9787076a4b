//! The file systems that a node works on, and the places in them that supervisor and worker share.
//!
//! Decides where things lie. Never formats or mounts a disk: a node's disks are not ours.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

/// What supervisor and worker tell each other; also the mark of a running node.
pub(crate) const STATE: &str = "/run/boottorrent";
/// The one copy of the image; outlives a worker that dies, pieces and all.
pub(crate) const IMAGE: &str = "/image";
/// The site's public key, baked into the bootstrap image.
pub(crate) const SITE_KEY: &str = "/etc/boottorrent/site.pub";

/// `size=100%`: the memory bill decides whether an image fits, not tmpfs's default of half the memory.
const TABLE: [(&str, &str, MsFlags, &str); 5] = [
    ("proc", "/proc", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC), ""),
    ("sysfs", "/sys", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC), ""),
    ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
    ("tmpfs", "/run", MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV), "mode=0755"),
    ("tmpfs", IMAGE, MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV), "mode=0700,size=100%,huge=within_size"),
];

/// Mounts everything; returns one sentence for each that failed, and goes on with what there is.
pub(crate) fn prepare() -> Vec<String> {
    let mut problems = Vec::new();
    for (kind, target, flags, data) in TABLE {
        let _ = fs::create_dir_all(target); // a folder that is there already is the usual case; mount tells the rest
        if is_mounted(target) {
            continue;
        }
        let plain = data.split(",huge=").next().unwrap_or_default();
        let tried = mount(Some(kind), target, Some(kind), flags, Some(data))
            .or_else(|_| mount(Some(kind), target, Some(kind), flags, Some(plain)));
        if let Err(error) = tried {
            problems.push(format!("{target}: cannot mount {kind}: {error}"));
        }
    }
    if let Err(error) = fs::create_dir_all(STATE) {
        problems.push(format!("{STATE}: {error}"));
    }
    problems
}

/// Whether process 1 of a node has prepared this machine: nobody else makes the state folder beside `/init`'s key.
pub(crate) fn is_node() -> bool {
    Path::new(STATE).is_dir() && Path::new(IMAGE).is_dir() && Path::new(SITE_KEY).is_file()
}

/// Writes a small file of [`STATE`] so that a reader sees the old or the new one, never a half.
pub(crate) fn keep(name: &str, text: &str) -> io::Result<()> {
    let fresh = format!("{STATE}/.{name}");
    fs::write(&fresh, text)?;
    fs::rename(fresh, format!("{STATE}/{name}"))
}

/// A small file of [`STATE`], if it is there.
pub(crate) fn kept(name: &str) -> Option<String> {
    fs::read_to_string(format!("{STATE}/{name}")).ok()
}

/// Forgets a small file of [`STATE`].
pub(crate) fn forget(name: &str) {
    let _ = fs::remove_file(format!("{STATE}/{name}")); // absent is what was wanted
}

fn is_mounted(target: &str) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(target))
}
