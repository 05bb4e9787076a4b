//! One lab: its name, its folder, its wire. Nodes and masters are made from it and must be dropped before it.
//! Only one lives at a time in a process: software emulation on two cores measures nothing when shared.

use crate::error::LabError;
use crate::network::Network;
use crate::programs;
use crate::sweep;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());
static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Lab {
    pub network: Network,
    name: String,
    folder: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// A lab with an empty switch; what killed runs left is removed first.
    ///
    /// # Errors
    /// `Machine` without root, else what the kernel refused.
    pub fn new() -> Result<Self, LabError> {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::Machine("the lab makes namespaces and containers: run it as root".into()));
        }
        sweep::leftovers();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}{}-{number}", sweep::PREFIX, std::process::id());
        let folder = Path::new(sweep::RUNS).join(&name);
        std::fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
        let network = Network::new(&name)?;
        Ok(Self { network, name, folder, _turn: turn })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A place in the lab's own folder: logs, sockets, disks.
    #[must_use]
    pub fn path(&self, leaf: &str) -> PathBuf {
        self.folder.join(leaf)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = std::thread::current().name().unwrap_or("unnamed").replace("::", "-");
            let kept = programs::cache().join("failed").join(test);
            if keep(&self.folder, &kept).is_ok() {
                eprintln!("the lab's logs are kept in {}", kept.display());
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Copies the plain files of a folder: logs, consoles and pictures, which stand directly in it.
fn keep(from: &Path, to: &Path) -> std::io::Result<()> {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
