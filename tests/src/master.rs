//! The master: a real systemd in a container over an overlay of this machine's own root, so nothing is installed twice.
//! Sees the lab's wire only; what it writes is gone when it is dropped.

use crate::clock::wait_for;
use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Host;
use crate::process::{Launch, Process, finish, read_text, run};
use crate::sweep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// systemd needs 0.5 s on a quiet machine; six nodes may be booting beside it.
const BOOT: Duration = Duration::from_secs(60);
const POWER_OFF: Duration = Duration::from_secs(20);

/// Moves itself into the control groups (first word) and becomes the program (the others).
const ENTER: &str = r#"for group in $0; do echo $$ > "$group/cgroup.procs" || exit 1; done; exec "$@""#;

pub struct Master {
    pub host: Host,
    name: String,
    folder: PathBuf,
    journal: PathBuf,
    groups: Vec<PathBuf>,
    process: Option<Process>,
    leader: Option<Pid>,
}

impl Master {
    /// Boots a master with `address` (as `10.0.0.1/24`) on the switch. `binds` are files and folders of the host with
    /// the place where they appear in it, read-only.
    ///
    /// # Errors
    /// What the kernel or systemd refuse, or `Timeout`.
    pub fn boot(lab: &Lab, address: &str, binds: &[(PathBuf, String)]) -> Result<Self, LabError> {
        let host = lab.network.host("m", address)?;
        let folder = lab.path("master");
        std::fs::create_dir_all(&folder).map_err(LabError::io("make", &folder))?;
        let mut master = Self {
            host,
            name: lab.name().into(),
            journal: lab.path("journal.log"),
            groups: Vec::new(),
            process: None,
            leader: None,
            folder,
        };
        master.mount()?;
        master.make_groups()?;
        master.start(lab, binds)?;
        Ok(master)
    }

    fn mount(&self) -> Result<(), LabError> {
        let folder = self.folder.to_string_lossy();
        run(&["mount", "-t", "tmpfs", "-o", "mode=755", "btlab", &folder])?;
        for name in ["up", "work", "root"] {
            let path = self.folder.join(name);
            std::fs::create_dir(&path).map_err(LabError::io("make", path))?;
        }
        let options = format!("lowerdir=/,upperdir={folder}/up,workdir={folder}/work");
        run(&["mount", "-t", "overlay", "btlab", "-o", &options, &format!("{folder}/root")]).map(drop)
    }

    /// With `--keep-unit` the container's groups stand below its own, so two containers need two.
    fn make_groups(&mut self) -> Result<(), LabError> {
        for hierarchy in sweep::hierarchies() {
            let group = hierarchy.join(&self.name);
            std::fs::create_dir(&group).map_err(LabError::io("make the control group", &group))?;
            self.groups.push(group);
        }
        Ok(())
    }

    fn start(&mut self, lab: &Lab, binds: &[(PathBuf, String)]) -> Result<(), LabError> {
        let groups: Vec<_> = self.groups.iter().map(|group| group.to_string_lossy()).collect();
        let mut argv: Vec<String> = ["sh", "-c", ENTER, &groups.join(" ")].map(str::to_owned).into();
        argv.extend(["systemd-nspawn", "-q", "-b", "--register=no", "--keep-unit"].map(str::to_owned));
        argv.push(format!("--directory={}", self.root().display()));
        argv.push(format!("--machine={}", self.name));
        argv.push(format!("--network-namespace-path=/run/netns/{}", self.host.netns));
        // nspawn drops it together with a foreign network namespace, and PrivateNetwork= needs it.
        argv.push("--capability=CAP_NET_ADMIN".into());
        argv.extend(binds.iter().map(|(from, to)| format!("--bind-ro={}:{to}", from.display())));
        // This machine's own services are none of the lab's business.
        argv.extend(["--", "systemd.unit=basic.target"].map(str::to_owned));
        let mut launch = Launch::new(&argv, lab.path("nspawn.log"));
        launch.environment.push(("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1".into()));
        let process = launch.start()?;
        let pid = process.pid();
        let children = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
        let process = self.process.insert(process);
        let ready = wait_for("the master's systemd", BOOT, || {
            if process.ended().is_some() {
                return Ok(None);
            }
            // Looked up each time: nspawn's first child only makes the namespaces.
            let leader = read_text(&children).split_whitespace().next().and_then(|id| id.parse().ok());
            let leader = Pid::from_raw(leader.ok_or_else(|| process.log())?);
            let line = "systemctl is-system-running";
            let state = match finish(&mut enter(leader, line), line) {
                Ok(state) | Err(LabError::Command { output: state, .. }) => state,
                Err(error) => error.to_string(),
            };
            if state.contains("running") || state.contains("degraded") {
                Ok(Some(leader))
            } else {
                Err(state)
            }
        })?;
        self.leader = ready;
        if ready.is_some() {
            return Ok(());
        }
        Err(LabError::Ended { what: "the master's container".into(), seen: process.log() })
    }

    /// The master's root as the host sees it.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// A path of the master as the host sees it; only for what is no mount in the container (`/run` is one).
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root().join(inside.trim_start_matches('/'))
    }

    /// Runs a shell line in the container; its stdout.
    ///
    /// # Errors
    /// `Command` with both outputs when it fails.
    pub fn run(&self, line: &str) -> Result<String, LabError> {
        finish(&mut self.enter(line), line)
    }

    /// A command that runs a shell line in all of the container's namespaces.
    #[must_use]
    pub fn enter(&self, line: &str) -> Command {
        enter(self.leader.unwrap_or(Pid::from_raw(0)), line)
    }

    /// The same as words, for a `Launch`.
    #[must_use]
    pub fn enter_argv(&self, line: &str) -> Vec<String> {
        enter_argv(self.leader.unwrap_or(Pid::from_raw(0)), line)
    }

    /// Writes a file in the master.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&self, inside: &str, content: &str) -> Result<(), LabError> {
        let path = self.path(inside);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
        }
        std::fs::write(&path, content).map_err(LabError::io("write", path))
    }

    /// The journal of the product's units, for a failing test.
    #[must_use]
    pub fn journal(&self) -> String {
        self.run("journalctl --no-pager -o short-precise -n 2000").unwrap_or_else(|error| error.to_string())
    }
}

fn enter_argv(leader: Pid, line: &str) -> Vec<String> {
    ["nsenter", "-t", &leader.to_string(), "-a", "sh", "-c", line].map(str::to_owned).into()
}

fn enter(leader: Pid, line: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(enter_argv(leader, line).iter().skip(1));
    command
}

impl Drop for Master {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::fs::write(&self.journal, self.journal());
        }
        if let (Some(leader), Some(process)) = (self.leader, &mut self.process) {
            // systemd's own request to power off: SIGRTMIN+4, for which there is no name
            let _ = run(&["kill", "-s", "RTMIN+4", &leader.to_string()]);
            if process.wait(POWER_OFF).is_err() {
                let _ = kill(leader, Signal::SIGKILL);
            }
        }
        self.process = None;
        for mount in [self.root(), self.folder.clone()] {
            let _ = run(&["umount", "-l", &mount.to_string_lossy()]);
        }
        for group in &self.groups {
            sweep::remove_group(group);
        }
    }
}
