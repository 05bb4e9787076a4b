//! A store that is downloaded into. Space is made sure of first, so that a full disk or tmpfs is one sentence at the start
//! and not a failure in the middle: on a disk it is allocated; of a tmpfs, which belongs to the download, it is only asked
//! for, since to allocate its pages costs 0.3 s of processor time a GB before the first peer is dialled.
//!
//! Blocks go from the read buffer to their place by pwrite. Receiving into a mapping was tried first: it spares a copy within
//! the cache and costs a page fault for every 4 KiB, so it was no faster, and a mapped file that somebody truncates kills
//! the process that uses it.

use super::{Error, Files, Layout, Part, SendError, Store};
use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    pub path: PathBuf,
    /// Bytes, gaps included.
    pub size: u64,
}

/// Files that are received into, and sent from.
pub struct Download {
    files: Files,
    found: bool,
}

impl Download {
    /// Creates or opens the files and makes sure of all of their space.
    ///
    /// # Errors
    /// No space, no permission, or a longer file of that name.
    ///
    /// # Panics
    /// If the layout names a file or a range that `backings` does not have: that is the caller's arithmetic.
    pub fn open(backings: &[Backing], layout: Layout) -> Result<Download, Error> {
        for (file, backing) in backings.iter().enumerate() {
            assert!(
                layout.needed(file) <= backing.size,
                "the layout needs more of {}",
                backing.path.display()
            );
        }
        assert_eq!(layout.needed(backings.len()), 0, "the layout names a file that is not there");
        let mut found = false;
        let mut files = Vec::with_capacity(backings.len());
        let mut promised = BTreeMap::new();
        for backing in backings {
            let (file, had) = prepared(backing, &mut promised)?;
            found |= had;
            files.push((backing.path.clone(), file));
        }
        Ok(Download { files: Files::unfinished(files, layout), found })
    }

    /// Whether some file had bytes before: then what is there is worth hashing.
    #[must_use]
    pub fn found(&self) -> bool {
        self.found
    }
}

impl Store for Download {
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.files.put(at, bytes)
    }

    fn send(
        &self,
        socket: BorrowedFd<'_>,
        parts: &[Part<'_>],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, SendError> {
        self.files.send(socket, parts, scratch)
    }

    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.files.digest(at, length, sink)
    }
}

/// The file with its full length and the space for it, and whether it had bytes before. `promised`: bytes that earlier files
/// will take, by device.
fn prepared(backing: &Backing, promised: &mut BTreeMap<u64, u64>) -> Result<(File, bool), Error> {
    let Backing { path, size } = backing;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(Error::io(path, "open"))?;
    let metadata = file.metadata().map_err(Error::io(path, "examine"))?;
    let before = metadata.len();
    if before > *size {
        return Err(Error::Occupied { path: path.clone(), size: before, expected: *size });
    }
    match free_in_memory(&file) {
        Some(free) => {
            // st_blocks counts 512 bytes, whatever the file system's blocks are.
            let missing = size.saturating_sub(metadata.blocks() * 512);
            let promised = promised.entry(metadata.dev()).or_default();
            *promised = promised.saturating_add(missing);
            if *promised > free {
                return Err(Error::NoSpace { path: path.clone(), size: *size });
            }
            file.set_len(*size).map_err(Error::io(path, "extend"))?;
        }
        None => allocate(backing, &file, before)?,
    }
    Ok((file, before > 0))
}

/// Bytes that the tmpfs of this file has left; none: it lies on something else.
fn free_in_memory(file: &File) -> Option<u64> {
    let found = fstatfs(file).ok().filter(|found| found.filesystem_type() == TMPFS_MAGIC)?;
    // Without blocks it has no bound.
    let bounded = found.blocks() > 0;
    let block = u64::try_from(found.block_size()).unwrap_or(1);
    Some(if bounded { found.blocks_available().saturating_mul(block) } else { u64::MAX })
}

fn allocate(Backing { path, size }: &Backing, file: &File, before: u64) -> Result<(), Error> {
    let length = i64::try_from(*size).map_err(|_| Error::NoSpace { path: path.clone(), size: *size })?;
    if length == 0 {
        return Ok(());
    }
    let mut result = posix_fallocate(file, 0, length);
    while result == Err(Errno::EINTR) {
        result = posix_fallocate(file, 0, length);
    }
    match result {
        Ok(()) => Ok(()),
        Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
            // Half an allocation is no use to anybody and fills the disk.
            let _ = file.set_len(before);
            Err(Error::NoSpace { path: path.clone(), size: *size })
        }
        Err(e) => Err(Error::io(path, "allocate")(e.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Span;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn two_files(dir: &std::path::Path) -> Download {
        let backings =
            [Backing { path: dir.join("a/x"), size: 200 }, Backing { path: dir.join("y"), size: 60 }];
        let layout = Layout::new([
            Span { file: 0, offset: 100, length: 100 },
            Span { file: 1, offset: 10, length: 50 },
        ]);
        Download::open(&backings, layout).unwrap()
    }

    #[test]
    fn blocks_over_a_file_boundary_arrive_and_leave_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = two_files(dir.path());
        assert!(!store.found());
        let (mut a, b) = UnixStream::pair().unwrap();
        store.write(80, &[[7; 20], [8; 20]].concat()).unwrap();
        store.write(0, &[1; 80]).unwrap();
        let (x, y) =
            (std::fs::read(dir.path().join("a/x")).unwrap(), std::fs::read(dir.path().join("y")).unwrap());
        assert_eq!((&x[100..180], &x[180..], &y[10..30]), (&[1; 80][..], &[7; 20][..], &[8; 20][..]));
        let parts = [Part::Bytes(b"head"), Part::Stored { at: 95, length: 10 }, Part::Bytes(b"tail")];
        assert_eq!(store.send(b.as_fd(), &parts, &mut Vec::new()).unwrap(), 18);
        let mut got = [0; 18];
        a.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"head\x07\x07\x07\x07\x07\x08\x08\x08\x08\x08tail");
        assert!(store.write(140, &[0; 11]).is_err(), "past the torrent's end");
        drop(store);
        assert!(two_files(dir.path()).found());
    }

    #[test]
    fn a_longer_file_of_that_name_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), [1; 20]).unwrap();
        let backing = Backing { path: dir.path().join("f"), size: 10 };
        let error = Download::open(&[backing], Layout::plain([10])).err().unwrap();
        assert!(matches!(error, Error::Occupied { size: 20, expected: 10, .. }), "{error}");
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), [1; 20]);
    }

    #[test]
    fn memory_is_asked_for_all_files_together_and_taken_as_they_come() {
        let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
        let probe = File::create(dir.path().join("probe")).unwrap();
        let Some(free) = free_in_memory(&probe).filter(|free| *free < u64::MAX) else { return };
        // Others may take and free memory meanwhile.
        let most = free / 4 * 3;
        let open = |sizes: [u64; 2]| {
            let backing = |(name, size): (&str, u64)| Backing { path: dir.path().join(name), size };
            let backings: Vec<Backing> = ["a", "b"].into_iter().zip(sizes).map(backing).collect();
            Download::open(&backings, Layout::plain(sizes))
        };
        let error = open([most, most]).err().unwrap();
        assert!(matches!(&error, Error::NoSpace { path, .. } if path.ends_with("b")), "{error}");
        std::fs::remove_file(dir.path().join("a")).unwrap();
        std::fs::remove_file(dir.path().join("b")).unwrap();
        let store = open([1 << 20, 1 << 20]).unwrap();
        let taken = |name| std::fs::metadata(dir.path().join(name)).unwrap();
        assert_eq!((taken("a").len(), taken("a").blocks()), (1 << 20, 0));
        store.write(0, &[1; 4096]).unwrap();
        assert_eq!((taken("a").len(), taken("a").blocks()), (1 << 20, 8));
    }

    #[test]
    fn no_space_is_an_error_and_leaves_none_taken() {
        let dir = tempfile::tempdir().unwrap();
        let backing = Backing { path: dir.path().join("f"), size: 1 << 50 };
        let error = Download::open(&[backing], Layout::plain([1 << 50])).err().unwrap();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert_eq!(std::fs::metadata(dir.path().join("f")).unwrap().len(), 0);
    }
}
