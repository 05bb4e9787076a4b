//! Puts units where systemd reads them, takes away those that are no longer wanted, and tells what runs of it.
//! Decides which files are ours by their first line; never touches another's.

use crate::error::Error;
use crate::units::{TARGET, Units, site_of};
use boottorrent_masterd::store::{self, Context, write_atomically};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where units go, below the root.
const FOLDER: &str = "etc/systemd/system";
/// There while systemd is process 1 (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// What is wrong with a unit that is not ours, and what to do.
pub(crate) const TAKEN: (&str, &str) =
    ("not made by boottorrent-gen", "move it away (systemctl unmask, if it is masked)");

/// What changed on disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) written: Vec<String>,
    pub(crate) removed: Vec<String>,
}

fn folder(root: &Path) -> PathBuf {
    root.join(FOLDER)
}

/// The site whose target is installed here.
pub(crate) fn installed_site(root: &Path) -> Option<(PathBuf, String)> {
    let path = folder(root).join(TARGET);
    let site = site_of(&fs::read_to_string(&path).ok()?)?.to_owned();
    Some((path, site))
}

/// Whether a unit of ours is installed.
pub(crate) fn is_installed(root: &Path, unit: &str) -> bool {
    fs::read_to_string(folder(root).join(unit)).is_ok_and(|text| site_of(&text).is_some())
}

/// Units of ours whose names stand here for something of somebody else.
pub(crate) fn taken(root: &Path, units: &Units) -> Vec<PathBuf> {
    units.keys().map(|name| folder(root).join(name)).filter(|path| is_foreign(path)).collect()
}

fn is_foreign(path: &Path) -> bool {
    // A link to /dev/null is a masked unit.
    path.symlink_metadata().is_ok() && fs::read_to_string(path).map_or(true, |text| site_of(&text).is_none())
}

/// Brings the folder to what `units` says.
pub(crate) fn install(root: &Path, units: &Units) -> Result<Changes, Error> {
    let folder = folder(root);
    fs::create_dir_all(&folder).at(&folder, "be made")?;
    let mut changes = Changes::default();
    for name in ours(&folder)? {
        if !units.contains_key(&name) {
            stop(root, &name);
            let path = folder.join(&name);
            fs::remove_file(&path).at(&path, "be removed")?;
            changes.removed.push(name);
        }
    }
    for (name, text) in units {
        let path = folder.join(name);
        if is_foreign(&path) {
            return Err(Error::Told(format!("{}: {}; {}", path.display(), TAKEN.0, TAKEN.1)));
        }
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            write_atomically(&path, text.as_bytes())?;
            changes.written.push(name.clone());
        }
    }
    Ok(changes)
}

/// Names of the units in `folder` that an earlier run made.
fn ours(folder: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for path in store::list(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = || fs::read_to_string(&path).is_ok_and(|text| site_of(&text).is_some());
        if name.starts_with("boottorrent") && path.is_file() && is_ours() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether the system that this run writes for runs here.
pub(crate) fn is_live(root: &Path) -> bool {
    root == Path::new("/") && Path::new(BOOTED).is_dir()
}

fn stop(root: &Path, unit: &str) {
    if is_live(root) {
        // One that does not run is as good as stopped.
        let _ = systemctl(&["stop", unit]);
    }
}

/// Makes systemd and the running daemons read what is there; returns what is left for a person to do, a line each.
/// Also where nothing changed: an earlier run may have ended between its last write and this.
pub(crate) fn reload(changes: &Changes, units: &Units) -> Result<Vec<String>, Error> {
    systemctl(&["daemon-reload"])?;
    if !is_active(TARGET) {
        return Ok(vec![format!("start it:        systemctl enable --now {TARGET}")]);
    }
    let mut todo = by_hand(changes, units, is_active);
    let running = |unit: &&String| unit.ends_with(".service") && is_active(unit);
    for service in units.keys().filter(running) {
        if let Err(e) = systemctl(&["reload", service]) {
            todo.push(format!("{service} did not reload ({e}): systemctl restart {service}"));
        }
    }
    Ok(todo)
}

/// What a running target does not take up by itself.
fn by_hand(changes: &Changes, units: &Units, is_active: impl Fn(&str) -> bool) -> Vec<String> {
    let is_started_by_packets = |unit: &str| {
        unit.strip_suffix(".service").is_some_and(|name| units.contains_key(&format!("{name}.socket")))
    };
    let line = |unit: &String| match is_active(unit) {
        _ if unit == TARGET => None,
        // What a socket listens on and what a service may do take effect with its next start.
        true => Some(format!("restart, changed: systemctl restart {unit}")),
        false if is_started_by_packets(unit) => None,
        false => Some(format!("start, new:      systemctl start {unit}")),
    };
    changes.written.iter().filter_map(line).collect()
}

fn is_active(unit: &str) -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", unit]).stdin(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

fn systemctl(arguments: &[&str]) -> Result<(), Error> {
    let line = format!("systemctl {}", arguments.join(" "));
    let output = Command::new("systemctl").args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(Error::Told(format!("`{line}` failed: {}", why.trim())))
        }
        Err(e) => Err(Error::Told(format!("`{line}` cannot be run: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::MARK;

    fn unit(site: &str, body: &str) -> String {
        format!("{MARK}\"{site}\". Change\n{body}")
    }

    #[test]
    fn the_folder_becomes_what_the_site_wants_and_nothing_else_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let old =
            [("boottorrent.target", unit("lab", "old")), ("boottorrent-dhcp.service", unit("lab", "x"))];
        assert_eq!(
            install(root.path(), &old.map(|(n, t)| (n.to_owned(), t)).into()).unwrap().written.len(),
            2
        );
        fs::write(folder.join("boottorrent-mine.service"), "[Unit]\n").unwrap();
        fs::write(folder.join("ssh.service"), unit("lab", "not by its name")).unwrap();

        let new: Units = [("boottorrent.target".to_owned(), unit("lab", "new"))].into();
        let changes = install(root.path(), &new).unwrap();
        assert_eq!(changes.written, ["boottorrent.target"]);
        assert_eq!(changes.removed, ["boottorrent-dhcp.service"]);
        assert_eq!(install(root.path(), &new).unwrap(), Changes::default());
        let left: Vec<_> =
            store::list(&folder).unwrap().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
        assert_eq!(left, ["boottorrent-mine.service", "boottorrent.target", "ssh.service"]);
        assert_eq!(installed_site(root.path()).unwrap().1, "lab");
    }

    #[test]
    fn what_a_running_target_lacks_is_told() {
        let names = ["boottorrent-log.service", "boottorrent-log.socket", "boottorrent-ra.service", TARGET];
        let units: Units = names.map(|name| (name.to_owned(), String::new())).into();
        let changes = Changes { written: names.map(str::to_owned).into(), removed: Vec::new() };
        let told = by_hand(&changes, &units, |unit| unit == TARGET);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].ends_with("systemctl start boottorrent-log.socket"),
            "its service waits for a packet"
        );
        assert!(told[1].ends_with("systemctl start boottorrent-ra.service"), "nothing else starts it");
        let told = by_hand(&changes, &units, |_| true);
        assert!(told.len() == 3 && told.iter().all(|line| line.contains("systemctl restart ")), "{told:?}");
    }

    #[test]
    fn a_unit_of_somebody_else_is_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder(root.path())).unwrap();
        fs::write(folder(root.path()).join("boottorrent.target"), "[Unit]\n").unwrap();
        let units: Units = [("boottorrent.target".to_owned(), unit("lab", "new"))].into();
        assert_eq!(taken(root.path(), &units), [folder(root.path()).join("boottorrent.target")]);
        let told = install(root.path(), &units).unwrap_err().to_string();
        assert!(told.contains("not made by boottorrent-gen"), "{told}");
    }
}
