//! Cleans up after runs that were killed: namespaces, mounts, control groups and folders whose name carries a dead pid.
//! Never touches what belongs to a living run, and ends only what lives in a dead run's own control group.

use crate::clock::wait_for;
use crate::process::{self, read_text, run};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// First part of every name that the lab gives to something the kernel keeps.
pub(crate) const PREFIX: &str = "btlab";
/// Folder of the labs' own folders: sockets, logs, the master's overlay.
pub(crate) const RUNS: &str = "/tmp/btlab";

const LAST_PROCESSES: Duration = Duration::from_secs(10);

/// Where systemd and its containers expect a control group of their own, by hierarchy; unified alone on newer systems.
pub(crate) fn hierarchies() -> Vec<PathBuf> {
    let hybrid: Vec<PathBuf> = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"]
        .into_iter()
        .map(PathBuf::from)
        .filter(|path| path.join("cgroup.procs").exists())
        .collect();
    if hybrid.is_empty() { vec!["/sys/fs/cgroup".into()] } else { hybrid }
}

/// `btlab<pid>-<n>`, `btlab<pid>-<n>-<host>`: the pid.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn is_dead(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Removes what dead runs left.
pub fn leftovers() {
    remove(&is_dead);
}

/// Ends and removes all that this process made: for an end that runs no destructors.
pub fn own() {
    process::kill_all();
    remove(&|name| owner(name) == Some(std::process::id()));
}

fn remove(condemned: &dyn Fn(&str) -> bool) {
    for hierarchy in hierarchies() {
        for name in names(&hierarchy).iter().filter(|name| condemned(name)) {
            remove_group(&hierarchy.join(name));
        }
    }
    let mounts = read_text(Path::new("/proc/self/mounts"));
    let targets = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut ours: Vec<&str> = targets.filter(|path| run_of(path).is_some_and(condemned)).collect();
    ours.reverse(); // the youngest first: it may stand on an older one
    for target in ours {
        let _ = run(&["umount", "-l", target]);
    }
    for name in names(Path::new("/run/netns")).iter().filter(|name| condemned(name)) {
        let _ = run(&["ip", "netns", "del", name]);
    }
    for name in names(Path::new(RUNS)).iter().filter(|name| condemned(name)) {
        // One file system only: should a mount have stayed, its content is not the lab's to delete.
        let _ = run(&["rm", "-rf", "--one-file-system", &format!("{RUNS}/{name}")]);
    }
}

fn run_of(path: &str) -> Option<&str> {
    path.strip_prefix(RUNS)?.strip_prefix('/')?.split('/').next()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Ends what lives in a lab's control group (a container whose starter was killed lives on there) and removes it.
pub(crate) fn remove_group(group: &Path) {
    // Gone, or of the older hierarchy, which has no such file and the same processes: either way not an error here.
    let _ = std::fs::write(group.join("cgroup.kill"), "1");
    let _ = wait_for("the end of a control group's processes", LAST_PROCESSES, || {
        remove_leaves(group);
        if group.exists() { Err(String::new()) } else { Ok(()) }
    });
}

/// Control groups go leaf first, and only by rmdir.
fn remove_leaves(group: &Path) {
    let Ok(entries) = std::fs::read_dir(group) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_leaves(&entry.path());
    }
    let _ = std::fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_dead_pid_are_condemned() {
        let own = std::process::id();
        assert!(!is_dead(&format!("{PREFIX}{own}-0-sw")));
        assert!(!is_dead("btlab-sw") && !is_dead("eth0") && !is_dead("btlabx7-0"));
        assert!(is_dead(&format!("{PREFIX}4194999-0-sw"))); // above the kernel's pid_max of 2^22
        assert_eq!(run_of("/tmp/btlab/btlab7-0/master/root"), Some("btlab7-0"));
        assert_eq!(run_of("/tmp/btlabel"), None);
    }
}
