//! The control group of a program: everything that it starts, together, with a bound on its memory (cgroup v2).
//!
//! Decides what is ended when the program is. A program that eats all memory ends by itself; the agent does not.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

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

    /// Everything that the program has started and that has not ended.
    pub(super) fn members(&self) -> Vec<Pid> {
        members(&self.path)
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

/// Kills everything in the group and waits until it is gone, with the groups that the program has made in it.
fn end(path: &Path) {
    let until = clock::now() + GONE;
    while path.is_dir() {
        kill_all(path);
        // A process that has ended stays in its group until somebody has taken note of it, and the orphans are ours.
        super::supervise::reap();
        for group in innermost_first(path) {
            let _ = fs::remove_dir(group); // EBUSY: somebody is still in it, which the next look tells
        }
        if clock::now() >= until {
            return; // what cannot be killed keeps the folder, and the next group is refused with its name
        }
        if path.is_dir() {
            clock::pause(LOOK);
        }
    }
}

/// A kernel before 5.14 has no file for it: then each is killed by itself, and whoever was forked meanwhile at the next look.
fn kill_all(path: &Path) {
    let at_once = OpenOptions::new().write(true).open(path.join("cgroup.kill"));
    if at_once.and_then(|mut file| file.write_all(b"1")).is_err() {
        for member in members(path) {
            let _ = kill(member, Signal::SIGKILL); // gone already is as good
        }
    }
}

fn members(path: &Path) -> Vec<Pid> {
    let groups = innermost_first(path).into_iter();
    let lists = groups.filter_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok());
    lists.flat_map(|list| pids(&list)).collect()
}

/// Of `cgroup.procs`; 0 is a process that we cannot see, and to kill(2) all of our own.
fn pids(list: &str) -> Vec<Pid> {
    list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1).map(Pid::from_raw).collect()
}

/// The group and those in it, each before the one that it is in: rmdir(2) wants it so.
fn innermost_first(path: &Path) -> Vec<PathBuf> {
    let mut groups = vec![path.to_owned()];
    let mut at = 0;
    while let Some(group) = groups.get(at) {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let inside: Vec<PathBuf> = folders.map(|entry| entry.path()).collect();
        groups.extend(inside);
        at += 1;
    }
    groups.reverse();
    groups
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

    #[test]
    fn what_a_program_has_made_goes_before_its_own_group() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("program");
        for inside in ["a/deep/er", "b"] {
            fs::create_dir_all(top.join(inside)).unwrap();
        }
        fs::write(top.join("a/cgroup.procs"), "4194302\n0\n1\n").unwrap();
        fs::write(top.join("cgroup.procs"), "4194301\n").unwrap();
        let order = innermost_first(&top);
        assert_eq!((order.len(), order.last()), (5, Some(&top)));
        let at = |path: &str| order.iter().position(|group| *group == top.join(path)).unwrap();
        assert!(at("a/deep/er") < at("a/deep") && at("a/deep") < at("a"));
        let mut members: Vec<i32> = members(&top).into_iter().map(Pid::as_raw).collect();
        members.sort_unstable();
        assert_eq!(members, [4_194_301, 4_194_302], "neither all of ours nor process 1");
    }

    #[test]
    fn without_a_file_that_kills_each_is_killed_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("program");
        fs::create_dir(&group).unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(group.join("cgroup.procs"), format!("{}\n", child.id())).unwrap();
        kill_all(&group);
        assert!(!child.wait().unwrap().success());
    }
}
