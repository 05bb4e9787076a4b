//! The consoles while a program has them: what it prints goes to each, and what is typed on any goes to it.
//!
//! Decides what a person types to get them back. Never waits long for a console that nobody reads.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, Termios};

use crate::report::Report;
use crate::{clock, sys};

/// What a slow console may be behind: five seconds of a serial line at 115200 baud. Beyond that its oldest lines go, and
/// the program goes on.
const MAX_BACKLOG: usize = 64 << 10;
/// At the end the last of it is waited for, a screenful, but for nobody who takes nothing for STALL_MS.
const LAST_WORDS: usize = 4 << 10;
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
const STALL_MS: u16 = 250;
/// Bytes taken from a console at a time: a person types one, a paste is longer.
const TYPED: usize = 256;
/// `^]`, as telnet's: no program that runs on a terminal is left by it.
pub(super) const ESCAPE: u8 = 0x1d;
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
    /// Printed, and not taken by the console yet.
    backlog: VecDeque<u8>,
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

    /// Gives slow consoles what they have room for by now: to be called at least ten times a second, or a serial line's
    /// own 4 KiB run empty.
    pub(super) fn flush(&mut self) {
        self.lines.iter_mut().for_each(Line::flush);
    }

    /// Whether the keys of screens are to come here: a program that reads the keyboard by itself would have each twice.
    pub(super) fn listen(&self, listening: bool) {
        for line in &self.lines {
            if listening {
                sys::text_mode(line.terminal.as_fd())
            } else {
                sys::mute_keyboard(line.terminal.as_fd())
            }
        }
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
            line.finish();
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
        Ok(Self { name: name.to_owned(), terminal, before, backlog: VecDeque::new(), gone: false })
    }

    fn show(&mut self, bytes: &[u8]) {
        self.backlog.extend(bytes);
        self.flush();
        forget_oldest(&mut self.backlog, MAX_BACKLOG);
    }

    fn flush(&mut self) {
        while !self.gone && !self.backlog.is_empty() {
            let (bytes, _) = self.backlog.as_slices();
            match self.terminal.write(bytes) {
                Ok(0) => return,
                Ok(written) => drop(self.backlog.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
    }

    /// Waits for the last of it.
    fn finish(&mut self) {
        forget_oldest(&mut self.backlog, LAST_WORDS);
        let until = clock::now() + LAST_WORDS_WITHIN;
        self.flush();
        while !self.gone && !self.backlog.is_empty() && clock::now() < until {
            let mut fd = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLOUT)];
            if !poll(&mut fd, PollTimeout::from(STALL_MS)).is_ok_and(|ready| ready > 0) {
                return;
            }
            self.flush();
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

/// Takes away what is too much from the front, up to the end of a line: half a sequence would garble what follows.
fn forget_oldest(backlog: &mut VecDeque<u8>, most: usize) {
    let Some(excess) = backlog.len().checked_sub(most).filter(|excess| *excess > 0) else { return };
    let end = backlog.iter().skip(excess - 1).position(|byte| *byte == b'\n');
    backlog.drain(..end.map_or(excess, |end| excess + end));
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
    fn a_slow_console_keeps_the_newest_lines_and_holds_nobody_up() {
        // A pipe holds less than this and nobody empties it.
        let (reader, writer) = io::pipe().unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
        let terminal = File::from(std::os::fd::OwnedFd::from(writer));
        let any = OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
        let before = termios::tcgetattr(any).unwrap();
        let mut line = Line { name: String::new(), terminal, before, backlog: VecDeque::new(), gone: false };
        let begun = clock::now();
        for number in 0..40_000 {
            line.show(format!("line {number}\r\n").as_bytes());
        }
        assert!(clock::now() - begun < Duration::from_secs(5), "nobody was waited for");
        assert!(line.backlog.len() <= MAX_BACKLOG);
        let kept = String::from_utf8(line.backlog.iter().copied().collect()).unwrap();
        assert!(kept.starts_with("line ") && kept.ends_with("line 39999\r\n"), "whole lines, the newest");
        line.finish();
        assert!(line.backlog.len() <= LAST_WORDS && !line.gone);
        drop(reader);
        line.show(b"x");
        assert!(line.gone, "a console that went away is no longer written to");
    }

    #[test]
    fn what_has_no_lines_is_cut_where_it_must_be() {
        let cut = |text: &[u8], most| {
            let mut backlog: VecDeque<u8> = text.iter().copied().collect();
            forget_oldest(&mut backlog, most);
            String::from_utf8(backlog.into()).unwrap()
        };
        assert_eq!(cut(b"one\ntwo\nthree", 9), "two\nthree");
        assert_eq!(cut(b"one\ntwo\nthree", 8), "three", "no half of a line");
        assert_eq!(cut(b"one\ntwo\n", 4), "two\n");
        assert_eq!(cut(b"abcdef", 4), "cdef");
        assert_eq!(cut(b"abc", 4), "abc");
    }

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
