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
use nix::sys::signal::{Signal, killpg};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::nodelog::clean;

/// A board that does not answer keeps ipmitool trying for 20 s by default; beyond this nobody believes in it.
const LIMIT: Duration = Duration::from_secs(60);
/// What is kept of its output, from the end: one line is told.
const TAIL: usize = 4096;
/// Characters of that line.
const LINE: usize = 200;
/// A child that was killed, or that closed its output, is gone by then.
const GONE: Duration = Duration::from_secs(2);

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

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) good: bool,
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
    let bad = |sentence| Ended { good: false, sentence };
    let Some((program, arguments)) = words.split_first() else { return bad("has no program".into()) };
    let (mut child, mut output) = match start(program, arguments) {
        Ok(started) => started,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return bad(format!("cannot be run: there is no program {program}"));
        }
        Err(e) => return bad(format!("cannot be run: {e}")),
    };
    let deadline = now() + limit;
    let mut tail = Vec::new();
    let in_time = follow(&mut output, &mut tail, deadline) && wait(&mut child, deadline.max(now() + GONE));
    if !in_time {
        // With what it has started: its process group has its own number.
        let group = Pid::from_raw(child.id().cast_signed());
        let _already_gone = killpg(group, Signal::SIGKILL);
        wait(&mut child, now() + GONE);
        let so_far = last_line(&tail).map_or(String::new(), |line| format!("; its last line: {line}"));
        return bad(format!("did not end within {} s and was killed{so_far}", limit.as_secs()));
    }
    match child.try_wait() {
        Ok(Some(status)) => ended(status, last_line(&tail)),
        Ok(None) | Err(_) => bad("ended in a way that cannot be told".into()),
    }
}

fn start(program: &str, arguments: &[String]) -> io::Result<(Child, PipeReader)> {
    let (output, input) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).process_group(0);
    let child = command.stdout(input.try_clone()?).stderr(input).spawn()?;
    // The ends for writing close with `command`: the child's own are the last.
    Ok((child, output))
}

/// Reads until nobody writes any more; false at the deadline.
fn follow(output: &mut PipeReader, tail: &mut Vec<u8>, deadline: Duration) -> bool {
    let mut buffer = [0; TAIL];
    loop {
        let left = deadline.saturating_sub(now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return true,
        }
        match output.read(&mut buffer) {
            Ok(0) | Err(_) => return true,
            Ok(length) => {
                tail.extend_from_slice(&buffer[..length]);
                let surplus = tail.len().saturating_sub(TAIL);
                tail.drain(..surplus);
            }
        }
    }
}

/// Whether the child is gone by then.
fn wait(child: &mut Child, deadline: Duration) -> bool {
    /// A process that has closed its output ends in this moment.
    const LOOK_AGAIN: u16 = 5;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if now() < deadline => {
                let _interrupted = poll(&mut [], PollTimeout::from(LOOK_AGAIN));
            }
            Ok(None) | Err(_) => return false,
        }
    }
}

fn ended(status: ExitStatus, line: Option<String>) -> Ended {
    use std::os::unix::process::ExitStatusExt;
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let sentence = line.map_or_else(|| how.clone(), |line| format!("{how}: {line}"));
    Ended { good: status.success(), sentence }
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
        assert!(done.good);
        let done = shell("printf 'no\\033[2J session\\n'; exit 3");
        assert_eq!(done.sentence, "ended with status 3: no [2J session");
        assert!(!done.good);
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
        assert!(!done.good);
        assert_eq!(done.sentence, "did not end within 0 s and was killed; its last line: waiting");
    }

    #[test]
    fn one_that_leaves_a_daemon_with_its_output_is_waited_for_no_longer_than_the_limit() {
        let words = ["sh", "-c", "echo started; sleep 600 & exit 0"].map(str::to_owned);
        let begun = now();
        assert!(!run_within(&words, Duration::from_millis(300)).good);
        assert!(now() - begun < Duration::from_secs(10));
    }
}
