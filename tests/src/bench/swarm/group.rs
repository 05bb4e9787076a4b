//! A control group for the programs of one host: what they cost together, children that have ended among them.
//! Never limits anything.

use crate::error::LabError;
use crate::process::read_text;
use crate::sweep;
use nix::unistd::Pid;
use std::path::{Path, PathBuf};

pub(crate) struct Group {
    folder: PathBuf,
}

impl Group {
    /// The name begins with the lab's, so that a killed run's group is swept.
    pub(crate) fn new(name: &str) -> Result<Self, LabError> {
        let root = sweep::hierarchies().into_iter().find(|root| root.join("cgroup.controllers").exists());
        let root =
            root.ok_or_else(|| LabError::Machine("there is no cgroup2 hierarchy to count CPU in".into()))?;
        let folder = root.join(name);
        std::fs::create_dir(&folder).map_err(LabError::io("make the control group", &folder))?;
        Ok(Self { folder })
    }

    /// From now on the process, and all that it starts, is counted here.
    pub(crate) fn take(&self, pid: Pid) -> Result<(), LabError> {
        let file = self.folder.join("cgroup.procs");
        std::fs::write(&file, pid.to_string()).map_err(LabError::io("write", file))
    }

    /// Seconds of CPU, user and system, since the group was made.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = read_text(&self.folder.join("cpu.stat"));
        let micros =
            stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse::<f64>().ok());
        micros.unwrap_or(f64::NAN) / 1e6
    }

    /// Bytes of anonymous memory that its living processes have now.
    pub(crate) fn anonymous(&self) -> f64 {
        let pids = read_text(&self.folder.join("cgroup.procs"));
        pids.lines().map(|pid| anonymous(&Path::new("/proc").join(pid))).sum()
    }

    /// Ends them all at once.
    pub(crate) fn end(&self) {
        // Gone already, or of a kernel before 5.14, where each is ended when it is dropped.
        let _ = std::fs::write(self.folder.join("cgroup.kill"), "1");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        sweep::remove_group(&self.folder);
    }
}

fn anonymous(process: &Path) -> f64 {
    let status = read_text(&process.join("status"));
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_anonymous_memory() {
        assert!(anonymous(Path::new("/proc/self")) > 4096.0);
        assert_eq!(anonymous(Path::new("/proc/none")).to_bits(), 0.0_f64.to_bits());
    }
}
