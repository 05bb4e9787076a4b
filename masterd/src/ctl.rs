//! `boottorrentctl`: what people ask of a running master, and the power of its nodes.
//! Reads what gen and the daemons wrote, asks systemd and its journal; what it changes is a node's next boot alone.

pub mod config;
pub(crate) mod hook;
mod options;
mod screen;
mod table;
mod units;
mod sources;
mod nodes;
mod seed;
mod status;
mod show;
mod history;
mod boot;
mod wake;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use options::{Action, Options, Stop};

/// Exit status: something is wrong that the output names.
const WRONG: u8 = 1;
/// Exit status: the command line is not understood.
const USAGE: u8 = 2;

/// Why a command could not do its work: one sentence each.
#[derive(Debug)]
pub(crate) enum Error {
    Config(crate::service::ConfigError),
    /// Output that nobody takes any more ends a command without a word.
    Output(io::Error),
    Told(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(e) => e.fmt(f),
            Self::Output(e) => write!(f, "cannot write: {e}"),
            Self::Told(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Error {}

/// Whether all is as it should be, for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Good,
    Wrong,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(Stop::Print(text)) => return end(print(&text).map(|()| Verdict::Good)),
        Err(Stop::Wrong(sentence)) => {
            eprintln!("boottorrentctl: {sentence}");
            return ExitCode::from(USAGE);
        }
    };
    end(match &options.action {
        Action::Status { json, watch } => status::run(&options, *json, *watch),
        Action::Log { node, follow, boot } => history::run(&options, node, *follow, *boot),
        Action::Wake { nodes, next } => wake::run(&options, nodes, next.as_ref()),
        Action::Boot { nodes, next } => boot::run(&options, nodes, next),
    })
}

fn end(done: Result<Verdict, Error>) -> ExitCode {
    match done {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Wrong) => ExitCode::from(WRONG),
        Err(Error::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("boottorrentctl: {e}");
            ExitCode::from(WRONG)
        }
    }
}

/// Writes to standard output at once: a reader that went away is an error, not a panic.
fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}
