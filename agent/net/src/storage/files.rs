//! A store of files: the master's images, which are only read, and what is being downloaded. Reads by pread, so a file that
//! shrinks is a short read and not a SIGBUS, and vouches for no byte of a master's file that is not the one that was hashed.

use super::{Error, Layout, MAX_VECTORS, Part, SendError, Span, Store};
use std::fs::{File, Metadata};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes of one read: what a link's queue holds, and small enough to stay in the cache until it is sent.
const CHUNK: usize = 256 * 1024;
/// Bytes hashed at a time: still in the nearest cache when the hash comes to them.
const HASH_CHUNK: usize = 64 * 1024;

/// What a file looked like when it was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// None where device numbers do not survive a restart.
    pub device: Option<u64>,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    pub mtime_ns: i64,
}

impl Fingerprint {
    #[must_use]
    pub fn of(m: &Metadata) -> Fingerprint {
        let mtime_ns = m.mtime().saturating_mul(1_000_000_000).saturating_add(m.mtime_nsec());
        Fingerprint { device: Some(m.dev()), inode: m.ino(), size: m.size(), mtime_ns }
    }

    /// What differs, as a word for people.
    fn differs(&self, now: &Fingerprint) -> Option<&'static str> {
        if self.size != now.size {
            Some("size")
        } else if self.mtime_ns != now.mtime_ns {
            Some("time of modification")
        } else if self.inode != now.inode || self.device.is_some_and(|d| Some(d) != now.device) {
            Some("inode")
        } else {
            None
        }
    }
}

/// A file to send from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    /// None: as it is now.
    pub fingerprint: Option<Fingerprint>,
}

struct Opened {
    path: PathBuf,
    file: File,
    /// None: it is being downloaded, and its bytes are vouched for by their digests.
    fingerprint: Option<Fingerprint>,
}

impl Opened {
    fn new(source: &Source) -> Result<Opened, Error> {
        let path = source.path.clone();
        let file = File::open(&path).map_err(Error::io(&path, "open"))?;
        let now = fingerprint(&file, &path)?;
        let fingerprint = Some(source.fingerprint.unwrap_or(now));
        let opened = Opened { path, file, fingerprint };
        opened.check()?;
        Ok(opened)
    }

    fn check(&self) -> Result<(), Error> {
        let Some(then) = &self.fingerprint else { return Ok(()) };
        match then.differs(&fingerprint(&self.file, &self.path)?) {
            Some(what) => Err(Error::Changed { path: self.path.clone(), what }),
            None => Ok(()),
        }
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Error::Changed { path: self.path.clone(), what: "size" })
            }
            Err(e) => Err(Error::io(&self.path, "read")(e)),
        }
    }
}

fn fingerprint(file: &File, path: &Path) -> Result<Fingerprint, Error> {
    Ok(Fingerprint::of(&file.metadata().map_err(Error::io(path, "examine"))?))
}

/// Files that are sent from.
pub struct Files {
    layout: Layout,
    files: Vec<Opened>,
}

impl Files {
    /// # Errors
    /// A file that is not there, not readable, or not the one that was hashed.
    pub fn open(sources: &[Source], layout: Layout) -> Result<Files, Error> {
        let files = sources.iter().map(Opened::new).collect::<Result<Vec<Opened>, Error>>()?;
        for (n, opened) in files.iter().enumerate() {
            if opened.fingerprint.is_some_and(|f| layout.needed(n) > f.size) {
                return Err(Error::Changed { path: opened.path.clone(), what: "size" });
            }
        }
        Ok(Files { layout, files })
    }

    /// Asks of every file whether it still is the one that was hashed.
    ///
    /// # Errors
    /// The first that is not, by name.
    pub fn check(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(Opened::check)
    }

    /// Files that are being written, by paths for messages.
    pub(super) fn unfinished(files: Vec<(PathBuf, File)>, layout: Layout) -> Files {
        let opened = |(path, file)| Opened { path, file, fingerprint: None };
        Files { layout, files: files.into_iter().map(opened).collect() }
    }

    /// Writes to where the layout says.
    pub(super) fn put(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        for span in self.layout.locate(at, bytes.len() as u64) {
            let length = usize::try_from(span.length).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at_checked(length).ok_or(Error::Outside)?;
            let opened = self.file(&span)?;
            opened.file.write_all_at(now, span.offset).map_err(Error::io(&opened.path, "write"))?;
            rest = later;
        }
        if rest.is_empty() { Ok(()) } else { Err(Error::Outside) }
    }

    fn file(&self, span: &Span) -> Result<&Opened, Error> {
        let missing =
            || io::Error::new(io::ErrorKind::InvalidInput, "the layout names a file that is not there");
        self.files.get(span.file).ok_or_else(|| Error::io(Path::new(""), "find")(missing()))
    }

    /// Reads the stored parts, one after the other, into `scratch`, and only then asks whether the files changed: what was
    /// read before an unchanged fingerprint is what was hashed. Gives the bytes read; what lies behind them is of before,
    /// since clearing it costs as much as a copy.
    fn load<'s>(&self, parts: &[Part<'_>], scratch: &'s mut Vec<u8>) -> Result<&'s [u8], Error> {
        let mut filled = 0;
        let mut last: Option<&Opened> = None;
        for (at, length) in runs(parts) {
            for span in self.layout.locate(at, length) {
                let opened = self.file(&span)?;
                let end = filled + usize::try_from(span.length).unwrap_or(0);
                if scratch.len() < end {
                    scratch.resize(end, 0);
                }
                opened.read(span.offset, &mut scratch[filled..end])?;
                filled = end;
                if last.is_some_and(|last| !std::ptr::eq(last, opened)) {
                    last.map_or(Ok(()), Opened::check)?;
                }
                last = Some(opened);
            }
        }
        last.map_or(Ok(()), Opened::check)?;
        Ok(&scratch[..filled])
    }
}

/// Where the stored parts lie, and how long: those that follow one another are read at once.
fn runs(parts: &[Part<'_>]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for part in parts {
        let Part::Stored { at, length } = *part else { continue };
        match runs.last_mut() {
            Some((from, so_far)) if *from + *so_far == at => *so_far += length,
            _ => runs.push((at, length)),
        }
    }
    runs
}

/// As many parts as one buffer holds (but one at least): what the socket won't take need not be read.
fn affordable<'p, 'a>(parts: &'p [Part<'a>]) -> &'p [Part<'a>] {
    let mut bytes = 0u64;
    let count = parts.iter().take(MAX_VECTORS).take_while(|part| {
        let first = bytes == 0;
        bytes += match part {
            Part::Bytes(_) => 0,
            Part::Stored { length, .. } => *length,
        };
        first || bytes <= CHUNK as u64
    });
    &parts[..count.count()]
}

impl Store for Files {
    fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
        Err(Error::Outside)
    }

    fn send(
        &self,
        socket: BorrowedFd<'_>,
        parts: &[Part<'_>],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, SendError> {
        let parts = affordable(parts);
        let mut rest = self.load(parts, scratch).map_err(SendError::Store)?;
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(parts.len());
        for part in parts {
            match *part {
                Part::Bytes(bytes) => slices.push(IoSlice::new(bytes)),
                Part::Stored { length, .. } => {
                    // A part that lies past the layout's end was loaded shorter than it says.
                    let (now, later) =
                        rest.split_at(usize::try_from(length).unwrap_or(usize::MAX).min(rest.len()));
                    slices.push(IoSlice::new(now));
                    rest = later;
                }
            }
        }
        nix::sys::uio::writev(socket, &slices).map_err(|e| SendError::Socket(e.into()))
    }

    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let mut buffer = vec![0; HASH_CHUNK];
        for span in self.layout.locate(at, length) {
            let opened = self.file(&span)?;
            let mut done = 0;
            while done < span.length {
                let now = usize::try_from(span.length - done).map_or(HASH_CHUNK, |rest| rest.min(HASH_CHUNK));
                let chunk = &mut buffer[..now];
                opened.read(span.offset + done, chunk)?;
                sink(chunk);
                done += now as u64;
            }
            opened.check()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn image(dir: &Path) -> Files {
        std::fs::write(dir.join("a"), [1; 1000]).unwrap();
        std::fs::write(dir.join("b"), [2; 500]).unwrap();
        let source = |name| Source { path: dir.join(name), fingerprint: None };
        Files::open(&[source("a"), source("b")], Layout::plain([1000, 500])).unwrap()
    }

    fn sent(store: &Files, at: u64, length: u64) -> Result<Vec<u8>, SendError> {
        let (mut a, b) = UnixStream::pair().unwrap();
        let n = store.send(b.as_fd(), &[Part::Bytes(b"h"), Part::Stored { at, length }], &mut Vec::new())?;
        let mut got = vec![0; n];
        a.read_exact(&mut got).unwrap();
        Ok(got)
    }

    #[test]
    fn ranges_over_files_are_sent_with_their_header() {
        let dir = tempfile::tempdir().unwrap();
        let got = sent(&image(dir.path()), 998, 4).unwrap();
        assert_eq!(got, b"h\x01\x01\x02\x02");
    }

    #[test]
    fn blocks_that_follow_one_another_are_read_at_once_and_sent_each_behind_its_header() {
        let dir = tempfile::tempdir().unwrap();
        let store = image(dir.path());
        let stored = |at, length| Part::Stored { at, length };
        let (h, i, j) = (Part::Bytes(b"h"), Part::Bytes(b"i"), Part::Bytes(b"j"));
        let parts = [h, stored(997, 2), i, stored(999, 2), j, stored(0, 1)];
        assert_eq!(runs(&parts), [(997, 4), (0, 1)]);
        let (mut a, b) = UnixStream::pair().unwrap();
        // A buffer that has been used before, and more of it.
        let mut scratch = vec![9; 100];
        let n = store.send(b.as_fd(), &parts, &mut scratch).unwrap();
        let mut got = vec![0; n];
        a.read_exact(&mut got).unwrap();
        assert_eq!(got, b"h\x01\x01i\x01\x02j\x01");
    }

    #[test]
    fn a_file_that_changed_is_refused_by_name_and_kills_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let store = image(dir.path());
        std::fs::OpenOptions::new().write(true).open(dir.path().join("b")).unwrap().set_len(100).unwrap();
        let error = sent(&store, 1200, 10).unwrap_err();
        assert!(
            matches!(&error, SendError::Store(Error::Changed { path, what: "size" }) if path.ends_with("b")),
            "{error:?}"
        );
        assert!(sent(&store, 0, 10).is_ok(), "the other file is still good");
        assert!(store.check().is_err());
    }

    #[test]
    fn a_rewrite_of_equal_length_is_seen_by_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = image(dir.path());
        let mut file = std::fs::OpenOptions::new().write(true).open(dir.path().join("a")).unwrap();
        file.write_all(&[9; 1000]).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(matches!(
            sent(&store, 0, 10),
            Err(SendError::Store(Error::Changed { what: "time of modification", .. }))
        ));
    }

    #[test]
    fn another_file_under_the_name_is_refused_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), [1; 10]).unwrap();
        let path = dir.path().join("a");
        let old = Fingerprint::of(&std::fs::metadata(&path).unwrap());
        let open = |fingerprint| {
            Files::open(&[Source { path: path.clone(), fingerprint: Some(fingerprint) }], Layout::plain([10]))
                .err()
        };
        assert!(open(old).is_none());
        assert!(matches!(
            open(Fingerprint { inode: old.inode + 1, ..old }),
            Some(Error::Changed { what: "inode", .. })
        ));
        assert!(open(Fingerprint { device: None, ..old }).is_none());
    }

    #[test]
    fn the_read_buffer_bounds_what_is_loaded_at_once() {
        let big = [
            Part::Stored { at: 0, length: 200_000 },
            Part::Bytes(b"x"),
            Part::Stored { at: 0, length: 100_000 },
        ];
        assert_eq!(affordable(&big).len(), 2);
        assert_eq!(affordable(&[Part::Stored { at: 0, length: 1 << 30 }]).len(), 1);
    }
}
