//! The journal of the leases: appended and synced before anybody is told, rewritten by an atomic rename when it has
//! grown. Whatever happens in the middle, kill -9 and power cuts included, what was synced is read back.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::leases::Record;

/// A journal of fewer lines is never rewritten: reading it takes no time.
const MIN_LINES: usize = 4096;
/// It is rewritten when it has this many lines for each that is needed.
const LINES_PER_RECORD: usize = 4;

/// Why leases cannot be kept. Nothing can be acknowledged then, so the server ends and says so.
#[derive(Debug)]
pub enum JournalError {
    /// Another server has the folder.
    Locked {
        path: PathBuf,
    },
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => {
                write!(
                    f,
                    "another DHCP server keeps its leases in {}: stop it or give another --state",
                    path.display()
                )
            }
            Self::Io { what, path, source } if source.kind() == io::ErrorKind::StorageFull => {
                write!(
                    f,
                    "cannot {what} {}: no space is left; without it no lease can be given",
                    path.display()
                )
            }
            Self::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for JournalError {}

/// An open journal; `lock` keeps a second server out.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    lines: usize,
    unsynced: bool,
    _lock: Flock<File>,
}

/// What the journal says at start.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) records: Vec<Record>,
    /// Bytes of a last line that was not finished; nobody was told of it.
    pub(super) torn_bytes: usize,
    /// Lines in the middle that cannot be read: the disk lost them.
    pub(super) bad_lines: Vec<usize>,
}

impl Journal {
    /// Opens or makes `<folder>/leases`, cuts off a torn end and returns what stands before it.
    pub(super) fn open(folder: &Path) -> Result<(Self, Replay), JournalError> {
        let lock = lock(folder)?;
        let path = folder.join("leases");
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(|source| failed("open", &path, source))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|source| failed("read", &path, source))?;
        let (replay, whole, lines) = read(&bytes);
        if replay.torn_bytes > 0 {
            let cut = file.set_len(whole as u64).and_then(|()| file.sync_all());
            cut.map_err(|source| failed("repair", &path, source))?;
        }
        // The file itself must be found after a power cut, not only its content.
        sync_folder(folder)?;
        Ok((Self { path, file, lines, unsynced: false, _lock: lock }, replay))
    }

    /// Writes records; they are safe only after `sync`.
    pub(super) fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        let text: String = records.iter().map(Record::line).collect();
        self.lines += records.len();
        self.unsynced = true;
        self.file.write_all(text.as_bytes()).map_err(|source| failed("write", &self.path, source))
    }

    /// Waits until everything appended is on disk. After an error the kernel may have dropped the pages, so there is
    /// no second try: the caller ends.
    pub(super) fn sync(&mut self) -> Result<(), JournalError> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data().map_err(|source| failed("sync", &self.path, source))?;
        }
        Ok(())
    }

    /// Whether so much of it is old that `replace` is worth it; `needed` is the number of records that count.
    pub(super) fn has_grown(&self, needed: usize) -> bool {
        self.lines > MIN_LINES.max(needed.saturating_mul(LINES_PER_RECORD))
    }

    /// Puts these records in the place of everything so far, at once.
    pub(super) fn replace(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let fresh = self.path.with_extension("new");
        let text: String = records.iter().map(Record::line).collect();
        let write = || {
            let mut file = OpenOptions::new().append(true).create(true).open(&fresh)?;
            file.set_len(0)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, &self.path)?;
            Ok(file)
        };
        self.file = write().map_err(|source| failed("rewrite", &self.path, source))?;
        self.lines = records.len();
        self.unsynced = false;
        sync_folder(self.path.parent().unwrap_or(Path::new(".")))
    }
}

/// The records, how many bytes of the file are whole lines, and how many lines these are.
fn read(bytes: &[u8]) -> (Replay, usize, usize) {
    let mut replay = Replay::default();
    let mut whole = 0;
    let mut lines = 0;
    // Bad lines at the very end are torn; they are bad only once a good one follows.
    let mut doubtful = Vec::new();
    let mut at = 0;
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        at += part.len();
        let text = part.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        match text.and_then(Record::parse) {
            Some(record) => {
                replay.records.push(record);
                replay.bad_lines.append(&mut doubtful);
                whole = at;
            }
            None => doubtful.push(lines),
        }
    }
    replay.torn_bytes = bytes.len() - whole;
    (replay, whole, lines - doubtful.len())
}

fn lock(folder: &Path) -> Result<Flock<File>, JournalError> {
    let path = folder.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| failed("open", &path, source))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => JournalError::Locked { path: folder.to_path_buf() },
        other => failed("lock", &path, other.into()),
    })
}

fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|source| failed("sync", folder, source))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { what, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests;
