//! Copies one file into the store, sharing its blocks where the file system can (btrfs, XFS).
//! Decides nothing about the bytes.

use crate::error::Error;
use crate::progress::Progress;
use boottorrent_masterd::store::Context;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes between two looks at the progress; a multiple of every file system's block, so that blocks can be shared.
const CHUNK: u64 = 16 << 20;

pub(crate) fn copy(from: &Path, to: &Path, progress: &Progress) -> Result<(), Error> {
    let mut source = File::open(from).at(from, "be read")?;
    let mut target = File::create_new(to).at(to, "be made")?;
    loop {
        // Between files this is copy_file_range(2): the kernel shares blocks where it can, and otherwise copies
        // without a way through us.
        match io::copy(&mut source.by_ref().take(CHUNK), &mut target).at(to, "be written")? {
            0 => return Ok(()),
            copied => progress.add(copied),
        }
    }
}
