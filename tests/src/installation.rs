//! The product as a package would install it, in a folder that is laid over a master's root.
//! Copies only what was built anew since.

use crate::error::LabError;
use crate::programs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Stages the programs beside the running one, and the agent; returns the folder to lay over `/`.
///
/// # Errors
/// `Machine` when something was not built, `Io` when it can't be copied.
pub fn stage() -> Result<PathBuf, LabError> {
    let profile = programs::folder();
    let profile = profile.file_name().map_or_else(|| "default".into(), |name| name.to_string_lossy());
    let stage = programs::cache().join(format!("stage-{profile}"));
    let programs = programs::DAEMONS.iter().chain(&[programs::GEN]);
    for name in programs {
        copy(&programs::path(name), &stage.join("usr/sbin").join(name))?;
    }
    copy(&programs::agent(), &stage.join("usr/lib/boottorrent/boottorrent-agent"))?;
    Ok(stage)
}

fn copy(from: &Path, to: &Path) -> Result<(), LabError> {
    let Ok(source) = from.metadata() else {
        return Err(LabError::Machine(format!("{} is not built: run `make build`", from.display())));
    };
    if to.metadata().is_ok_and(|copy| copy.len() == source.len() && copy.mtime() > source.mtime()) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
    }
    // A new inode: an older copy may be running in a master that is still up.
    let _ = std::fs::remove_file(to);
    std::fs::copy(from, to).map(drop).map_err(LabError::io("copy to", to))
}
