//! A folder packed as a newc archive, the same bytes for the same files wherever and whenever it is packed.
//! Decides what an overlay may hold; never follows a link.

use boottorrent_masterd::store::{self, Context};
use cpio::newc::{Builder, trailer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Owner and set-id bits stay what they are, as a person set them.
const MODE: u32 = 0o7777;

/// Why a folder cannot be packed.
#[derive(Debug)]
pub(crate) enum Error {
    Store(store::Error),
    /// A device, a pipe or a socket.
    Kind(PathBuf),
    /// newc has 32 bits for a file's size.
    TooLong(PathBuf),
    /// The archive's names are text here.
    Name(PathBuf),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store(e) => write!(f, "{e}"),
            Error::Kind(path) => write!(f, "{}: no file, folder or link", path.display()),
            Error::TooLong(path) => write!(f, "{}: 4 GiB or more", path.display()),
            Error::Name(path) => write!(f, "{}: the name is not UTF-8", path.display()),
        }
    }
}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Error {
        Error::Store(e)
    }
}

/// Length and SHA-256 of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed {
    pub(crate) length: u64,
    pub(crate) sha256: [u8; 32],
}

/// Packs `folder` into `out`. All belong to root and carry no time; modes are kept.
pub(crate) fn pack(folder: &Path, out: impl Write) -> Result<Packed, Error> {
    let mut paths = Vec::new();
    walk(folder, &mut paths)?;
    let mut out = Summed { inner: out, sha256: Sha256::new(), length: 0 };
    for (number, path) in (1u32..).zip(&paths) {
        add(folder, path, number, &mut out)?;
    }
    trailer(&mut out).at(folder, "be packed")?;
    out.flush().at(folder, "be packed")?;
    Ok(Packed { length: out.length, sha256: out.sha256.finalize().into() })
}

/// Every path below the folder, a folder before what is in it, sorted.
pub(crate) fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    for path in store::list(folder)? {
        let is_folder = path.symlink_metadata().at(&path, "be looked at")?.is_dir();
        paths.push(path.clone());
        if is_folder {
            walk(&path, paths)?;
        }
    }
    Ok(())
}

fn add(folder: &Path, path: &Path, number: u32, out: &mut impl Write) -> Result<(), Error> {
    let metadata = path.symlink_metadata().at(path, "be looked at")?;
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let name = relative.to_str().ok_or_else(|| Error::Name(path.to_owned()))?;
    let kind = metadata.file_type();
    let mode = metadata.mode() & MODE;
    let entry = |mode| Builder::new(name).ino(number).nlink(1).mtime(0).uid(0).gid(0).mode(mode);
    if kind.is_dir() {
        entry(FOLDER | mode).write(out, 0).finish().at(path, "be packed")?;
    } else if kind.is_symlink() {
        let target = fs::read_link(path).at(path, "be read")?;
        let bytes = target.as_os_str().as_bytes();
        let length = u32::try_from(bytes.len()).map_err(|_| Error::TooLong(path.to_owned()))?;
        let mut writer = entry(LINK | 0o777).write(out, length);
        writer.write_all(bytes).at(path, "be packed")?;
        writer.finish().at(path, "be packed")?;
    } else if kind.is_file() {
        let length = u32::try_from(metadata.len()).map_err(|_| Error::TooLong(path.to_owned()))?;
        let mut file = File::open(path).at(path, "be read")?;
        let mut writer = entry(FILE | mode).write(out, length);
        let copied =
            io::copy(&mut io::Read::take(&mut file, length.into()), &mut writer).at(path, "be packed")?;
        if copied != u64::from(length) {
            return Err(io::Error::other("it became shorter meanwhile"))
                .at(path, "be packed")
                .map_err(Error::from);
        }
        writer.finish().at(path, "be packed")?;
    } else {
        return Err(Error::Kind(path.to_owned()));
    }
    Ok(())
}

/// Counts and hashes what goes through.
struct Summed<W> {
    inner: W,
    sha256: Sha256,
    length: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha256.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn make(dir: &Path) {
        fs::create_dir_all(dir.join("etc/empty")).unwrap();
        fs::write(dir.join("etc/hostname"), "n01\n").unwrap();
        fs::set_permissions(dir.join("etc/hostname"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("../etc/hostname", dir.join("etc/link")).unwrap();
        fs::write(dir.join(".hidden"), "").unwrap();
    }

    #[test]
    fn the_archive_holds_what_the_folder_holds_and_nothing_of_time_or_place() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        make(a.path());
        make(b.path());
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let packed = pack(a.path(), &mut one).unwrap();
        assert_eq!(pack(b.path(), &mut two).unwrap(), packed);
        assert_eq!(one, two);
        assert_eq!(packed.length, one.len() as u64);
        assert_eq!(packed.sha256, <[u8; 32]>::from(Sha256::digest(&one)));

        let mut seen = Vec::new();
        let mut rest: &[u8] = &one;
        loop {
            let mut reader = cpio::newc::Reader::new(rest).unwrap();
            let entry = reader.entry();
            if entry.is_trailer() {
                break;
            }
            let (name, mode) = (entry.name().to_owned(), entry.mode());
            assert_eq!((entry.uid(), entry.gid(), entry.mtime()), (0, 0, 0));
            let mut content = String::new();
            io::Read::read_to_string(&mut reader, &mut content).unwrap();
            seen.push((name, mode, content));
            rest = reader.finish().unwrap();
        }
        let umask_free = |mode: u32| mode & !0o022;
        let seen: Vec<(&str, u32, &str)> =
            seen.iter().map(|(n, m, c)| (n.as_str(), umask_free(*m), c.as_str())).collect();
        assert_eq!(
            seen,
            [
                (".hidden", 0o100_644, ""),
                ("etc", 0o040_755, ""),
                ("etc/empty", 0o040_755, ""),
                ("etc/hostname", 0o100_640, "n01\n"),
                ("etc/link", 0o120_755, "../etc/hostname"),
            ]
        );
    }

    #[test]
    fn a_pipe_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let told = pack(dir.path(), io::sink()).unwrap_err().to_string();
        assert!(told.ends_with("pipe: no file, folder or link"), "{told}");
    }
}
