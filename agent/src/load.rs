//! The next kernel is handed to the running one by kexec_file_load.
//!
//! Decides what its command line is. Never starts it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use boottorrent_swarm::template::{self, Values};
use nix::errno::Errno;

use crate::sys;

/// x86's COMMAND_LINE_SIZE: the kernel cuts what is longer without a word.
const MAX_CMDLINE: usize = 2047;

#[derive(Debug)]
pub(crate) enum Error {
    Template(template::Error),
    CmdlineTooLong(usize),
    Open(PathBuf, io::Error),
    Kexec(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(error) => write!(f, "the command line cannot be filled in: {error}"),
            Self::CmdlineTooLong(length) => {
                write!(
                    f,
                    "the command line has {length} bytes and the kernel takes {MAX_CMDLINE}: shorten it"
                )
            }
            Self::Open(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Kexec(error) => write!(f, "kexec_file_load: {error}: {}", cause(error)),
        }
    }
}

impl std::error::Error for Error {}

impl From<template::Error> for Error {
    fn from(error: template::Error) -> Self {
        Self::Template(error)
    }
}

/// The image's command line and the node's own words, filled in.
pub(crate) fn cmdline(image: &str, node: &str, values: &Values<'_>) -> Result<String, Error> {
    let mut line = template::fill(image, values)?;
    let own = template::fill(node, values)?;
    if !line.is_empty() && !own.is_empty() {
        line.push(' ');
    }
    line.push_str(&own);
    if line.len() > MAX_CMDLINE { Err(Error::CmdlineTooLong(line.len())) } else { Ok(line) }
}

/// Loads what lies in memory; the copy that the kernel makes survives us.
pub(crate) fn load(kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Result<(), Error> {
    let kernel = open(kernel)?;
    let initrd = initrd.map(open).transpose()?;
    let initrd = initrd.as_ref().map(|file| file.as_fd());
    sys::kexec_file_load(kernel.as_fd(), initrd, cmdline).map_err(Error::Kexec)
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|error| Error::Open(path.to_owned(), error))
}

/// What a person should look at (kexec_file_load(2), and what was seen in the lab).
fn cause(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "the bootstrap kernel forbids it: is it locked down by Secure Boot?",
        Some(Errno::ENOSYS) => "the bootstrap kernel was built without CONFIG_KEXEC_FILE",
        Some(Errno::ENOEXEC) => "the image's kernel file is no kernel that this one can start",
        Some(Errno::EINVAL) => "the image is larger than half of the memory, or its kernel file is damaged",
        Some(Errno::ENOMEM) => "there is too little memory for the copies that kexec makes",
        Some(Errno::EADDRNOTAVAIL) => "the node has no free memory where a kernel may lie",
        Some(Errno::EKEYREJECTED | Errno::ENOKEY | Errno::ENODATA) => {
            "the image's kernel is not signed as the bootstrap kernel demands"
        }
        Some(Errno::ETXTBSY) => "something still writes to the image",
        Some(Errno::EBUSY) => "another kexec is under way",
        _ => "see the kernel's messages",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values {
        mac: "52:54:00:00:00:01",
        ip: "10.0.0.11",
        hostname: "n01",
        master: "10.0.0.1",
        site: "lab",
        memory: "",
        cpus: "",
        tap: "",
        tap_mac: "",
    };

    #[test]
    fn the_nodes_words_come_after_the_images() {
        let line = cmdline("boot=live hostname={hostname}", "role=worker ip={ip}", &VALUES).unwrap();
        assert_eq!(line, "boot=live hostname=n01 role=worker ip=10.0.0.11");
        assert_eq!(cmdline("quiet", "", &VALUES).unwrap(), "quiet");
        assert_eq!(cmdline("", "a=b", &VALUES).unwrap(), "a=b");
    }

    #[test]
    fn what_the_kernel_would_cut_is_refused() {
        assert!(cmdline(&"x".repeat(2047), "", &VALUES).is_ok());
        let error = cmdline(&"x".repeat(2040), "role=worker", &VALUES).unwrap_err().to_string();
        assert!(error.contains("2052 bytes"), "{error}");
    }

    #[test]
    fn a_value_that_could_become_words_stops_the_boot() {
        let error = cmdline("h={hostname}", "", &Values { hostname: "a init=/x", ..VALUES }).unwrap_err();
        assert!(error.to_string().contains("the command line cannot be filled in"), "{error}");
    }

    #[test]
    fn refusals_name_what_to_look_at() {
        let error = Error::Kexec(io::Error::from_raw_os_error(nix::libc::EPERM));
        assert!(error.to_string().contains("Secure Boot"), "{error}");
    }
}
