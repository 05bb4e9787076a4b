//! Puts modules into the kernel, each after what it stands on, and remembers what came of it.
//!
//! Decides the order and what counts as a failure; never tries a module twice.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use super::Current;
use super::index::Index;

/// Walks over the devices before the loader gives up waiting for a quiet one: each level of buses below buses costs one
/// (PCI, virtio, USB hubs), and no machine nests deeper than USB's seven hubs.
const MAX_PASSES: usize = 12;

/// Why the node has no drivers at all.
#[derive(Debug)]
pub(crate) enum Error {
    /// The image's index can't be read.
    Read(PathBuf, io::Error),
    /// The image's index makes no sense.
    Index(PathBuf, String),
    Thread(io::Error),
    /// A module that does not come back from its own start.
    Hangs(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(path, cause) => {
                write!(f, "{}: {cause}; the bootstrap image has no drivers", path.display())
            }
            Error::Index(path, cause) => {
                write!(f, "{}: {cause}; build the bootstrap image again", path.display())
            }
            Error::Thread(cause) => write!(f, "cannot start a thread to load drivers: {cause}"),
            Error::Hangs(name) => write!(f, "module {name} does not come to an end; drivers behind it wait"),
        }
    }
}

impl std::error::Error for Error {}

/// What a walk over the hardware did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Modules that are now in the kernel and were not before, in load order.
    pub(crate) loaded: Vec<String>,
    /// Names of those that failed; a sentence about each was reported.
    pub(crate) failed: Vec<String>,
    /// Different modaliases seen.
    pub(crate) devices: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} modules loaded for {} kinds of device", self.loaded.len(), self.devices)?;
        if !self.failed.is_empty() {
            write!(f, "; failed: {}", self.failed.join(" "))?;
        }
        Ok(())
    }
}

/// What inserting a file into the kernel needs; the tests count instead.
type Insert = fn(&Path) -> Result<(), Errno>;

/// The image's modules and the state of the kernel.
pub(crate) struct Loader {
    folder: PathBuf,
    index: Index,
    insert: Insert,
    current: Current,
    /// Modaliases that were looked up already.
    seen: HashSet<String>,
    /// Modules that are in the kernel.
    present: HashSet<String>,
    failed: HashSet<String>,
}

impl Loader {
    pub(super) fn open(folder: &Path, current: Current) -> Result<Loader, Error> {
        let path = folder.join("index");
        let text = fs::read_to_string(&path).map_err(|e| Error::Read(path.clone(), e))?;
        let index = Index::parse(&text).map_err(|e| Error::Index(path, e))?;
        // A worker that was started again finds its modules loaded. No /proc: every insertion answers for itself.
        let present = fs::read_to_string("/proc/modules").unwrap_or_default();
        let present = present.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
        Ok(Loader {
            folder: folder.to_owned(),
            index,
            insert,
            current,
            seen: HashSet::new(),
            present,
            failed: HashSet::new(),
        })
    }

    /// Walks over all devices until none shows up that was not there before: a bus driver brings forth new ones.
    pub(crate) fn cold_plug(&mut self, sys: &Path, report: &mut dyn FnMut(&str)) -> Summary {
        let mut summary = Summary::default();
        for _ in 0..MAX_PASSES {
            let fresh: Vec<String> = modaliases(sys).filter(|alias| !self.seen.contains(alias)).collect();
            if fresh.is_empty() {
                break;
            }
            for alias in fresh {
                self.serve(&alias, &mut summary, report);
            }
        }
        for name in self.index.always().to_vec() {
            self.load(&name, &mut summary, report);
        }
        summary.devices = self.seen.len();
        summary
    }

    /// Loads what serves this modalias, once.
    pub(crate) fn serve(&mut self, alias: &str, summary: &mut Summary, report: &mut dyn FnMut(&str)) {
        if !self.seen.insert(alias.to_owned()) {
            return;
        }
        let names: Vec<String> = self.index.serving(alias).into_iter().map(str::to_owned).collect();
        for name in names {
            self.load(&name, summary, report);
        }
    }

    fn load(&mut self, name: &str, summary: &mut Summary, report: &mut dyn FnMut(&str)) {
        if self.present.contains(name) || self.failed.contains(name) {
            return;
        }
        let Some(module) = self.index.get(name) else {
            self.fail(name, "is named by the index, but is not in the image", summary, report);
            return;
        };
        let mut chain: Vec<(String, bool)> =
            module.needs.iter().map(|n| (n.name.clone(), n.optional)).collect();
        chain.push((name.to_owned(), false));
        for (step, optional) in chain {
            if self.present.contains(&step) {
                continue;
            }
            let known = self.failed.contains(&step);
            let cause = if known { Some(Errno::ENODEV) } else { self.insert_one(&step).err() };
            match cause {
                None => {
                    self.present.insert(step.clone());
                    summary.loaded.push(step);
                }
                // Soft, or a driver that says "not on this machine": no news for anybody.
                Some(errno) if optional || (errno == Errno::ENODEV && step == name) => {
                    self.failed.insert(step);
                }
                Some(errno) => {
                    if !known {
                        self.fail(&step, &explain(errno), summary, report);
                    }
                    if step != name {
                        self.fail(name, &format!("not loaded: it needs {step}"), summary, report);
                    }
                    return;
                }
            }
        }
    }

    fn insert_one(&self, name: &str) -> Result<(), Errno> {
        let module = self.index.get(name).ok_or(Errno::ENOENT)?;
        name.clone_into(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        match (self.insert)(&self.folder.join(&module.file)) {
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        }
    }

    fn fail(&mut self, name: &str, cause: &str, summary: &mut Summary, report: &mut dyn FnMut(&str)) {
        self.failed.insert(name.to_owned());
        summary.failed.push(name.to_owned());
        report(&format!("module {name}: {cause}"));
    }
}

fn insert(path: &Path) -> Result<(), Errno> {
    let file = File::open(path).map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    // No parameters: the kernel's own defaults, and what the kernel command line says (`r8169.aspm=0`) is for built-ins.
    const NO_PARAMETERS: &CStr = c"";
    finit_module(&file, NO_PARAMETERS, ModuleInitFlags::empty())
}

fn explain(errno: Errno) -> String {
    match errno {
        Errno::ENOENT => "refused: the image lacks its file or a symbol that it needs".to_owned(),
        Errno::ENOEXEC => "refused: built for another kernel than the one that runs".to_owned(),
        Errno::EKEYREJECTED => {
            "refused: its signature is not by a key of this kernel (Secure Boot)".to_owned()
        }
        Errno::EPERM => "refused: the kernel is locked down".to_owned(),
        other => format!("failed: {}", other.desc()),
    }
}

/// The modaliases of all devices on all buses, and of the processor, which has one for all its cores (KVM answers to it).
/// A device that vanishes meanwhile is no error.
fn modaliases(sys: &Path) -> impl Iterator<Item = String> {
    let folders =
        |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    folders(sys.join("bus"))
        .flat_map(move |bus| folders(bus.join("devices")))
        .chain([sys.join("devices/system/cpu")])
        .filter_map(|device| fs::read_to_string(device.join("modalias")).ok())
        .map(|text| text.trim_end().to_owned())
        .filter(|alias| !alias.is_empty())
}

#[cfg(test)]
mod tests;
