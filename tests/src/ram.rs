//! A tmpfs in the lab's folder: disks would be measured otherwise. Gone, with its content, when dropped.

use crate::error::LabError;
use crate::lab::Lab;
use crate::process::run;
use std::fs::File;
use std::io::Read as _;
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

    /// Uses so much memory, and gives it back. A hypervisor may take what a guest leaves idle, and its return costs the
    /// first who touches it up to 2 s of CPU a GB: who is measured should not be that one.
    ///
    /// # Errors
    /// When there is not so much.
    pub fn warm(&self, bytes: u64) -> Result<(), LabError> {
        let path = self.folder.join("warm");
        let mut file = File::create(&path).map_err(LabError::io("make", &path))?;
        std::io::copy(&mut std::io::repeat(1).take(bytes), &mut file).map_err(LabError::io("fill", &path))?;
        std::fs::remove_file(&path).map_err(LabError::io("remove", &path))
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        let _ = run(&["umount", "-l", &self.folder.to_string_lossy()]);
    }
}
