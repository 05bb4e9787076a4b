//! A program in place of a kernel: its root is laid out in memory, it is started there, watched, and ended.
//!
//! Decides when it has ended, and takes away whatever it started and mounted. Never what follows: the stage does.

// In the order of the flow: where it runs, what it may take, how it is called, who sees it, and how it goes.
mod layout;
mod group;
mod start;
mod kvm;
mod display;
mod tap;
mod lent;
mod keyboard;
mod output;
mod supervise;

use std::fmt;
use std::io;
use std::path::PathBuf;

use boottorrent_swarm::template;

pub(crate) use layout::{Laying, Network, lay};
pub(crate) use start::Start;
pub(crate) use supervise::{End, PATIENCE, Watched, run};
pub(crate) use tap::Tap;

#[derive(Debug)]
pub(crate) enum Error {
    /// No block device for the root.
    Loop(io::Error),
    Mount {
        what: &'static str,
        at: String,
        cause: io::Error,
    },
    /// A path that cannot be made in the root.
    Place {
        path: String,
        cause: io::Error,
    },
    Group(PathBuf, io::Error),
    Terminal(io::Error),
    /// Why there is no screen to draw on: a sentence.
    Display(String),
    /// No tap on the node's network card.
    Tap {
        card: String,
        cause: io::Error,
    },
    /// No folder to start in.
    Workdir {
        path: String,
        cause: io::Error,
    },
    Template(template::Error),
    Start {
        path: String,
        cause: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loop(cause) => {
                write!(
                    f,
                    "the root cannot become a block device: {cause}; has the bootstrap image the module loop?"
                )
            }
            Self::Mount { what, at, cause } => {
                write!(f, "cannot mount {what} at {at} of the program's root: {cause}{}", advice(what, cause))
            }
            Self::Place { path, cause } => write!(f, "cannot make {path} in the program's root: {cause}"),
            Self::Group(path, cause) => {
                write!(f, "cannot make the program's control group: {}: {cause}", path.display())
            }
            Self::Terminal(cause) => write!(f, "cannot make a terminal for the program: {cause}"),
            Self::Display(why) => f.write_str(why),
            Self::Tap { card, cause } => {
                write!(
                    f,
                    "cannot put a tap for the program's guest on {card}: {cause}{}",
                    advice("tap", cause)
                )
            }
            Self::Workdir { path, cause } => {
                write!(f, "the program's working folder {path} is not in its root: {cause}")
            }
            Self::Template(error) => write!(f, "the program's arguments cannot be filled in: {error}"),
            Self::Start { path, cause } => write!(f, "cannot start {path}: {cause}{}", advice("exec", cause)),
        }
    }
}

impl std::error::Error for Error {}

impl From<template::Error> for Error {
    fn from(error: template::Error) -> Self {
        Self::Template(error)
    }
}

/// What a person should look at (mount(2), execve(2), rtnetlink(7)).
fn advice(what: &str, cause: &io::Error) -> &'static str {
    match (what, cause.raw_os_error()) {
        ("exec", Some(libc::ENOENT)) => ": the root lacks it, its loader or its interpreter",
        ("exec", Some(libc::EACCES)) => ": it is not executable",
        ("exec", Some(libc::ENOEXEC)) => {
            ": it is no program for this kind of processor, nor a script that begins with #!"
        }
        ("exec", _) => "",
        ("tap", Some(libc::EOPNOTSUPP)) => ": the bootstrap image lacks the module macvtap",
        ("tap", _) => "",
        ("squashfs", Some(libc::EINVAL)) => ": is it a squashfs that this kernel can read?",
        (_, Some(libc::ENODEV)) => ": the bootstrap image lacks this file system's module",
        _ => "",
    }
}

/// Ends and takes away what a worker that died has left.
pub(crate) fn sweep() {
    group::kill_leftover();
    tap::remove();
    layout::undo();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_what_to_look_at() {
        let error = |errno| io::Error::from_raw_os_error(errno);
        let absent = Error::Start { path: "/bin/x".into(), cause: error(libc::ENOENT) }.to_string();
        assert!(
            absent.starts_with("cannot start /bin/x: No such file") && absent.contains("loader"),
            "{absent}"
        );
        let gone = Error::Start { path: "/bin/x".into(), cause: error(libc::ENODEV) }.to_string();
        assert!(!gone.contains("file system"), "of a group that is gone: {gone}");
        let tap = Error::Tap { card: "eth0".into(), cause: error(libc::EOPNOTSUPP) }.to_string();
        assert!(tap.contains("on eth0") && tap.contains("module macvtap"), "{tap}");
        let workdir = Error::Workdir { path: "/home".into(), cause: error(libc::ENOENT) }.to_string();
        assert!(workdir.starts_with("the program's working folder /home is not in its root"), "{workdir}");
        let mount = |what, errno| Error::Mount { what, at: "/".into(), cause: error(errno) }.to_string();
        assert!(mount("squashfs", libc::EINVAL).contains("is it a squashfs"));
        assert!(mount("overlay", libc::ENODEV).contains("lacks this file system's module"));
    }
}
