//! Programs that the lab runs: to their end with their output, or beside it until they are dropped.
//! Never leaves one behind: a child dies with the thread that started it, even when that is killed.

use crate::clock::{Deadline, wait_for};
use crate::error::LabError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Children that nobody has waited for yet, for an end that runs no destructors.
static LIVING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn living() -> MutexGuard<'static, Vec<Pid>> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills every child; their memory, and a container's processes with it, goes in a moment of its own.
pub(crate) fn kill_all() {
    for pid in living().drain(..) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// After SIGTERM a program has this long before SIGKILL.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs a program to its end and returns what it wrote to stdout.
///
/// # Errors
/// `Command` with both outputs when it can't be started or says failure.
pub fn run(argv: &[&str]) -> Result<String, LabError> {
    let (program, arguments) = argv.split_first().unwrap_or((&"true", &[]));
    finish(Command::new(program).args(arguments), &argv.join(" "))
}

/// As `run`, in a network namespace.
///
/// # Errors
/// As `run`.
pub fn run_in(netns: &str, argv: &[&str]) -> Result<String, LabError> {
    let mut line = vec!["ip", "netns", "exec", netns];
    line.extend_from_slice(argv);
    run(&line)
}

pub(crate) fn finish(command: &mut Command, line: &str) -> Result<String, LabError> {
    let failed = |status: String, output: String| LabError::Command { line: line.into(), status, output };
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string(), String::new()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(failed(output.status.to_string(), tail(&format!("{text}{errors}"))))
}

/// The last lines of a text that may be long.
pub(crate) fn tail(text: &str) -> String {
    const LINES: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n")
}

/// A program that is about to be started beside the lab.
pub struct Launch<'a> {
    pub argv: Vec<String>,
    /// Network namespace to run in; the host's own otherwise.
    pub netns: Option<&'a str>,
    /// Where stderr goes, and stdout too unless it is piped.
    pub log: PathBuf,
    pub environment: Vec<(&'a str, String)>,
    /// Stdin and stdout are the lab's.
    pub piped: bool,
}

impl<'a> Launch<'a> {
    pub fn new<S: AsRef<str>>(argv: &[S], log: impl Into<PathBuf>) -> Self {
        let argv = argv.iter().map(|word| word.as_ref().to_owned()).collect();
        Self { argv, netns: None, log: log.into(), environment: Vec::new(), piped: false }
    }

    #[must_use]
    pub fn netns(mut self, netns: &'a str) -> Self {
        self.netns = Some(netns);
        self
    }

    #[must_use]
    pub fn piped(mut self) -> Self {
        self.piped = true;
        self
    }

    /// # Errors
    /// `Command` when the program can't be started, `Io` when its log can't be made.
    pub fn start(self) -> Result<Process, LabError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(LabError::io("write the log", &self.log))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(netns) = self.netns {
            command.args(["ip", "netns", "exec", netns]);
        }
        command.args(&self.argv).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let clone = log.try_clone().map_err(LabError::io("share the log", &self.log))?;
        command.stderr(log);
        if self.piped {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(clone);
        }
        let line = self.argv.join(" ");
        let child = command.spawn().map_err(|error| LabError::Command {
            line: line.clone(),
            status: error.to_string(),
            output: String::new(),
        })?;
        let process = Process { child, line, log: self.log };
        living().push(process.pid());
        Ok(process)
    }
}

/// A running program; it is stopped and reaped when dropped.
pub struct Process {
    child: Child,
    line: String,
    log: PathBuf,
}

impl Process {
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// What it has written so far (to stderr only when piped).
    #[must_use]
    pub fn log(&self) -> String {
        read_text(&self.log)
    }

    pub(crate) fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// # Errors
    /// `Timeout` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let what = format!("the end of `{}`", self.line);
        let (child, log) = (&mut self.child, &self.log);
        wait_for(&what, limit, || child.try_wait().ok().flatten().ok_or_else(|| tail(&read_text(log))))
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended in this moment; until it is waited for, its id belongs to nobody else.
        let _ = kill(self.pid(), signal);
    }

    /// Ends it: politely, then surely.
    pub fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        self.signal(Signal::SIGTERM);
        if self.wait(LAST_WORDS).is_err() {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }

    /// Waits until its log has the text.
    ///
    /// # Errors
    /// `Timeout`, or `Ended` when it ends before.
    pub fn expect(&mut self, text: &str, limit: Duration) -> Result<(), LabError> {
        let deadline = Deadline::after(limit);
        let what = format!("{text:?} from `{}`", self.line);
        let ended = wait_for(&what, deadline.left().unwrap_or_default(), || {
            let ended = self.ended();
            let log = self.log();
            if log.contains(text) { Ok(None) } else { ended.map(|_| Some(tail(&log))).ok_or(tail(&log)) }
        })?;
        ended.map_or(Ok(()), |seen| Err(LabError::Ended { what: self.line.clone(), seen }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let pid = self.pid();
        living().retain(|other| *other != pid);
        self.stop();
    }
}

pub(crate) fn read_text(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_reports_both_outputs() {
        let error = run(&["sh", "-c", "echo one; echo two >&2; exit 3"]).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("one") && error.contains("two"),
            "{error}"
        );
    }

    #[test]
    fn a_program_ends_with_its_owner() {
        let log = std::env::temp_dir().join(format!("bt-process-{}", std::process::id()));
        let process = Launch::new(&["sleep", "600"], &log).start().unwrap();
        let pid = process.pid();
        drop(process);
        assert!(kill(pid, None).is_err());
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn the_end_of_a_program_is_noticed_while_its_words_are_awaited() {
        let log = std::env::temp_dir().join(format!("bt-words-{}", std::process::id()));
        let mut process = Launch::new(&["sh", "-c", "echo hello"], &log).start().unwrap();
        process.expect("hello", Duration::from_secs(5)).unwrap();
        assert!(matches!(process.expect("never", Duration::from_secs(5)), Err(LabError::Ended { .. })));
        std::fs::remove_file(log).unwrap();
    }
}
