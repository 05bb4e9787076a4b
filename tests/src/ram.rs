//! A tmpfs in the lab's folder: disks would be measured otherwise. Gone, with its content, when dropped.

use crate::error::LabError;
use crate::lab::Lab;
use crate::process::run;
use std::path::PathBuf;

pub struct Ram {
    pub folder: PathBuf,
}

impl Ram {
    /// # Errors
    /// When the kernel refuses the mount.
    pub fn new(lab: &Lab) -> Result<Self, LabError> {
        let folder = lab.path("ram");
        std::fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
        run(&["mount", "-t", "tmpfs", "-o", "size=80%", "btlab", &folder.to_string_lossy()])?;
        Ok(Self { folder })
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        let _ = run(&["umount", "-l", &self.folder.to_string_lossy()]);
    }
}
