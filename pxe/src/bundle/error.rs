//! Why there is no bundle: one sentence each, with the path and what to do.
//!
//! Never loses the path or the cause.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the bundle could not be collected.
#[derive(Debug)]
pub enum Error {
    /// A part that every bundle of this kind has is not installed here.
    Missing { path: PathBuf, purpose: &'static str, package: &'static str },
    /// A program or a library names one that is nowhere.
    NoLibrary { name: String, needed_by: PathBuf },
    /// A program or a library makes no sense.
    BadProgram { path: PathBuf, why: &'static str },
    /// A file of the maintainer's stands where the bundle has a folder.
    Occupied { path: PathBuf },
    /// A file or folder can't be read.
    Io { path: PathBuf, cause: io::Error },
}

impl Error {
    pub(crate) fn io<'a>(path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |cause| Error::Io { path: path.to_owned(), cause }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Missing { path, purpose, package } => write!(
                f,
                "{}: not found, and the bundle needs it for {purpose}; apt-get install {package}",
                path.display()
            ),
            Error::NoLibrary { name, needed_by } => write!(
                f,
                "{name}: not found, and {} needs it; apt-get install --reinstall the package that dpkg -S {} names",
                needed_by.display(),
                needed_by.display()
            ),
            Error::BadProgram { path, why } => write!(
                f,
                "{}: no program of this machine ({why}); apt-get install --reinstall its package",
                path.display()
            ),
            Error::Occupied { path } => {
                write!(
                    f,
                    "{}: the bundle has a folder of that name; give the file another path",
                    path.display()
                )
            }
            Error::Io { path, cause } => {
                write!(f, "{}: cannot go into the bundle: {cause}; make it readable", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
