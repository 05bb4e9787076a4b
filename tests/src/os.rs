//! The operating systems that the nodes boot, made once by the scripts in tests/images and kept.
//! Never fetches twice: a script that finds its own result does nothing.

use crate::error::LabError;
use crate::process::{finish, read_text};
use crate::programs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Debian's standard kernel with its modules, unpacked but not installed.
pub struct Kernel {
    pub folder: PathBuf,
    pub version: String,
}

impl Kernel {
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.version)
    }
}

/// # Errors
/// When Debian's archive can't be reached and nothing is kept from an earlier time.
pub fn kernel() -> Result<Kernel, LabError> {
    let folder = programs::cache().join("kernel");
    // What is kept is good enough for a test; `make` refreshes it.
    make("tests/fetch-kernel", &[&folder.to_string_lossy()])?;
    let version = read_text(&folder.join("version")).trim().to_owned();
    Ok(Kernel { folder, version })
}

/// Kernel, busybox initramfs and 48 MiB to wrap: boots within seconds. Files: `vmlinuz`, `initrd`, `payload.bin`.
///
/// # Errors
/// As `kernel`, or when the script fails.
pub fn small() -> Result<PathBuf, LabError> {
    let kernel = kernel()?;
    let folder = programs::cache().join("os/small");
    make("tests/images/small", &[&folder.to_string_lossy(), &kernel.folder.to_string_lossy(), "48"])?;
    Ok(folder)
}

/// A root of busybox alone, for programs that are run. Folder: `tree`.
///
/// # Errors
/// When the script fails.
pub fn program() -> Result<PathBuf, LabError> {
    let folder = programs::cache().join("os/program");
    make("tests/images/program", &[&folder.to_string_lossy()])?;
    Ok(folder)
}

/// GRUB's rescue CD, which ends at its prompt. File: `rescue.iso`.
///
/// # Errors
/// When the script fails.
pub fn grub() -> Result<PathBuf, LabError> {
    let folder = programs::cache().join("os/grub");
    make("tests/images/grub", &[&folder.to_string_lossy()])?;
    Ok(folder)
}

/// Debian 12 in memory, up to systemd's login prompt. Files: `vmlinuz`, `initrd.img`, `filesystem.squashfs`.
///
/// # Errors
/// When Debian's archive can't be reached, or the script fails.
pub fn debian() -> Result<PathBuf, LabError> {
    let folder = programs::cache().join("os/debian");
    make("tests/images/debian-live", &[&folder.to_string_lossy()])?;
    Ok(folder)
}

fn make(script: &str, arguments: &[&str]) -> Result<String, LabError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(programs::repository().join(script));
    command.args(arguments).env("FETCH_KERNEL_CACHED", "1");
    finish(&mut command, &format!("{script} {}", arguments.join(" ")))
}
