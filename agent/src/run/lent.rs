//! The consoles while a program has them: what it prints goes to each, and what is typed on any goes to it.
//!
//! Decides what a person types to get them back. Never waits long for a console that nobody reads.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, Termios};

use crate::report::Report;
use crate::sys;

/// How long the program's output waits for room on a console: a serial line then gets less, and the program goes on.
const STALL_MS: u16 = 250;
/// Bytes taken from a console at a time: a person types one, a paste is longer.
const TYPED: usize = 256;
/// `^]`, as telnet's: no program that runs on a terminal is left by it.
const ESCAPE: u8 = 0x1d;
/// So many of them within so long a time end the program.
const ESCAPES: usize = 3;
const ESCAPE_WITHIN: Duration = Duration::from_secs(1);
/// Colours off, the cursor shown, a new line: whatever the program left behind.
const RESET: &[u8] = b"\x1b[0m\x1b[?25h\r\n";

pub(super) struct Lent {
    lines: Vec<Line>,
    report: Report,
    escapes: Escapes,
}

struct Line {
    name: String,
    terminal: File,
    /// How it was set for the menu.
    before: Termios,
    stalled: bool,
    gone: bool,
}

impl Lent {
    /// Takes those of the consoles that there are; a program without any runs as well.
    pub(super) fn take(names: &[String], report: &Report) -> Self {
        let lines = names.iter().filter_map(|name| {
            let line = Line::open(name).ok()?;
            report.give_up_console(name);
            Some(line)
        });
        Self { lines: lines.collect(), report: report.clone(), escapes: Escapes::default() }
    }

    /// Rows and columns of the largest screen among them; serial lines know neither.
    pub(super) fn window(&self) -> Option<(u16, u16)> {
        let windows = self.lines.iter().filter_map(|line| sys::window(line.terminal.as_fd()));
        windows.filter(|(rows, columns)| *rows > 0 && *columns > 0).max()
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.lines.iter().filter(|line| !line.gone).map(|line| line.terminal.as_fd()).collect()
    }

    pub(super) fn show(&mut self, bytes: &[u8]) {
        self.lines.iter_mut().for_each(|line| line.show(bytes));
    }

    /// What was typed since the last call.
    pub(super) fn typed(&mut self) -> Vec<u8> {
        self.lines.iter_mut().filter(|line| !line.gone).flat_map(Line::typed).collect()
    }

    /// Whether a person wants the program to end.
    pub(super) fn escaped(&mut self, typed: &[u8], now: Duration) -> bool {
        self.escapes.take(typed, now)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        for line in &mut self.lines {
            line.show(RESET);
            let _ = termios::tcsetattr(&line.terminal, SetArg::TCSANOW, &line.before); // one that is gone needs none
            self.report.take_back_console(&line.name);
        }
    }
}

impl Line {
    fn open(name: &str) -> io::Result<Self> {
        let flags = (nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK).bits();
        let terminal =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(format!("/dev/{name}"))?;
        let before = termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        // Everything is the program's own terminal's to make something of: echo, ^C, ends of lines.
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(&terminal, SetArg::TCSANOW, &raw)?;
        Ok(Self { name: name.to_owned(), terminal, before, stalled: false, gone: false })
    }

    fn show(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.gone {
            match self.terminal.write(bytes) {
                Ok(0) => return,
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.stalled = false;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fd = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLOUT)];
                    let room =
                        !self.stalled && poll(&mut fd, PollTimeout::from(STALL_MS)).is_ok_and(|n| n > 0);
                    if !room {
                        self.stalled = true;
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }

    fn typed(&mut self) -> Vec<u8> {
        let mut bytes = [0; TYPED];
        match self.terminal.read(&mut bytes) {
            // A terminal that hung up would be readable for ever.
            Ok(0) => self.gone = true,
            Ok(length) => return bytes.get(..length).unwrap_or_default().to_vec(),
            Err(error) => self.gone = error.kind() != io::ErrorKind::WouldBlock,
        }
        Vec::new()
    }
}

#[derive(Default)]
struct Escapes {
    typed: usize,
    since: Duration,
}

impl Escapes {
    fn take(&mut self, typed: &[u8], now: Duration) -> bool {
        for byte in typed {
            let late = now.saturating_sub(self.since) > ESCAPE_WITHIN;
            self.typed = match *byte {
                ESCAPE if self.typed > 0 && !late => self.typed + 1,
                ESCAPE => {
                    self.since = now;
                    1
                }
                _ => 0,
            };
            if self.typed >= ESCAPES {
                self.typed = 0;
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_them_within_a_second_and_nothing_else() {
        let at = |ms| Duration::from_millis(ms);
        let mut escapes = Escapes::default();
        assert!(!escapes.take(b"\x1d\x1d", at(0)));
        assert!(escapes.take(b"\x1d", at(900)));
        assert!(!escapes.take(b"\x1d\x1dx\x1d", at(1000)), "something between");
        assert!(!escapes.take(b"\x1d", at(2500)), "too slow");
        assert!(!escapes.take(b"\x1d", at(2600)));
        assert!(escapes.take(b"ls\r\x1d\x1d\x1d", at(9000)));
    }
}
