//! Headers of a newc archive whose file contents arrive later.
//!
//! Decides how a path becomes entries. Never sees content (Documentation/driver-api/early-userspace/buffer-format).

use std::collections::BTreeSet;

const FILE_MODE: u32 = 0o100_644;
const DIRECTORY_MODE: u32 = 0o040_755;
const TRAILER: &str = "TRAILER!!!";

/// Everything in the format begins on a boundary of four bytes.
pub(super) const fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(4)
}

#[derive(Default)]
pub(super) struct Headers {
    directories: BTreeSet<String>,
    entries: u32,
}

impl Headers {
    /// The bytes before the content of `path`: its parent folders that are new, and its own header.
    pub(super) fn file(&mut self, path: &str, length: u32) -> Vec<u8> {
        let path = path.trim_start_matches('/');
        let mut bytes = Vec::new();
        for (at, _) in path.match_indices('/') {
            let parent = path.get(..at).unwrap_or_default();
            if self.directories.insert(parent.to_owned()) {
                self.entry(&mut bytes, parent, DIRECTORY_MODE, 2, 0);
            }
        }
        self.entry(&mut bytes, path, FILE_MODE, 1, length);
        bytes
    }

    pub(super) fn has_any(&self) -> bool {
        self.entries > 0
    }

    pub(super) fn trailer(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.entry(&mut bytes, TRAILER, 0, 1, 0);
        bytes
    }

    fn entry(&mut self, to: &mut Vec<u8>, name: &str, mode: u32, links: u32, length: u32) {
        let inode = if name == TRAILER { 0 } else { self.entries + 1 };
        self.entries += 1;
        // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        let name_bytes = name.len() as u32 + 1;
        let fields = [inode, mode, 0, 0, links, 0, length, 0, 0, 0, 0, name_bytes, 0];
        to.extend_from_slice(b"070701");
        for field in fields {
            to.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        to.extend_from_slice(name.as_bytes());
        to.push(0);
        to.resize(padded(to.len() as u64) as usize, 0);
    }
}
