//! The store: generations of what the daemons serve, and the images that they share.
//! Decides when a generation becomes the current one, by one rename; never makes what is in it.

mod fingerprint;
mod lock;
#[cfg(test)]
mod tests;

pub use fingerprint::{Fingerprint, Hashed, HashedFile, Hashes};
pub use lock::Lock;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Where the store is unless a command line says otherwise.
pub const DEFAULT: &str = "/var/lib/boottorrent";
/// Ends the name of everything that is not finished: the next run removes it.
const UNFINISHED: &str = ".tmp";
/// The current generation and the one before it, so that going back is one rename.
const KEPT_GENERATIONS: usize = 2;
/// Bytes of two files that are compared at once.
const COMPARED: usize = 1 << 20;

/// A step that the file system refused.
#[derive(Debug)]
pub struct Error {
    pub path: PathBuf,
    pub doing: &'static str,
    pub source: io::Error,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, doing, source } = self;
        match source.kind() {
            io::ErrorKind::StorageFull => {
                write!(
                    f,
                    "{}: cannot {doing}: no space is left; make room there and try again",
                    path.display()
                )
            }
            _ => write!(f, "{}: cannot {doing}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// Gives an I/O error its path and its purpose.
pub trait Context<T> {
    /// # Errors
    /// The same one, with path and purpose.
    fn at(self, path: &Path, doing: &'static str) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn at(self, path: &Path, doing: &'static str) -> Result<T, Error> {
        self.map_err(|e| Error { path: path.to_owned(), doing, source: e.into() })
    }
}

/// `generation.toml`: what a generation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    pub number: u64,
    pub site: String,
    /// SHA-256 over everything in it but signatures, as if its number were 0: equal digests publish nothing.
    pub digest: String,
    /// The folders below `images/` that it serves from, with their sidecar files.
    pub images: Vec<String>,
}

/// A store on disk.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    #[must_use]
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned() }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    #[must_use]
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    fn generations(&self) -> PathBuf {
        self.root.join("generations")
    }

    /// Makes the folders, takes the lock, and removes what an earlier run left unfinished.
    ///
    /// # Errors
    /// Another run holds the lock, or the file system refuses.
    pub fn open_for_writing(&self) -> Result<Lock, Error> {
        for folder in [&self.root, &self.generations(), &self.images()] {
            fs::create_dir_all(folder).at(folder, "be made")?;
        }
        let lock = Lock::take(&self.root)?;
        for folder in [&self.root, &self.generations(), &self.images()] {
            for path in list(folder)? {
                if path.to_string_lossy().ends_with(UNFINISHED) {
                    remove(&path)?;
                }
            }
        }
        Ok(lock)
    }

    /// Bytes on disk of what an earlier run left unfinished: the next one frees them before it writes.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn unfinished_bytes(&self) -> Result<u64, Error> {
        let mut bytes = 0;
        for folder in [self.generations(), self.images()].iter().filter(|f| f.is_dir()) {
            for path in list(folder)?.iter().filter(|p| p.to_string_lossy().ends_with(UNFINISHED)) {
                bytes += bytes_on_disk(path)?;
            }
        }
        Ok(bytes)
    }

    /// The generation that the daemons serve; none in a new store.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn current_generation(&self) -> Result<Option<Generation>, Error> {
        read_generation(&self.current())
    }

    /// The number for the next generation: above all that ever were here.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn next_number(&self) -> Result<u64, Error> {
        Ok(self.numbers()?.last().map_or(1, |n| n + 1))
    }

    fn numbers(&self) -> Result<BTreeSet<u64>, Error> {
        let paths = list(&self.generations())?;
        Ok(paths.iter().filter_map(|p| p.file_name()?.to_str()?.parse().ok()).collect())
    }

    /// An empty folder for a generation that is being made.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn stage_generation(&self, number: u64) -> Result<PathBuf, Error> {
        fresh_folder(self.generations().join(format!("{number}{UNFINISHED}")))
    }

    /// An empty folder for an image that is being copied; [`Store::finish_image`] gives it its name.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn stage_image(&self, name: &str) -> Result<PathBuf, Error> {
        fresh_folder(self.images().join(format!("{name}{UNFINISHED}")))
    }

    /// Makes a copied image visible under its info-hash. One that stands there already is taken aside by the same
    /// rename, so that there is no moment without it. Its good files are taken over as they are: the current generation
    /// knows them by their inodes, and stays whole if this run ends before it publishes.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn finish_image(&self, staged: &Path, name: &str) -> Result<PathBuf, Error> {
        let path = self.images().join(name);
        sync_all(staged)?;
        if path.is_dir() {
            take_over(&path, staged)?;
            renameat2(AT_FDCWD, staged, AT_FDCWD, &path, RenameFlags::RENAME_EXCHANGE)
                .at(&path, "be exchanged")?;
            sync(&self.images())?;
            remove(staged)?;
        } else {
            fs::rename(staged, &path).at(&path, "be put in place")?;
            sync(&self.images())?;
        }
        Ok(path)
    }

    /// Removes a staged image that turned out to be here already.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn discard(&self, staged: &Path) -> Result<(), Error> {
        remove(staged)
    }

    /// Makes a staged generation the current one: it is on disk before its name is, and the switch is one rename.
    ///
    /// # Errors
    /// The file system refuses; then the old generation is the current one.
    pub fn publish(&self, staged: &Path, generation: &Generation) -> Result<(), Error> {
        let text = toml::to_string(generation).unwrap_or_default();
        let file = staged.join("generation.toml");
        fs::write(&file, text).at(&file, "be written")?;
        sync_all(staged)?;
        let path = self.generations().join(generation.number.to_string());
        fs::rename(staged, &path).at(&path, "be put in place")?;
        sync(&self.generations())?;
        let link = self.root.join(format!("current{UNFINISHED}"));
        let target = Path::new("generations").join(generation.number.to_string());
        symlink(target, &link).at(&link, "be made")?;
        fs::rename(&link, self.current()).at(&self.current(), "be switched")?;
        sync(&self.root)
    }

    /// Removes generations beyond the current and the newest other one, and images that neither names.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn collect(&self) -> Result<(), Error> {
        let Some(current) = self.current_generation()? else { return Ok(()) };
        let mut numbers = self.numbers()?;
        numbers.remove(&current.number);
        let kept: BTreeSet<u64> = numbers.iter().rev().take(KEPT_GENERATIONS - 1).copied().collect();
        let mut images: BTreeSet<String> = current.images.iter().cloned().collect();
        for number in numbers {
            let path = self.generations().join(number.to_string());
            if kept.contains(&number) {
                images.extend(read_generation(&path)?.into_iter().flat_map(|g| g.images));
            } else {
                // Renamed first: a run that is killed in the middle leaves no half of a generation under its name.
                let doomed = self.generations().join(format!("{number}{UNFINISHED}"));
                fs::rename(&path, &doomed).at(&path, "be put aside")?;
                remove(&doomed)?;
            }
        }
        for path in list(&self.images())? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !images.contains(&name) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

fn read_generation(folder: &Path) -> Result<Option<Generation>, Error> {
    let path = folder.join("generation.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).at(&path, "be read"),
    };
    let parsed = toml::from_str(&text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.message()));
    parsed.map(Some).at(&path, "be understood")
}

/// Writes beside `path`, brings it to disk and renames it over.
///
/// # Errors
/// The file system refuses; then `path` is as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(UNFINISHED);
    let staged = folder.join(name);
    fs::write(&staged, bytes).at(&staged, "be written")?;
    let file = File::open(&staged).at(&staged, "be opened")?;
    file.sync_all().at(&staged, "be brought to disk")?;
    fs::rename(&staged, path).at(path, "be put in place")?;
    sync(folder)
}

/// The entries of a folder, sorted.
///
/// # Errors
/// It cannot be read.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).at(folder, "be listed")? {
        paths.push(entry.at(folder, "be listed")?.path());
    }
    paths.sort();
    Ok(paths)
}

fn bytes_on_disk(path: &Path) -> Result<u64, Error> {
    /// The unit of st_blocks (stat(2)), whatever the file system's own is.
    const BLOCK: u64 = 512;
    let metadata = path.symlink_metadata().at(path, "be looked at")?;
    let mut bytes = metadata.blocks() * BLOCK;
    if metadata.is_dir() {
        for entry in list(path)? {
            bytes += bytes_on_disk(&entry)?;
        }
    }
    Ok(bytes)
}

/// Links the files of `old` into `new` in the place of equal copies, and those that only `old` has.
fn take_over(old: &Path, new: &Path) -> Result<(), Error> {
    for path in list(old)? {
        let copy = new.join(path.file_name().unwrap_or_default());
        if copy.symlink_metadata().is_ok() {
            if !have_same_bytes(&path, &copy)? {
                continue;
            }
            remove(&copy)?;
        }
        fs::hard_link(&path, &copy).at(&copy, "be linked")?;
    }
    sync(new)
}

fn have_same_bytes(a: &Path, b: &Path) -> Result<bool, Error> {
    let open =
        |path: &Path| File::open(path).map(|f| BufReader::with_capacity(COMPARED, f)).at(path, "be read");
    let length = |path: &Path| path.metadata().map(|m| m.len()).at(path, "be looked at");
    if length(a)? != length(b)? {
        return Ok(false);
    }
    let (mut left, mut right) = (open(a)?, open(b)?);
    loop {
        let one = left.fill_buf().at(a, "be read")?;
        let other = right.fill_buf().at(b, "be read")?;
        let common = one.len().min(other.len());
        if common == 0 {
            return Ok(one.is_empty() && other.is_empty());
        }
        if one[..common] != other[..common] {
            return Ok(false);
        }
        left.consume(common);
        right.consume(common);
    }
}

fn fresh_folder(path: PathBuf) -> Result<PathBuf, Error> {
    if path.symlink_metadata().is_ok() {
        remove(&path)?;
    }
    fs::create_dir(&path).at(&path, "be made")?;
    Ok(path)
}

fn remove(path: &Path) -> Result<(), Error> {
    let is_folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.at(path, "be removed")
}

/// Everything below `path`, files and folders, to disk.
fn sync_all(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        for entry in list(path)? {
            sync_all(&entry)?;
        }
    }
    sync(path)
}

/// fsync of one file or folder: a rename is only on disk once its folder is.
fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|f| f.sync_all()).at(path, "be brought to disk")
}
