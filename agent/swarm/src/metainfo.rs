//! A v1 torrent (BEP 3, 12, 27) and its geometry: which bytes are which piece and block.
//! Decides that a claimed index is a piece; never touches a file.

use crate::InfoHash;
use crate::bencode::{self, Dict, Value};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use sha1::{Digest, Sha1};

/// Bytes of a request (BEP 3: links are closed on larger ones).
pub const BLOCK: u32 = 16 * 1024;
/// Pieces of one torrent: 16 GiB at the smallest piece length that boottorrent-gen takes, and a bitfield of 128 KiB.
pub const MAX_PIECES: u32 = 1 << 20;
/// Piece lengths seen in the field end at 16 MiB; a piece must fit into memory several times.
pub const MAX_PIECE_LENGTH: u32 = 64 << 20;

/// Why a torrent was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Syntax(bencode::Error),
    /// A key is missing or has the wrong type.
    Key(&'static str),
    /// The file list says a path that could leave its folder, or none.
    Path(String),
    Geometry(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax(e) => e.fmt(f),
            Error::Key(key) => write!(f, "torrent: key \"{key}\" is missing or of the wrong type"),
            Error::Path(path) => write!(f, "torrent: the path {path:?} could leave its folder"),
            Error::Geometry(what) => write!(f, "torrent: {what}"),
        }
    }
}

impl core::error::Error for Error {}

impl From<bencode::Error> for Error {
    fn from(e: bencode::Error) -> Error {
        Error::Syntax(e)
    }
}

/// How a torrent's bytes are cut into pieces, and pieces into blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    piece_length: u32,
    total: u64,
    pieces: u32,
}

/// The index of a piece that exists in the geometry which made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece(u32);

impl Piece {
    #[must_use]
    pub fn index(self) -> u32 {
        self.0
    }
}

/// A range inside one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    pub piece: Piece,
    /// Bytes from the piece's start.
    pub offset: u32,
    /// Bytes, at most [`BLOCK`] where we ask for it.
    pub length: u32,
}

impl Geometry {
    /// # Errors
    /// Nothing to share, or outside the limits of this module.
    pub fn new(piece_length: u32, total: u64) -> Result<Geometry, Error> {
        if piece_length == 0 || piece_length > MAX_PIECE_LENGTH {
            return Err(Error::Geometry("piece length is 0 or above 64 MiB"));
        }
        if total == 0 {
            return Err(Error::Geometry("there are no bytes to share"));
        }
        match u32::try_from(total.div_ceil(u64::from(piece_length))) {
            Ok(pieces) if pieces <= MAX_PIECES => Ok(Geometry { piece_length, total, pieces }),
            _ => Err(Error::Geometry("more than 1,048,576 pieces")),
        }
    }

    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    #[must_use]
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// The only way from a number that somebody sent to a piece.
    #[must_use]
    pub fn piece(&self, claim: u32) -> Option<Piece> {
        (claim < self.pieces).then_some(Piece(claim))
    }

    pub fn all(&self) -> impl Iterator<Item = Piece> + use<> {
        (0..self.pieces).map(Piece)
    }

    /// Where the piece begins, in bytes of the torrent.
    #[must_use]
    pub fn piece_offset(&self, piece: Piece) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Bytes of the piece: the last one may be shorter.
    #[must_use]
    pub fn piece_size(&self, piece: Piece) -> u32 {
        let rest = self.total.saturating_sub(self.piece_offset(piece));
        u32::try_from(rest).map_or(self.piece_length, |rest| rest.min(self.piece_length))
    }

    /// Number of blocks of the piece.
    #[must_use]
    pub fn blocks(&self, piece: Piece) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK)
    }

    /// The `n`th block of the piece, if it has so many.
    #[must_use]
    pub fn block(&self, piece: Piece, n: u32) -> Option<Block> {
        let size = self.piece_size(piece);
        let offset = n.checked_mul(BLOCK).filter(|&o| o < size)?;
        Some(Block { piece, offset, length: BLOCK.min(size - offset) })
    }

    /// A claimed range, if it lies inside one piece and is no longer than a block.
    #[must_use]
    pub fn claim(&self, index: u32, offset: u32, length: u32) -> Option<Block> {
        let piece = self.piece(index)?;
        let inside = offset.checked_add(length)? <= self.piece_size(piece);
        (inside && length > 0 && length <= BLOCK).then_some(Block { piece, offset, length })
    }
}

/// A file of a torrent: path components below the torrent's own folder (or the one name of a single-file torrent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
}

/// What a .torrent says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metainfo {
    pub info_hash: InfoHash,
    pub name: String,
    pub geometry: Geometry,
    pub files: Vec<File>,
    /// A single-file torrent has no folder of its own.
    pub single_file: bool,
    /// Tiers of tracker URLs (BEP 12); `announce` alone is one tier of one.
    pub announce: Vec<Vec<String>>,
    pub private: bool,
    pieces: Vec<[u8; 20]>,
}

impl Metainfo {
    /// # Errors
    /// Syntax, missing keys, paths that leave the folder, piece counts that do not fit the length.
    pub fn parse(bytes: &[u8]) -> Result<Metainfo, Error> {
        let document = bencode::parse(bytes)?;
        let root = document.as_dict().ok_or(Error::Key("(root)"))?;
        let info = root.dict("info").ok_or(Error::Key("info"))?;
        let name = info.str("name").ok_or(Error::Key("name"))?;
        checked_component(name)?;
        let piece_length = info.uint("piece length").and_then(|l| u32::try_from(l).ok());
        let piece_length = piece_length.ok_or(Error::Key("piece length"))?;
        let single_file = info.get("files").is_none();
        let files = if single_file {
            let length = info.uint("length").ok_or(Error::Key("length"))?;
            alloc::vec![File { path: alloc::vec![String::from(name)], length }]
        } else {
            files(info)?
        };
        let total = files.iter().try_fold(0u64, |sum, f| sum.checked_add(f.length));
        let geometry = Geometry::new(piece_length, total.ok_or(Error::Geometry("lengths overflow"))?)?;
        let (pieces, rest) = info.bytes("pieces").ok_or(Error::Key("pieces"))?.as_chunks::<20>();
        if !rest.is_empty() || pieces.len() != geometry.pieces() as usize {
            return Err(Error::Geometry("the number of piece hashes does not fit the length"));
        }
        Ok(Metainfo {
            info_hash: InfoHash(Sha1::digest(info.source).into()),
            name: String::from(name),
            geometry,
            files,
            single_file,
            announce: announce(root),
            private: info.uint("private") == Some(1),
            pieces: pieces.to_vec(),
        })
    }

    #[must_use]
    pub fn piece_sha1(&self, piece: Piece) -> [u8; 20] {
        self.pieces.get(piece.0 as usize).copied().unwrap_or_default()
    }

    /// One SHA-1 a piece, in order.
    #[must_use]
    pub fn sha1_list(&self) -> &[[u8; 20]] {
        &self.pieces
    }
}

fn files(info: &Dict<'_>) -> Result<Vec<File>, Error> {
    let list = info.list("files").ok_or(Error::Key("files"))?;
    if list.is_empty() {
        return Err(Error::Key("files"));
    }
    list.iter()
        .map(|entry| {
            let entry = entry.as_dict().ok_or(Error::Key("files"))?;
            let length = entry.uint("length").ok_or(Error::Key("files.length"))?;
            let path = entry.list("path").ok_or(Error::Key("files.path"))?;
            let path: Result<Vec<String>, Error> = path.iter().map(component).collect();
            let path = path?;
            if path.is_empty() { Err(Error::Path(String::new())) } else { Ok(File { path, length }) }
        })
        .collect()
}

fn component(value: &Value<'_>) -> Result<String, Error> {
    let bytes = value.as_bytes().ok_or(Error::Key("files.path"))?;
    let text = core::str::from_utf8(bytes).map_err(|_| Error::Key("files.path"))?;
    checked_component(text)?;
    Ok(String::from(text))
}

/// A path component that stays where it is put: not empty, no separator, neither `.` nor `..`, no NUL.
fn checked_component(text: &str) -> Result<(), Error> {
    let bad = text.is_empty() || text == "." || text == ".." || text.contains(['/', '\\', '\0']);
    if bad { Err(Error::Path(String::from(text))) } else { Ok(()) }
}

fn announce(root: &Dict<'_>) -> Vec<Vec<String>> {
    let url = |v: &Value<'_>| v.as_bytes().and_then(|b| core::str::from_utf8(b).ok()).map(String::from);
    let tiers: Vec<Vec<String>> = root
        .list("announce-list")
        .unwrap_or_default()
        .iter()
        .filter_map(|tier| match tier {
            Value::List(urls) => Some(urls.iter().filter_map(url).collect()),
            _ => None,
        })
        .filter(|tier: &Vec<String>| !tier.is_empty())
        .collect();
    match root.str("announce") {
        Some(one) if tiers.is_empty() => alloc::vec![alloc::vec![String::from(one)]],
        _ => tiers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::Writer;

    fn torrent(path: &[&str], length: u64, pieces: usize) -> Vec<u8> {
        let mut w = Writer::new();
        w.dict(|w| {
            w.str("announce").str("udp://10.0.0.1:6969").str("info").dict(|w| {
                w.str("files").list(|w| {
                    w.dict(|w| {
                        w.str("length").int(length).str("path").list(|w| {
                            path.iter().for_each(|p| {
                                w.str(p);
                            });
                        });
                    });
                });
                w.str("name").str("os").str("piece length").int(32768);
                w.str("pieces").bytes(&alloc::vec![7; 20 * pieces]);
            });
        });
        w.finish()
    }

    #[test]
    fn a_torrent_reads() {
        let bytes = torrent(&["a", "b"], 100_000, 4);
        let m = Metainfo::parse(&bytes).unwrap();
        assert_eq!(m.files, [File { path: alloc::vec!["a".into(), "b".into()], length: 100_000 }]);
        assert_eq!(m.announce, [["udp://10.0.0.1:6969"]]);
        let last = m.geometry.piece(3).unwrap();
        assert_eq!((m.geometry.piece_size(last), m.geometry.blocks(last)), (100_000 - 3 * 32768, 1));
        assert_eq!(m.geometry.piece(4), None);
        let info = &bytes[bytes.windows(6).position(|w| w == b"4:info").unwrap() + 6..bytes.len() - 1];
        assert_eq!(m.info_hash.0, <[u8; 20]>::from(Sha1::digest(info)));
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for path in [&[".."][..], &["a", "..", "b"], &[""], &["/etc"], &["a\\b"], &["."], &["a\0"], &[]] {
            assert!(matches!(Metainfo::parse(&torrent(path, 100_000, 4)), Err(Error::Path(_))), "{path:?}");
        }
    }

    #[test]
    fn piece_counts_must_fit() {
        for pieces in [0, 3, 5] {
            assert!(matches!(Metainfo::parse(&torrent(&["a"], 100_000, pieces)), Err(Error::Geometry(_))));
        }
        assert!(Metainfo::parse(&torrent(&["a"], 0, 0)).is_err());
    }

    #[test]
    fn claims_outside_the_geometry_are_none() {
        let g = Geometry::new(40_000, 100_000).unwrap();
        assert_eq!(g.pieces(), 3);
        assert!(g.claim(2, 0, 16384).is_some());
        assert!(g.claim(2, 0, 20_000).is_none(), "longer than a block");
        assert!(g.claim(2, 16384, 16384).is_none(), "past the end of the last piece");
        assert!(g.claim(0, u32::MAX, 2).is_none());
        assert!(g.claim(0, 0, 0).is_none());
        let p = g.piece(0).unwrap();
        assert_eq!(g.block(p, 2), Some(Block { piece: p, offset: 32768, length: 40_000 - 32768 }));
        assert_eq!(g.block(p, 3), None);
    }
}
