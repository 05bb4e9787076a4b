//! The control group of a program: everything that it starts, together, with a bound on its memory (cgroup v2).
//!
//! Decides what is ended when the program is. A program that eats all memory ends by itself; the agent does not.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use super::Error;
use crate::clock;

/// Where the hierarchy is mounted; sysfs has the folder.
const HIERARCHY: &str = "/sys/fs/cgroup";
const NAME: &str = "program";
/// How long what was killed may take to be gone: its memory is given back meanwhile.
const GONE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

pub(super) struct Group {
    path: PathBuf,
    /// Whether the kernel keeps it within its memory.
    pub(super) bounded: bool,
}

impl Group {
    /// An empty group that may take so many bytes.
    pub(super) fn make(room: u64) -> Result<Self, Error> {
        let hierarchy = Path::new(HIERARCHY);
        let path = hierarchy.join(NAME);
        if !hierarchy.join("cgroup.procs").exists() {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("cgroup2"), hierarchy, Some("cgroup2"), flags, None::<&str>)
                .map_err(|errno| Error::Group(hierarchy.to_owned(), errno.into()))?;
        }
        kill_leftover();
        fs::create_dir(&path).map_err(|cause| Error::Group(path.clone(), cause))?;
        // A kernel that was told to do without (cgroup_disable=memory) ends whatever is largest, as it always did.
        let bounded = fs::write(hierarchy.join("cgroup.subtree_control"), "+memory")
            .and_then(|()| fs::write(path.join("memory.max"), room.to_string()))
            // Half of a program that was killed is of no use to anybody.
            .and_then(|()| fs::write(path.join("memory.oom.group"), "1"))
            .is_ok();
        Ok(Self { path, bounded })
    }

    /// Who writes 0 here is in.
    pub(super) fn entrance(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))
    }

    /// How often the kernel ended a process of the group for want of memory.
    pub(super) fn starved(&self) -> u64 {
        counted(&fs::read_to_string(self.path.join("memory.events")).unwrap_or_default(), "oom_kill")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        end(&self.path);
    }
}

/// Ends and removes the group that a worker that died has left.
pub(super) fn kill_leftover() {
    end(&Path::new(HIERARCHY).join(NAME));
}

/// Kills everything in the group and waits until it is gone.
fn end(path: &Path) {
    if !path.is_dir() {
        return;
    }
    let _ = fs::write(path.join("cgroup.kill"), "1"); // what cannot be killed keeps the folder, which is said below
    let until = clock::now() + GONE;
    // A process that has ended stays in its group until somebody has taken note of it, and the orphans are ours.
    while fs::remove_dir(path).is_err() && clock::now() < until {
        super::supervise::reap();
        clock::pause(LOOK);
    }
}

/// The number behind a name in a file of lines `name number`.
fn counted(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_kernel_counts() {
        let events = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 3\n";
        assert_eq!(counted(events, "oom_kill"), 1);
        assert_eq!(counted(events, "oom"), 2);
        assert_eq!(counted("", "oom_kill"), 0);
    }
}
