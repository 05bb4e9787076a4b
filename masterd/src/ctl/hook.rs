//! A site's own command for one node: its words filled in and run without a shell, with a limit to its time.
//! Decides what its end means; never knows what it does.

use std::fmt;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::nodelog::clean;

/// A board that does not answer keeps ipmitool trying for 20 s by default; beyond this nobody believes in it.
const LIMIT: Duration = Duration::from_secs(60);
/// What is kept of its output, from the end: one line is told.
const TAIL: usize = 4096;
/// Characters of that line.
const LINE: usize = 200;
/// Reads before the clock is looked at again: one that writes without end must not stop it.
const READS: usize = 64;
/// A child that was killed, or that closed its output, is gone by then.
const GONE: Duration = Duration::from_secs(2);
/// How often it is looked whether the child is gone while others still hold its output.
const LOOK: Duration = Duration::from_millis(50);

/// Values for the keys: of the site's own file, never of what a node says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    pub(crate) mac: &'a str,
    pub(crate) name: &'a str,
    pub(crate) address: Option<&'a str>,
}

/// Why a word of a command is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadWord {
    Key(String),
    Brace,
    Control,
    /// The node has no address in the site.
    NoAddress,
}

impl fmt::Display for BadWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "there is no {{{key}}}: use {{mac}}, {{name}} or {{address}}"),
            Self::Brace => f.write_str("a brace has no partner: write {{ or }} for a brace itself"),
            Self::Control => f.write_str("there is a control character in it"),
            Self::NoAddress => f.write_str("the site gives this node no address for {address}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Good,
    Bad,
    /// Whoever ran this pressed Ctrl-C, or went away.
    Interrupted,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    /// `ended with status 1: Unable to establish IPMI v2 session`
    pub(crate) sentence: String,
}

/// Checks a word without values.
pub(crate) fn check(word: &str) -> Result<(), BadWord> {
    fill(word, Values { mac: "", name: "", address: Some("") }).map(drop)
}

/// The word with its keys replaced.
pub(crate) fn fill(word: &str, values: Values<'_>) -> Result<String, BadWord> {
    if word.chars().any(char::is_control) {
        return Err(BadWord::Control);
    }
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            out.push_str(&from[..1]);
            rest = after;
            continue;
        }
        let (key, after) = from.strip_prefix('{').and_then(|k| k.split_once('}')).ok_or(BadWord::Brace)?;
        out.push_str(match key {
            "mac" => values.mac,
            "name" => values.name,
            "address" => values.address.ok_or(BadWord::NoAddress)?,
            _ => return Err(BadWord::Key(key.to_owned())),
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Runs a command to its end, or for [`LIMIT`] at most.
pub(crate) fn run(words: &[String]) -> Ended {
    run_within(words, LIMIT)
}

fn run_within(words: &[String], limit: Duration) -> Ended {
    let bad = |sentence| Ended { end: End::Bad, sentence };
    let Some((program, arguments)) = words.split_first() else { return bad("has no program".into()) };
    let (mut child, mut output) = match start(program, arguments) {
        Ok(started) => started,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return bad(format!("cannot be run: there is no program {program}"));
        }
        Err(e) => return bad(format!("cannot be run: {e}")),
    };
    // The child's group is not that of the terminal, so Ctrl-C reaches us alone. Blocked behind its start: it would inherit
    // that.
    let interrupt = Interrupt::watch();
    let mut tail = Vec::new();
    let followed = follow(&mut child, &mut output, interrupt.as_ref(), &mut tail, now() + limit);
    let line = last_line(&tail);
    let so_far = || line.as_ref().map_or(String::new(), |line| format!("; its last line: {line}"));
    match followed {
        Followed::Gone(status) => ended(status, line),
        Followed::Late => {
            kill_group(&mut child, Signal::SIGKILL);
            bad(format!("did not end within {} s and was killed{}", limit.as_secs(), so_far()))
        }
        Followed::Interrupted => {
            // It may want to tell its board so.
            kill_group(&mut child, Signal::SIGTERM);
            kill_group(&mut child, Signal::SIGKILL);
            Ended { end: End::Interrupted, sentence: format!("was ended{}", so_far()) }
        }
    }
}

/// A child with what it has started: its process group has its own number.
fn kill_group(child: &mut Child, signal: Signal) {
    let _already_gone = killpg(Pid::from_raw(child.id().cast_signed()), signal);
    let deadline = now() + GONE;
    while now() < deadline && matches!(child.try_wait(), Ok(None)) {
        let _interrupted = poll(&mut [], PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO));
    }
}

/// The signals by which people end a program, for as long as this lives.
struct Interrupt {
    signals: SignalFd,
    before: SigSet,
}

impl Interrupt {
    /// None: they end us as ever, and the child goes on.
    fn watch() -> Option<Self> {
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").ok()?);
        let mut mask = SigSet::empty();
        // What nohup(1) or a shell without job control has us ignore stays so: blocked, it would come after all.
        let ours = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter();
        for signal in ours.filter(|signal| ignored >> (*signal as i32 - 1) & 1 == 0) {
            mask.add(signal);
        }
        let before = mask.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()?;
        Some(Self { signals, before })
    }

    fn came(&self) -> bool {
        matches!(self.signals.read_signal(), Ok(Some(_)))
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        let _cannot_fail = self.before.thread_set_mask();
    }
}

/// The signals that a process ignores, from its status(5): one bit each, from SIGHUP up.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0)
}

fn start(program: &str, arguments: &[String]) -> io::Result<(Child, PipeReader)> {
    let (output, input) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let child = command.stdout(input.try_clone()?).stderr(input).spawn()?;
    // The ends for writing close with `command`: the child's own are the last.
    Ok((child, output))
}

enum Followed {
    Gone(ExitStatus),
    Late,
    Interrupted,
}

/// Reads until the child is gone: what it has left behind may hold its output for ever.
fn follow(
    child: &mut Child,
    output: &mut PipeReader,
    interrupt: Option<&Interrupt>,
    tail: &mut Vec<u8>,
    deadline: Duration,
) -> Followed {
    let mut open = true;
    loop {
        let status = child.try_wait();
        if let Some(output) = Some(&mut *output).filter(|_| open) {
            open = take(output, tail);
        }
        match status {
            Ok(Some(status)) => return Followed::Gone(status),
            _ if interrupt.is_some_and(Interrupt::came) => return Followed::Interrupted,
            _ if now() >= deadline => return Followed::Late,
            _ => {}
        }
        let mut fds: Vec<_> =
            interrupt.iter().map(|i| PollFd::new(i.signals.as_fd(), PollFlags::POLLIN)).collect();
        if open {
            fds.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        let until = deadline.saturating_sub(now()).min(LOOK);
        let _interrupted = poll(&mut fds, PollTimeout::try_from(until).unwrap_or(PollTimeout::ZERO));
    }
}

/// What there is of the output; false once nobody writes any more.
fn take(output: &mut PipeReader, tail: &mut Vec<u8>) -> bool {
    let mut buffer = [0; TAIL];
    for _ in 0..READS {
        match poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) {
            Ok(0) | Err(Errno::EINTR) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
        match output.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(length) => {
                tail.extend_from_slice(&buffer[..length]);
                let surplus = tail.len().saturating_sub(TAIL);
                tail.drain(..surplus);
            }
        }
    }
    true
}

fn ended(status: ExitStatus, line: Option<String>) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let sentence = line.map_or_else(|| how.clone(), |line| format!("{how}: {line}"));
    Ended { end: if status.success() { End::Good } else { End::Bad }, sentence }
}

fn last_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(clean(line, LINE))
}

fn now() -> Duration {
    // CLOCK_MONOTONIC exists on every Linux, and a valid clock id is the call's only condition.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> = Values { mac: "52:54:00:00:00:01", name: "n01", address: None };

    #[test]
    fn what_a_shell_has_us_ignore_is_read_from_the_status() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert_eq!(ignored(status), 1 << (Signal::SIGHUP as i32 - 1) | 1 << (Signal::SIGPIPE as i32 - 1));
        assert_eq!(ignored("Name:\tx\n"), 0);
    }

    #[test]
    fn words_are_filled_and_mistakes_told() {
        assert_eq!(fill("{name}-bmc", VALUES).unwrap(), "n01-bmc");
        assert_eq!(fill("{{{mac}}}", VALUES).unwrap(), "{52:54:00:00:00:01}");
        assert_eq!(fill("plain", VALUES).unwrap(), "plain");
        assert_eq!(fill("{address}", VALUES), Err(BadWord::NoAddress));
        assert_eq!(check("{address}"), Ok(()));
        for (word, told) in [
            ("{nmae}", "there is no {nmae}"),
            ("{mac", "a brace has no partner"),
            ("mac}", "a brace has no partner"),
            ("a\nb", "control character"),
        ] {
            let said = check(word).unwrap_err().to_string();
            assert!(said.contains(told), "{word:?}: {said}");
        }
    }

    fn shell(script: &str) -> Ended {
        run_within(&["sh", "-c", script].map(str::to_owned), Duration::from_secs(20))
    }

    #[test]
    fn the_end_is_told_with_the_last_line() {
        let done = shell("echo one; echo; echo 'Chassis Power Control: Up/On' >&2; echo");
        assert_eq!(done.sentence, "ended with status 0: Chassis Power Control: Up/On");
        assert_eq!(done.end, End::Good);
        let done = shell("printf 'no\\033[2J session\\n'; exit 3");
        assert_eq!(done.sentence, "ended with status 3: no [2J session");
        assert_eq!(done.end, End::Bad);
        assert_eq!(shell("kill -9 $$").sentence, "was killed by signal 9");
        let done = shell("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end");
        assert_eq!(done.sentence, "ended with status 0: end");
    }

    #[test]
    fn one_that_is_not_there_or_hangs_is_told() {
        let done = run(&["/nowhere/ipmitool".to_owned()]);
        assert_eq!(done.sentence, "cannot be run: there is no program /nowhere/ipmitool");
        let words = ["sh", "-c", "echo waiting; sleep 600 & sleep 600"].map(str::to_owned);
        let done = run_within(&words, Duration::from_millis(300));
        assert_eq!(done.end, End::Bad);
        assert_eq!(done.sentence, "did not end within 0 s and was killed; its last line: waiting");
    }

    #[test]
    fn one_that_leaves_a_daemon_with_its_output_has_ended_all_the_same() {
        let begun = now();
        let done = shell("echo started; sleep 15 & exit 3");
        assert_eq!((done.end, done.sentence.as_str()), (End::Bad, "ended with status 3: started"));
        assert!(now() - begun < Duration::from_secs(10));
    }
}
