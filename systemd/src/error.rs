//! Why boottorrent-gen stopped. Every variant prints as whole sentences, one a line.
//! Decides nothing.

use boottorrent_masterd::store;
use std::fmt;

/// The reason of an exit status of 1.
#[derive(Debug)]
pub(crate) enum Error {
    /// What is wrong with the site folder, or with the machine for it: a sentence each.
    Mistakes(Vec<String>),
    /// A step that the file system refused.
    Store(store::Error),
    /// The bootstrap image cannot be built.
    Bootstrap(boottorrent_pxe::Error),
    /// A sentence of its own.
    Told(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Mistakes(mistakes) => {
                for mistake in mistakes {
                    writeln!(f, "{mistake}")?;
                }
                let count = mistakes.len();
                let mistakes = if count == 1 { "mistake" } else { "mistakes" };
                write!(f, "{count} {mistakes}; nothing was changed")
            }
            Error::Store(e) => write!(f, "{e}"),
            Error::Bootstrap(e) => write!(f, "{e}"),
            Error::Told(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Error {}

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Error {
        Error::Store(e)
    }
}

impl From<boottorrent_pxe::Error> for Error {
    fn from(e: boottorrent_pxe::Error) -> Error {
        Error::Bootstrap(e)
    }
}
