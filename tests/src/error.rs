//! What can go wrong in the lab itself, each with enough of the scene to act on it without a second run.

use std::fmt;
use std::path::PathBuf;

#[derive(Debug)]
pub enum LabError {
    /// A program of the host or of the master's container failed.
    Command {
        line: String,
        status: String,
        output: String,
    },
    Io {
        what: String,
        path: PathBuf,
        source: std::io::Error,
    },
    /// An awaited event did not come; `seen` is the end of what came instead.
    Timeout {
        what: String,
        seconds: f64,
        seen: String,
    },
    /// A program that must run on has ended.
    Ended {
        what: String,
        seen: String,
    },
    /// The machine lacks something that the lab needs.
    Machine(String),
}

impl LabError {
    pub fn io(what: &str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let (what, path) = (what.to_owned(), path.into());
        move |source| Self::Io { what, path, source }
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { line, status, output } => write!(f, "`{line}` ended with {status}:\n{output}"),
            Self::Io { what, path, source } => write!(f, "cannot {what} {}: {source}", path.display()),
            Self::Timeout { what, seconds, seen } => {
                write!(f, "waited {seconds:.0} s for {what}; the last seen is:\n{seen}")
            }
            Self::Ended { what, seen } => write!(f, "{what} has ended; its last words:\n{seen}"),
            Self::Machine(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for LabError {}
