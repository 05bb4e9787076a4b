//! The shells on the consoles: children of process 1, so that none ends with a worker, and nobody else takes note of an
//! end that is not theirs.
//!
//! Decides nothing: who stands at a console has the machine. Never waits for one.

use std::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{self, ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg};
use nix::unistd::Pid;

use crate::console::device;
use crate::console::shell::{BUSYBOX, END, FILE, SOCKET};
use crate::{mounts, sys};

/// A worker writes its line at once: it is ours, and it has one line to write.
const REQUEST_WITHIN: Duration = Duration::from_millis(200);
/// Bytes of that line.
const MAX_REQUEST: u64 = 64;
/// Links to every applet, once and only where somebody wants a shell: they take half a megabyte of memory.
const SCRIPT: &str = "[ -e /bin/ls ] || /bin/busybox --install -s /bin
echo \"A shell on $CONSOLE, as root. The boot goes on meanwhile; exit goes back to it.\"
exec /bin/busybox sh -l";

/// What a worker wants.
pub(super) struct Request {
    pub(super) console: String,
    pub(super) wanted: Wanted,
    /// Hears of its end.
    pub(super) from: UnixStream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A shell, on a terminal of so many columns and rows where that is known.
    Shell(Option<(u16, u16)>),
    End,
}

#[derive(Debug)]
pub(super) enum Error {
    Absent,
    Terminal(String, io::Error),
    Start(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => {
                write!(f, "the bootstrap image has no {BUSYBOX}; write busybox = true into [bootstrap]")
            }
            Self::Terminal(name, error) => write!(f, "/dev/{name}: {error}"),
            Self::Start(error) => write!(f, "cannot start {BUSYBOX}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

pub(super) struct Shells {
    listener: Option<UnixListener>,
    open: Vec<Open>,
}

struct Open {
    console: String,
    pid: Pid,
    waiting: Vec<UnixStream>,
}

impl Shells {
    pub(super) fn new() -> Self {
        let _ = fs::remove_file(SOCKET); // of a process 1 that had to replace itself
        let listener = UnixListener::bind(SOCKET);
        let listener = listener.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        // Its children are ours.
        let open = mounts::kept(FILE).unwrap_or_default().lines().filter_map(Open::parse).collect();
        // Without it workers are told so, each time that they ask; the second console asks nobody.
        Self { listener: listener.ok(), open }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(|listener| listener.as_fd())
    }

    pub(super) fn is_any_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// What a worker asks for.
    pub(super) fn request(&self) -> Option<Request> {
        let (from, _) = self.listener.as_ref()?.accept().ok()?;
        from.set_read_timeout(Some(REQUEST_WITHIN)).ok()?;
        let mut line = String::new();
        BufReader::new((&from).take(MAX_REQUEST)).read_line(&mut line).ok()?;
        let (console, wanted) = parse(&line)?;
        Some(Request { console, wanted, from })
    }

    pub(super) fn has(&self, console: &str) -> bool {
        self.open.iter().any(|shell| shell.console == console)
    }

    /// Opens a shell on a console that has none.
    pub(super) fn open(&mut self, console: &str, size: Option<(u16, u16)>) -> Result<(), Error> {
        let pid = start(console, size)?;
        self.open.push(Open { console: console.to_owned(), pid, waiting: Vec::new() });
        self.keep();
        Ok(())
    }

    /// Somebody wants to hear when the console's shell has ended.
    pub(super) fn wait(&mut self, console: &str, from: UnixStream) {
        if let Some(shell) = self.open.iter_mut().find(|shell| shell.console == console) {
            shell.waiting.push(from);
        }
    }

    /// The worker is gone, and only it waited.
    pub(super) fn forget_waiting(&mut self) {
        self.open.iter_mut().for_each(|shell| shell.waiting.clear());
    }

    /// Ends the console's shell, as if its line had been hung up.
    pub(super) fn end(&self, console: &str) {
        if let Some(shell) = self.open.iter().find(|shell| shell.console == console) {
            let _ = kill(shell.pid, Signal::SIGHUP); // gone already is as good
        }
    }

    /// The console whose shell that process was, and who waits for it: hung up on when dropped.
    pub(super) fn ended(&mut self, pid: Pid) -> Option<(String, Vec<UnixStream>)> {
        let at = self.open.iter().position(|shell| shell.pid == pid)?;
        let shell = self.open.swap_remove(at);
        self.keep();
        Some((shell.console, shell.waiting))
    }

    fn keep(&self) {
        let lines: String =
            self.open.iter().map(|shell| format!("{} {}\n", shell.console, shell.pid)).collect();
        let _ = mounts::keep(FILE, &lines); // without it a new worker draws over a shell
    }
}

impl Open {
    /// A line of [`FILE`].
    fn parse(line: &str) -> Option<Self> {
        let (console, pid) = line.split_once(' ')?;
        let pid = pid.parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)?;
        Some(Self { console: console.to_owned(), pid, waiting: Vec::new() })
    }
}

/// Tells a worker why there is no shell.
pub(super) fn refuse(mut from: &UnixStream, error: &Error) {
    let _ = from.write_all(error.to_string().as_bytes()); // who does not listen any more needs no reason
}

fn parse(line: &str) -> Option<(String, Wanted)> {
    let mut words = line.split_ascii_whitespace();
    let console = words.next()?.to_owned();
    let rest: Vec<&str> = words.collect();
    let wanted = match rest[..] {
        [END] => Wanted::End,
        [columns, rows] => Wanted::Shell(columns.parse().ok().zip(rows.parse().ok())),
        _ => Wanted::Shell(None),
    };
    Some((console, wanted))
}

fn start(console: &str, size: Option<(u16, u16)>) -> Result<Pid, Error> {
    if !crate::console::shell::is_there() {
        return Err(Error::Absent);
    }
    let terminal = terminal(console, size).map_err(|error| Error::Terminal(console.to_owned(), error))?;
    let end = || terminal.try_clone().map(Stdio::from).map_err(Error::Start);
    let mut command = Command::new(BUSYBOX);
    command.args(["sh", "-c", SCRIPT]).env_clear().current_dir("/");
    let kind = if console.starts_with("ttyS") { "vt100" } else { "linux" };
    for (name, value) in [
        ("TERM", kind),
        ("CONSOLE", console),
        ("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"),
        ("HOME", "/"),
        ("PS1", "\\h:\\w# "),
    ] {
        command.env(name, value);
    }
    command.stdin(end()?).stdout(end()?).stderr(end()?);
    sys::lead_before_exec(&mut command);
    let child = command.spawn().map_err(Error::Start)?;
    Ok(Pid::from_raw(child.id() as i32))
}

/// The terminal as a shell wants it: lines, echo, Ctrl-C.
fn terminal(console: &str, size: Option<(u16, u16)>) -> io::Result<fs::File> {
    let terminal = device(console)?;
    let mut settings = termios::tcgetattr(&terminal)?;
    settings.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE;
    settings.local_flags |= LocalFlags::ISIG | LocalFlags::IEXTEN;
    settings.input_flags |= InputFlags::ICRNL;
    settings.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
    settings.control_flags |= ControlFlags::CLOCAL | ControlFlags::CREAD;
    termios::tcsetattr(&terminal, SetArg::TCSANOW, &settings)?;
    if let (None, Some((columns, rows))) = (sys::terminal_size(terminal.as_fd()), size) {
        let _ = sys::set_window(terminal.as_fd(), (rows, columns)); // 80 by 24 is what programs take it for then
    }
    // From here on who reads waits.
    fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_RDWR))?;
    Ok(terminal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_shell_is_its_console_and_its_process() {
        let kept = |line| Open::parse(line).map(|shell| (shell.console, shell.pid.as_raw()));
        assert_eq!(kept("ttyS0 123"), Some(("ttyS0".into(), 123)));
        // A signal to these would go to everybody, or to ourselves.
        for line in ["ttyS0", "ttyS0 x", "ttyS0 -1", "ttyS0 0", "ttyS0 1", ""] {
            assert_eq!(kept(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_request_is_a_console_and_perhaps_its_size() {
        assert_eq!(parse("ttyS0 80 24\n"), Some(("ttyS0".into(), Wanted::Shell(Some((80, 24))))));
        assert_eq!(parse("tty1\n"), Some(("tty1".into(), Wanted::Shell(None))));
        assert_eq!(parse("ttyS0 80 x\n"), Some(("ttyS0".into(), Wanted::Shell(None))));
        assert_eq!(parse("tty1 end\n"), Some(("tty1".into(), Wanted::End)));
        assert_eq!(parse("\n"), None);
    }
}
