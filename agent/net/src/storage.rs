//! Where a torrent's bytes lie: any range of it is a list of ranges in files, so that pieces can be received straight into
//! the file that the hand-over needs. Never decides whether bytes are good; never holds a torrent in memory of its own.

mod files;
mod download;

pub use download::{Backing, Download};
pub use files::{Files, Fingerprint, Source};

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Buffers of one vectored call: 16 blocks, each with its header, and what a file boundary adds.
const MAX_VECTORS: usize = 64;

/// A range of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index into the store's files.
    pub file: usize,
    /// Bytes from the file's start.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// The torrent's bytes, in order, as spans of files. Files may hold more than that: gaps are the caller's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// (where the span begins in the torrent, span), ascending and without a hole.
    spans: Vec<(u64, Span)>,
    total: u64,
}

impl Layout {
    /// Spans in the torrent's order; empty ones are left out.
    pub fn new(spans: impl IntoIterator<Item = Span>) -> Layout {
        let mut layout = Layout { spans: Vec::new(), total: 0 };
        for span in spans.into_iter().filter(|s| s.length > 0) {
            layout.spans.push((layout.total, span));
            layout.total += span.length;
        }
        layout
    }

    /// Whole files, one after the other.
    pub fn plain(lengths: impl IntoIterator<Item = u64>) -> Layout {
        let span = |(file, length)| Span { file, offset: 0, length };
        Layout::new(lengths.into_iter().enumerate().map(span))
    }

    /// Bytes of the torrent.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The spans of a range of the torrent. What lies past its end is left out.
    pub fn locate(&self, at: u64, length: u64) -> impl Iterator<Item = Span> + '_ {
        let end = at.saturating_add(length);
        let first = self.spans.partition_point(|(start, span)| start + span.length <= at);
        self.spans.iter().skip(first).take_while(move |(start, _)| *start < end).map(move |(start, span)| {
            let from = at.max(*start);
            let to = end.min(start + span.length);
            Span { file: span.file, offset: span.offset + (from - start), length: to - from }
        })
    }

    /// Bytes that file `file` must have to hold all its spans.
    pub(crate) fn needed(&self, file: usize) -> u64 {
        let ends = self.spans.iter().filter(|(_, s)| s.file == file).map(|(_, s)| s.offset + s.length);
        ends.max().unwrap_or(0)
    }
}

/// What is sent: bytes of the protocol, or a range of the torrent.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    Bytes(&'a [u8]),
    Stored { at: u64, length: u64 },
}

/// Holds the bytes of one torrent.
pub trait Store: Send + Sync {
    /// Stores received bytes.
    ///
    /// # Errors
    /// A range that is not in the layout, a store that is read only, or a disk that fails.
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Writes as much of `parts` as the socket takes; bytes written. A store of files has a way with fewer copies.
    ///
    /// # Errors
    /// The socket's, or the reason why the file's bytes can't be vouched for.
    fn send(
        &self,
        socket: BorrowedFd<'_>,
        parts: &[Part<'_>],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, SendError> {
        scratch.clear();
        for part in parts {
            match *part {
                Part::Bytes(bytes) => scratch.extend_from_slice(bytes),
                Part::Stored { at, length } => self
                    .digest(at, length, &mut |bytes| scratch.extend_from_slice(bytes))
                    .map_err(SendError::Store)?,
            }
        }
        nix::unistd::write(socket, scratch).map_err(|e| SendError::Socket(e.into()))
    }

    /// Gives the range's bytes to `sink`, in order.
    ///
    /// # Errors
    /// A file that can't be read or is not what it was.
    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error>;
}

/// Why a file can't serve as storage. Each names the file.
#[derive(Debug)]
pub enum Error {
    Io {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
    NoSpace {
        path: PathBuf,
        size: u64,
    },
    /// Not the file that was hashed.
    Changed {
        path: PathBuf,
        what: &'static str,
    },
    /// The store is only read, or the range is not in it.
    Outside,
    /// Something else stands under the name of a file to download.
    Occupied {
        path: PathBuf,
        size: u64,
        expected: u64,
    },
}

impl Error {
    fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { path: path.to_owned(), doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { path, doing, source } => write!(f, "{}: cannot {doing} it: {source}", path.display()),
            Error::NoSpace { path, size } => {
                write!(
                    f,
                    "{}: no space for its {size} bytes; free some or name another folder",
                    path.display()
                )
            }
            Error::Changed { path, what } => {
                write!(
                    f,
                    "{}: its {what} changed since it was hashed, so it is not served any more",
                    path.display()
                )
            }
            Error::Outside => f.write_str("bytes came for a place that is not to be written"),
            Error::Occupied { path, size, expected } => write!(
                f,
                "{}: has {size} bytes where the torrent's file has {expected}; move it away or name another folder",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Error {}

/// What stopped a send.
#[derive(Debug)]
pub enum SendError {
    Socket(io::Error),
    Store(Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_over_files_and_gaps_is_its_spans() {
        let l = Layout::new([
            Span { file: 0, offset: 112, length: 100 },
            Span { file: 1, offset: 0, length: 0 },
            Span { file: 1, offset: 8, length: 50 },
            Span { file: 0, offset: 300, length: 10 },
        ]);
        assert_eq!((l.total(), l.needed(0), l.needed(1), l.needed(2)), (160, 310, 58, 0));
        let got: Vec<Span> = l.locate(90, 65).collect();
        let want = [
            Span { file: 0, offset: 202, length: 10 },
            Span { file: 1, offset: 8, length: 50 },
            Span { file: 0, offset: 300, length: 5 },
        ];
        assert_eq!(got, want);
        assert_eq!(
            l.locate(155, 500).map(|s| s.length).sum::<u64>(),
            5,
            "what lies past the end is left out"
        );
        assert_eq!(l.locate(160, 1).count(), 0);
        assert_eq!(l.locate(100, 0).count(), 0);
    }
}
