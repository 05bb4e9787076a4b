//! Why there is no bootstrap image: one sentence each, with the path and what to do.
//!
//! Never loses the path or the cause.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the bootstrap image could not be built.
#[derive(Debug)]
pub enum Error {
    /// A file or folder can't be read or written.
    Io { what: &'static str, path: PathBuf, cause: io::Error },
    /// The kernel file is no bzImage.
    NotAKernel { path: PathBuf, why: &'static str },
    /// There are no modules for this kernel.
    NoModules { path: PathBuf, kernel: String },
    /// The modules were built for another kernel.
    WrongModules { module: PathBuf, built_for: String, kernel: String },
    /// A module file makes no sense.
    BadModule { path: PathBuf, why: String },
    /// A module that was asked for, or that another one needs, does not exist.
    MissingModule { name: String, needed_by: Option<String>, folder: PathBuf },
    /// Modules need each other in a circle.
    Cycle { names: Vec<String> },
    /// Not one network driver: the image could not reach the master.
    NoNetworkDriver { folder: PathBuf },
    /// The agent can't be `/init`.
    BadAgent { path: PathBuf, why: &'static str },
    /// The nodes' shell can't be one.
    BadBusybox { path: PathBuf, why: &'static str },
    /// iPXE is not installed.
    NoIpxe { path: PathBuf },
    /// The extra kernel command line can't be carried by the boot script.
    BadCmdline { why: String },
    /// The site's public key is not one.
    BadSiteKey,
}

impl Error {
    /// Keeps path and purpose with an I/O error.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
        move |cause| Error::Io { what, path: path.to_owned(), cause }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { what, path, cause } => write!(f, "{}: {what}: {cause}", path.display()),
            Error::NotAKernel { path, why } => {
                write!(
                    f,
                    "{}: no x86 Linux kernel ({why}); name a vmlinuz with [bootstrap] kernel",
                    path.display()
                )
            }
            Error::NoModules { path, kernel } => write!(
                f,
                "{}: no folder with the modules of kernel {kernel}; name it with [bootstrap] modules",
                path.display()
            ),
            Error::WrongModules { module, built_for, kernel } => write!(
                f,
                "{}: built for kernel {built_for}, but [bootstrap] kernel is {kernel}; name the modules of {kernel} with \
                 [bootstrap] modules",
                module.display()
            ),
            Error::BadModule { path, why } => {
                write!(f, "{}: no kernel module ({why}); install the kernel package again", path.display())
            }
            Error::MissingModule { name, needed_by: Some(by), folder } => write!(
                f,
                "{}: module {name}, which {by} needs, is not there; install all modules of this kernel",
                folder.display()
            ),
            Error::MissingModule { name, needed_by: None, folder } => {
                write!(
                    f,
                    "{}: there is no module {name}; correct its name in the site folder",
                    folder.display()
                )
            }
            Error::Cycle { names } => {
                write!(f, "modules need each other in a circle: {}; no load order exists", names.join(" -> "))
            }
            Error::NoNetworkDriver { folder } => write!(
                f,
                "{}: not one network driver for this kernel; name the folder of all its modules with [bootstrap] modules",
                folder.display()
            ),
            Error::BadAgent { path, why } => write!(
                f,
                "{}: can't be the node's /init: {why}; build the agent with RUSTFLAGS=\"-C target-feature=+crt-static\"",
                path.display()
            ),
            Error::BadBusybox { path, why } => write!(
                f,
                "{}: can't be the nodes' shell: {why}; install the package busybox-static, or name a static busybox",
                path.display()
            ),
            Error::NoIpxe { path } => write!(
                f,
                "{}: not found; install the package ipxe, or name its folder with [bootstrap] ipxe",
                path.display()
            ),
            Error::BadCmdline { why } => write!(f, "[bootstrap] cmdline: {why}"),
            Error::BadSiteKey => {
                f.write_str("the site's public key is no minisign key; make one with boottorrent-gen init")
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
