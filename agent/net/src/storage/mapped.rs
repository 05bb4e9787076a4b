//! A store that is downloaded into: files of full size, mapped, so that a socket's bytes go straight to where they stay.
//! Space is allocated first: on a full tmpfs a hole in a mapping is a SIGBUS, an allocation an error with a sentence.

use super::{Error, Layout, MAX_VECTORS, Part, SendError, Span, Store};
use crate::sys::{self, Mapping, Target};
use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    pub path: PathBuf,
    /// Bytes, gaps included.
    pub size: u64,
}

/// Files that are received into, and sent from.
pub struct Mapped {
    layout: Layout,
    /// None for an empty file: there is nothing to map.
    files: Vec<Option<Mapping>>,
    found: bool,
}

impl Mapped {
    /// Creates or opens the files and allocates all of their space.
    ///
    /// # Errors
    /// No space, no permission, or a longer file of that name.
    ///
    /// # Panics
    /// If the layout names a file or a range that `backings` does not have: that is the caller's arithmetic.
    pub fn open(backings: &[Backing], layout: Layout) -> Result<Mapped, Error> {
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
        for backing in backings {
            let (file, had) = allocated(backing)?;
            found |= had;
            let length = usize::try_from(backing.size).ok().and_then(NonZeroUsize::new);
            let map = |length| Mapping::new(&file, length).map_err(Error::io(&backing.path, "map"));
            files.push(length.map(map).transpose()?);
        }
        Ok(Mapped { layout, files, found })
    }

    /// Whether some file had bytes before: then what is there is worth hashing.
    #[must_use]
    pub fn found(&self) -> bool {
        self.found
    }

    fn target(&self, span: Span) -> io::Result<Target<'_>> {
        let (offset, length) = bounds(span);
        let mapping = self.files.get(span.file).and_then(Option::as_ref);
        mapping.and_then(|m| m.target(offset, length)).ok_or_else(outside)
    }

    fn bytes(&self, span: Span) -> io::Result<&[u8]> {
        let (offset, length) = bounds(span);
        let mapping = self.files.get(span.file).and_then(Option::as_ref);
        mapping.and_then(|m| m.bytes(offset, length)).ok_or_else(outside)
    }
}

impl Store for Mapped {
    fn receive(&self, socket: BorrowedFd<'_>, at: u64, length: u64, spill: &mut [u8]) -> io::Result<usize> {
        let mut targets: Vec<Target<'_>> = Vec::with_capacity(4);
        for span in self.layout.locate(at, length).take(MAX_VECTORS) {
            targets.push(self.target(span)?);
        }
        // A range in more parts than one call takes must not spill: the rest of it comes first.
        if targets.len() < MAX_VECTORS {
            targets.push(Target::buffer(spill));
        }
        sys::receive(socket, &mut targets)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        for span in self.layout.locate(at, bytes.len() as u64) {
            let (offset, length) = bounds(span);
            let (now, later) = rest.split_at_checked(length).ok_or_else(outside)?;
            let mapping = self.files.get(span.file).and_then(Option::as_ref).ok_or_else(outside)?;
            if !mapping.store(offset, now) {
                return Err(outside());
            }
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(outside()) }
    }

    fn send(&self, socket: BorrowedFd<'_>, parts: &[Part<'_>], _: &mut Vec<u8>) -> Result<usize, SendError> {
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(MAX_VECTORS);
        'fill: for part in parts {
            match *part {
                Part::Bytes(bytes) => slices.push(IoSlice::new(bytes)),
                Part::Stored { at, length } => {
                    for span in self.layout.locate(at, length) {
                        if slices.len() >= MAX_VECTORS {
                            break 'fill;
                        }
                        slices.push(IoSlice::new(self.bytes(span).map_err(SendError::Socket)?));
                    }
                }
            }
            if slices.len() >= MAX_VECTORS {
                break;
            }
        }
        nix::sys::uio::writev(socket, &slices).map_err(|e| SendError::Socket(e.into()))
    }

    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        for span in self.layout.locate(at, length) {
            // Mapped::open proved that every span of the layout lies inside its file.
            let bytes = self.bytes(span).map_err(|source| Error::Io {
                path: PathBuf::new(),
                doing: "read",
                source,
            })?;
            sink(bytes);
        }
        Ok(())
    }

    fn expect(&self, at: u64, length: u64) {
        for span in self.layout.locate(at, length) {
            let (offset, length) = bounds(span);
            if let Some(mapping) = self.files.get(span.file).and_then(Option::as_ref) {
                mapping.populate(offset, length);
            }
        }
    }
}

/// 64-bit only: a span that fits its file fits the address space, or mapping it failed before.
fn bounds(span: Span) -> (usize, usize) {
    (usize::try_from(span.offset).unwrap_or(usize::MAX), usize::try_from(span.length).unwrap_or(usize::MAX))
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a range that is not in the layout")
}

/// The file with its full length allocated, and whether it had bytes before.
fn allocated(backing: &Backing) -> Result<(File, bool), Error> {
    let Backing { path, size } = backing;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    }
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(Error::io(path, "open"))?;
    let before = file.metadata().map_err(Error::io(path, "examine"))?.len();
    if before > *size {
        return Err(Error::Occupied { path: path.clone(), size: before, expected: *size });
    }
    let length = i64::try_from(*size).map_err(|_| Error::NoSpace { path: path.clone(), size: *size })?;
    if length > 0 {
        let mut result = posix_fallocate(&file, 0, length);
        while result == Err(Errno::EINTR) {
            result = posix_fallocate(&file, 0, length);
        }
        match result {
            Ok(()) => {}
            Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
                // Half an allocation is no use to anybody and fills the disk.
                let _ = file.set_len(before);
                return Err(Error::NoSpace { path: path.clone(), size: *size });
            }
            Err(e) => return Err(Error::io(path, "allocate")(e.into())),
        }
    }
    Ok((file, before > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn two_files(dir: &std::path::Path) -> Mapped {
        let backings =
            [Backing { path: dir.join("a/x"), size: 200 }, Backing { path: dir.join("y"), size: 60 }];
        let layout = Layout::new([
            Span { file: 0, offset: 100, length: 100 },
            Span { file: 1, offset: 10, length: 50 },
        ]);
        Mapped::open(&backings, layout).unwrap()
    }

    #[test]
    fn blocks_over_a_file_boundary_arrive_and_leave_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = two_files(dir.path());
        assert!(!store.found());
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(&[[7; 40], [8; 40]].concat()).unwrap();
        let mut spill = [0; 32];
        assert_eq!(store.receive(b.as_fd(), 80, 60, &mut spill).unwrap(), 80);
        assert_eq!(spill[..20], [8; 20]);
        store.write(0, &[1; 80]).unwrap();
        let (x, y) =
            (std::fs::read(dir.path().join("a/x")).unwrap(), std::fs::read(dir.path().join("y")).unwrap());
        assert_eq!(
            (&x[100..180], &x[180..], &y[10..50]),
            (&[1; 80][..], &[7; 20][..], &[[7; 20], [8; 20]].concat()[..])
        );
        let parts = [Part::Bytes(b"head"), Part::Stored { at: 95, length: 10 }, Part::Bytes(b"tail")];
        assert_eq!(store.send(b.as_fd(), &parts, &mut Vec::new()).unwrap(), 18);
        let mut got = [0; 18];
        a.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"head\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07tail");
        assert!(store.write(140, &[0; 11]).is_err(), "past the torrent's end");
        drop(store);
        assert!(two_files(dir.path()).found());
    }

    #[test]
    fn a_longer_file_of_that_name_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), [1; 20]).unwrap();
        let backing = Backing { path: dir.path().join("f"), size: 10 };
        let error = Mapped::open(&[backing], Layout::plain([10])).err().unwrap();
        assert!(matches!(error, Error::Occupied { size: 20, expected: 10, .. }), "{error}");
        assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), [1; 20]);
    }

    #[test]
    fn no_space_is_an_error_and_leaves_none_taken() {
        let dir = tempfile::tempdir().unwrap();
        let backing = Backing { path: dir.path().join("f"), size: 1 << 50 };
        let error = Mapped::open(&[backing], Layout::plain([1 << 50])).err().unwrap();
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
        assert_eq!(std::fs::metadata(dir.path().join("f")).unwrap().len(), 0);
    }
}
