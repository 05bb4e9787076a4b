//! A program from its start to its end: a session and a terminal of its own, its output to the consoles, its orphans
//! reaped, and everything that it started ended with it.
//!
//! Decides when it has ended and why. Never waits for a program that does not listen.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::group::Group;
use super::keyboard::Keyboards;
use super::lent::Lent;
use super::output::Output;
use super::{Error, Start, Tap, display, kvm, layout};
use crate::report::Report;
use crate::{clock, sys};

/// How often a program is looked at when nothing happens.
const LOOK: Duration = Duration::from_millis(100);
const OOM_SCORE: &str = "/proc/self/oom_score_adj";
/// What a program that was told to end gets for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of output taken at a time.
const CHUNK: usize = 4096;
/// Chunks taken from a program that has ended: what its terminal can still hold, and no more if a child of it prints on.
const REST: usize = 16;
/// A terminal whose size nobody knows.
const USUAL_WINDOW: (u16, u16) = (24, 80);

/// Who else has a say while a program runs.
pub(crate) struct Watched<'a> {
    pub(crate) report: &'a Report,
    /// Names of the consoles that the program gets.
    pub(crate) consoles: &'a [String],
    /// Bytes that it may take.
    pub(crate) room: u64,
    /// The program finds it open under its number.
    pub(crate) tap: Option<&'a Tap>,
    /// Asked now and then: whether the machine is to go off.
    pub(crate) stop: &'a dyn Fn() -> bool,
    /// Called now and then.
    pub(crate) tick: &'a mut dyn FnMut(),
}

/// How a program went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) how: How,
    pub(crate) lived: Duration,
    /// The kernel ended something of it for want of memory.
    pub(crate) starved: bool,
    /// What it printed last.
    pub(crate) last: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Exited(i32),
    Killed(Signal),
    /// Somebody typed the escape.
    Dismissed,
    /// The machine goes off.
    Stopped,
}

impl End {
    pub(crate) fn is_good(&self) -> bool {
        matches!(self.how, How::Exited(0) | How::Dismissed | How::Stopped) && !self.starved
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.how == How::Dismissed
    }

    /// One sentence.
    pub(crate) fn in_words(&self) -> String {
        let seconds = self.lived.as_secs_f64();
        let how = match self.how {
            How::Exited(status) => {
                format!("it ended with status {status}{} after {seconds:.1} s", meaning(status))
            }
            How::Killed(signal) => format!("{signal} ended it after {seconds:.1} s"),
            How::Dismissed => format!("it was ended at the console after {seconds:.1} s"),
            How::Stopped => format!("it was ended with the machine after {seconds:.1} s"),
        };
        let starved = if self.starved { "; it took more memory than this node has for it" } else { "" };
        if self.last.is_empty() {
            return format!("{how}{starved}");
        }
        format!("{how}{starved}; its last words: {}", self.last.join(" | "))
    }
}

/// What shells and loaders mean by a status (sh(1), ld.so(8)).
fn meaning(status: i32) -> &'static str {
    match status {
        126 => " (what it was to start cannot be executed)",
        127 => " (a program or a library that it needs was not found)",
        _ => "",
    }
}

/// Where memory is short in spite of the group, the agent is not what goes while the program runs; the program takes this
/// back for itself.
struct Spared;

impl Spared {
    fn here() -> Self {
        let _ = std::fs::write(OOM_SCORE, "-1000"); // the group has its bound all the same
        Self
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        let _ = std::fs::write(OOM_SCORE, "0"); // then it is spared where nothing else is to be had, and the kernel gives up
    }
}

/// Starts the program in its root and stays with it until it and all that it started are gone.
pub(crate) fn run(start: &Start, watched: Watched<'_>) -> Result<End, Error> {
    if let Some(lack) = display::lack(start) {
        return Err(Error::Display(lack));
    }
    // Whoever loses its parent becomes our child, is reaped here, and cannot outlive the program.
    let _ = prctl::set_child_subreaper(true); // without it process 1 reaps them; the group ends them all the same
    let _spared = Spared::here();
    let group = Group::make(watched.room)?;
    if !group.bounded {
        watched
            .report
            .note("run", "this kernel cannot bound the program's memory; it may take the node's last");
    }
    if let Some(lack) = kvm::lack(start) {
        watched.report.note("run", &lack);
    }
    let lent = Lent::take(watched.consoles, watched.report);
    let terminal = Terminal::open(lent.window().unwrap_or(USUAL_WINDOW)).map_err(Error::Terminal)?;
    let pid = terminal.start(start, &group, watched.tap)?;
    let begun = clock::now();
    let mut running = Running {
        pid,
        terminal: terminal.controller,
        hung_up: false,
        lent,
        keyboards: Keyboards::default(),
        output: Output::default(),
        last_signals: Vec::new(),
        how: None,
    };
    drop(terminal.program);
    let report = watched.report;
    let status = running.watch(watched, &group);
    let lived = clock::now().saturating_sub(begun);
    running.drain(report);
    let starved = group.starved() > 0;
    // The rest of what it started goes before its consoles are given back.
    drop(group);
    let how = running.how.unwrap_or(status);
    Ok(End { how, lived, starved, last: running.output.last() })
}

/// The two ends of a pseudo-terminal of the program's own /dev/pts, so that it finds its name there.
struct Terminal {
    controller: File,
    program: OwnedFd,
}

impl Terminal {
    fn open(window: (u16, u16)) -> io::Result<Self> {
        let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
        let path = format!("{}/dev/pts/ptmx", layout::ROOT);
        let controller = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        let program = sys::program_end(&controller)?;
        sys::set_window(controller.as_fd(), window)?;
        Ok(Self { controller, program })
    }

    fn start(&self, start: &Start, group: &Group, tap: Option<&Tap>) -> Result<Pid, Error> {
        layout::find_workdir(&start.workdir)?;
        layout::check_program(&start.path)?;
        let failed = |cause| Error::Start { path: start.path.clone(), cause };
        let end = || self.program.try_clone().map(Stdio::from).map_err(failed);
        let mut command = Command::new(&start.path);
        command.args(&start.arguments).env_clear().envs(start.environment.iter().map(|(n, v)| (n, v)));
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        sys::enter_before_exec(
            &mut command,
            sys::Entry {
                group: group.entrance().map_err(failed)?,
                root: layout::ROOT,
                workdir: start.workdir.clone(),
                nice: start.nice.into(),
                kept: tap.map(Tap::number),
            },
        )
        .map_err(failed)?;
        let child = command.spawn().map_err(failed)?;
        Ok(Pid::from_raw(child.id() as i32))
    }
}

struct Running {
    pid: Pid,
    terminal: File,
    /// The terminal's other end is closed: reading it says so for ever.
    hung_up: bool,
    lent: Lent,
    keyboards: Keyboards,
    output: Output,
    /// What a program that was told to end gets next, and when.
    last_signals: Vec<(Duration, Signal)>,
    /// Known before the end, when it was us.
    how: Option<How>,
}

impl Running {
    fn watch(&mut self, watched: Watched<'_>, group: &Group) -> How {
        let Watched { report, stop, tick, .. } = watched;
        loop {
            if let Some(how) = self.reap() {
                return how;
            }
            let now = clock::now();
            if self.how.is_none() && stop() {
                self.dismiss(How::Stopped, now);
            }
            while let Some((_, signal)) = self.last_signals.pop_if(|(at, _)| *at <= now) {
                let _ = killpg(self.pid, signal); // gone already is as good
            }
            tick();
            self.lent.flush();
            if let Some(theirs) = self.keyboards.look(|| group.members(), now) {
                self.lent.listen(!theirs);
            }
            for line in self.output.renew(now) {
                report.printed("run", &line);
            }
            let (mut fds, until) = (self.lent.fds(), now + LOOK);
            if !self.hung_up {
                fds.push(self.terminal.as_fd());
            }
            clock::wait_readable(&fds, until);
            for line in self.pump() {
                report.printed("run", &line);
            }
        }
    }

    /// Takes what was printed and gives what was typed; lines for the master.
    fn pump(&mut self) -> Vec<String> {
        let now = clock::now();
        let typed = self.lent.typed();
        let escapes = self.keyboards.escapes();
        if (self.lent.escaped(&typed, now) || self.lent.escaped(&escapes, now)) && self.how.is_none() {
            self.dismiss(How::Dismissed, now);
        }
        if !typed.is_empty() {
            let _ = self.terminal.write(&typed); // a program that reads nothing loses what is typed
        }
        let mut bytes = [0; CHUNK];
        match self.terminal.read(&mut bytes) {
            Ok(length) if length > 0 => {
                self.hung_up = false;
                let printed = bytes.get(..length).unwrap_or_default();
                self.lent.show(printed);
                self.output.take(printed, now)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Vec::new()
            }
            // EIO: nobody has the other end. Who opens the terminal anew is heard again at the next look.
            _ => {
                self.hung_up = true;
                Vec::new()
            }
        }
    }

    /// What was still on its way when the program ended.
    fn drain(&mut self, report: &Report) {
        let mut bytes = [0; CHUNK];
        for _ in 0..REST {
            let Ok(length) = self.terminal.read(&mut bytes) else { return };
            let printed = bytes.get(..length).unwrap_or_default();
            self.lent.show(printed);
            for line in self.output.take(printed, clock::now()) {
                report.printed("run", &line);
            }
        }
    }

    fn dismiss(&mut self, how: How, now: Duration) {
        self.how = Some(how);
        // A shell that waits at its prompt listens to the second and not to the first.
        self.last_signals = vec![(now + PATIENCE, Signal::SIGKILL), (now + PATIENCE / 2, Signal::SIGHUP)];
        let _ = killpg(self.pid, Signal::SIGTERM); // gone already is as good
    }

    /// Takes note of whoever has ended; the program's own end, if it is among them.
    fn reap(&self) -> Option<How> {
        let mut own = None;
        while let Some((pid, how)) = reap_one() {
            if pid == self.pid {
                own = Some(how);
            }
        }
        own
    }
}

/// Takes note of whoever has ended of what a program left.
pub(super) fn reap() {
    while reap_one().is_some() {}
}

fn reap_one() -> Option<(Pid, How)> {
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) => return Some((pid, How::Exited(status))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => return Some((pid, How::Killed(signal))),
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_sentence() {
        let end = |how, starved, last: &[&str]| End {
            how,
            lived: Duration::from_millis(12_340),
            starved,
            last: last.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(end(How::Exited(0), false, &[]).in_words(), "it ended with status 0 after 12.3 s");
        assert_eq!(
            end(How::Exited(3), false, &["one", "two"]).in_words(),
            "it ended with status 3 after 12.3 s; its last words: one | two"
        );
        let lost = end(How::Exited(127), false, &["libz.so.1: cannot open"]).in_words();
        assert!(lost.contains("127 (a program or a library") && lost.contains("words: libz.so.1"), "{lost}");
        let starved = end(How::Killed(Signal::SIGKILL), true, &[]);
        assert!(starved.in_words().starts_with("SIGKILL ended it after 12.3 s; it took more memory"));
        assert!(!starved.is_good() && end(How::Dismissed, false, &[]).is_good());
    }
}
