//! One writer a store: a lock that the kernel lets go of with its process, however that ends.
//! Decides who may write; never waits.

use super::{Context, Error};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Held while it lives.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    pub(crate) fn take(root: &Path) -> Result<Lock, Error> {
        let path = root.join("lock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).at(&path, "be opened")?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Lock { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => {
                let busy =
                    io::Error::other("another boottorrent-gen is at work on this store; wait for it to end");
                Err(busy).at(&path, "be locked")
            }
            Err((_, e)) => Err(e).at(&path, "be locked"),
        }
    }
}
