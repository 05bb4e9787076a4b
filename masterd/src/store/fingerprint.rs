//! What a file looked like when it was hashed, so that an unchanged one is not hashed again.
//! Decides whether two looks show the same file; never reads its bytes.

use super::{Context, Error, Store, write_atomically};
use crate::seed::config::FingerprintConfig;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Hashed images that are remembered; beyond them the oldest entries are forgotten and their images hashed again.
const MAX_HASHED: usize = 1024;

/// A file's identity and times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    pub dev: u64,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    pub mtime_ns: i64,
    /// Changes with every write and cannot be set back by a program, as mtime can.
    pub ctime_ns: i64,
}

impl Fingerprint {
    /// # Errors
    /// The file cannot be looked at.
    pub fn of(path: &Path) -> Result<Fingerprint, Error> {
        let m = fs::metadata(path).at(path, "be looked at")?;
        let nanoseconds = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Ok(Fingerprint {
            dev: m.dev(),
            inode: m.ino(),
            size: m.len(),
            mtime_ns: nanoseconds(m.mtime(), m.mtime_nsec()),
            ctime_ns: nanoseconds(m.ctime(), m.ctime_nsec()),
        })
    }

    /// What the seed compares before each read. The device is left out: its number may differ after a restart, and
    /// does inside a container; a chmod (ctime) does not change what is sent.
    #[must_use]
    pub fn for_seed(&self) -> FingerprintConfig {
        FingerprintConfig { dev: None, inode: self.inode, size: self.size, mtime_ns: self.mtime_ns }
    }
}

/// One file of a hashed image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashedFile {
    pub source: PathBuf,
    /// Its name in the torrent.
    pub name: String,
    /// Of a file that is copied or served as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// Of an archive that gen packs itself, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The file that the seed sends from: the store's copy, or the source itself.
    pub served: FingerprintConfig,
}

/// An image, what it was made of, and what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashed {
    /// The OS's name: it is part of the info-hash.
    pub name: String,
    pub piece_length: u32,
    pub info_hash: String,
    #[serde(rename = "file")]
    pub files: Vec<HashedFile>,
}

/// `hashes.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hashes {
    #[serde(default, rename = "image")]
    images: Vec<Hashed>,
}

impl Hashes {
    /// # Errors
    /// It is there and cannot be read. What cannot be understood counts as nothing: it is only a cache.
    pub fn read(store: &Store) -> Result<Hashes, Error> {
        let path = path(store);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(toml::from_str(&text).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Hashes::default()),
            Err(e) => Err(e).at(&path, "be read"),
        }
    }

    /// The image of this name, if it was hashed before with this piece length.
    #[must_use]
    pub fn find(&self, name: &str, piece_length: u32) -> Option<&Hashed> {
        self.images.iter().find(|h| h.name == name && h.piece_length == piece_length)
    }

    /// Remembers an image, in place of what was known of the same one.
    pub fn remember(&mut self, hashed: Hashed) {
        self.images.retain(|h| h.name != hashed.name || h.piece_length != hashed.piece_length);
        self.images.push(hashed);
        let surplus = self.images.len().saturating_sub(MAX_HASHED);
        self.images.drain(..surplus);
    }

    /// # Errors
    /// The file system refuses.
    pub fn write(&self, store: &Store) -> Result<(), Error> {
        let path = path(store);
        let text = toml::to_string(self).map_err(io::Error::other).at(&path, "be composed")?;
        write_atomically(&path, text.as_bytes())
    }
}

fn path(store: &Store) -> PathBuf {
    store.root().join("hashes.toml")
}
