//! The rescue console: with `bt.debug=ttyS1` on the kernel's command line, process 1 takes a few commands from there.
//!
//! Decides nothing by itself; the supervisor carries commands out. Never opens without that word: who has the line has
//! the machine.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use nix::sys::termios::{self, ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg};

use crate::console::device;
use crate::kmsg;
use crate::report::Report;
use crate::screen::harmless;

pub(super) const HELP: &str = "commands: kill-worker, panic-worker, panic-init, log, reboot, poweroff";
/// Bytes of a command line; what is longer is no command.
const MAX_LINE: usize = 64;
/// Lines of the kernel's log that are shown: two screens.
const LOG_LINES: usize = 50;

pub(super) struct RescueConsole {
    terminal: std::fs::File,
    line: Vec<u8>,
    closed: bool,
}

impl RescueConsole {
    /// Opens the terminal `name`; a failure is said and is no reason to stop.
    pub(super) fn open(name: &str, report: &Report) -> Option<Self> {
        let opened = device(name).and_then(|terminal| {
            let mut settings = termios::tcgetattr(&terminal)?;
            settings.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO;
            settings.local_flags &= !LocalFlags::ISIG;
            settings.input_flags |= InputFlags::ICRNL;
            settings.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
            settings.control_flags |= ControlFlags::CLOCAL | ControlFlags::CREAD;
            termios::tcsetattr(&terminal, SetArg::TCSANOW, &settings)?;
            Ok(terminal)
        });
        match opened {
            Ok(terminal) => {
                let mut console = Self { terminal, line: Vec::new(), closed: false };
                console.answer(HELP);
                report.note("rescue", &format!("the rescue console listens on /dev/{name}"));
                Some(console)
            }
            Err(error) => {
                report.note("rescue", &format!("bt.debug={name}: cannot open /dev/{name}: {error}"));
                None
            }
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    /// A whole line, if one has been typed.
    pub(super) fn read(&mut self) -> Option<String> {
        let mut byte = [0];
        loop {
            match self.terminal.read(&mut byte) {
                Ok(1) => match byte {
                    [b'\n' | b'\r'] => {
                        let line = std::mem::take(&mut self.line);
                        return Some(String::from_utf8_lossy(&line).trim().to_owned());
                    }
                    [byte] if self.line.len() < MAX_LINE => self.line.push(byte),
                    _ => {}
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                _ => {
                    self.closed = true;
                    return None;
                }
            }
        }
    }

    /// A terminal that hung up would be "readable" for ever.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn answer(&mut self, text: &str) {
        // A person who does not read gets less text: process 1 does not wait for terminals.
        let _ = self.terminal.write_all(format!("{text}\n# ").as_bytes());
    }
}

/// The last lines of the kernel's log.
pub(super) fn kernel_log() -> String {
    let Ok(mut log) = kmsg::Reader::open() else { return "/dev/kmsg cannot be read".into() };
    let mut lines: Vec<String> =
        std::iter::from_fn(|| log.next()).map(|record| harmless(&record.text).into_owned()).collect();
    lines.split_off(lines.len().saturating_sub(LOG_LINES)).join("\n")
}
