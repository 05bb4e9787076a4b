//! A tmpfs in the lab's folder: disks would be measured otherwise. Gone, with its content, when dropped.

use crate::error::LabError;
use crate::lab::Lab;
use crate::process::run;
use nix::fcntl::{FallocateFlags, fallocate};
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

    /// Uses so much memory, and gives it back but for a page in every MiB. A hypervisor may take what a guest leaves idle (in
    /// Linux: whole blocks of 2 MiB), and its return costs the first who touches it up to 2 s of CPU a GB: who is measured
    /// should not be that one.
    ///
    /// # Errors
    /// When there is not so much.
    pub fn warm(&self, bytes: u64) -> Result<(), LabError> {
        const BLOCK: i64 = 1 << 20;
        const PAGE: i64 = 4096;
        let path = self.folder.join("warm");
        let mut file = File::create(&path).map_err(LabError::io("make", &path))?;
        std::io::copy(&mut std::io::repeat(1).take(bytes), &mut file).map_err(LabError::io("fill", &path))?;
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        for at in (0..bytes.cast_signed()).step_by(BLOCK as usize) {
            fallocate(&file, hole, at + PAGE, BLOCK - PAGE)
                .map_err(|errno| LabError::io("empty", &path)(errno.into()))?;
        }
        Ok(())
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        let _ = run(&["umount", "-l", &self.folder.to_string_lossy()]);
    }
}
