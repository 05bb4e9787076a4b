//! The rescue console: with `bt.debug=ttyS1` on the kernel's command line, process 1 takes a few commands from there.
//!
//! Decides nothing by itself; the supervisor carries commands out. Never opens without that word: who has the line has
//! the machine.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::sys::termios::{self, ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg};

use crate::report::Report;

pub(super) const HELP: &str = "commands: kill-worker, panic-worker, log, reboot, poweroff";
/// Bytes of a command line; what is longer is no command.
const MAX_LINE: usize = 64;
/// Lines of the kernel's log that are shown: two screens.
const LOG_LINES: usize = 50;
/// Bytes of one record of /dev/kmsg; the kernel's own limit is 8 KiB with all its fields.
const MAX_KMSG: usize = 8192;

pub(super) struct RescueConsole {
    terminal: std::fs::File,
    line: Vec<u8>,
    closed: bool,
}

impl RescueConsole {
    /// Opens the terminal `name`; a failure is said and is no reason to stop.
    pub(super) fn open(name: &str, report: &Report) -> Option<Self> {
        let flags = (nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK).bits();
        let path = format!("/dev/{name}");
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path).and_then(|terminal| {
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
                report.note("rescue", &format!("the rescue console listens on {path}"));
                Some(console)
            }
            Err(error) => {
                report.note("rescue", &format!("bt.debug={name}: cannot open {path}: {error}"));
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
    let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let mut lines = Vec::new();
    let Ok(mut kmsg) = OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg") else {
        return "/dev/kmsg cannot be read".into();
    };
    let mut record = vec![0; MAX_KMSG];
    loop {
        match kmsg.read(&mut record) {
            Ok(0) => break,
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default()).into_owned();
                let message =
                    text.split_once(';').map_or("", |(_, rest)| rest).lines().next().unwrap_or_default();
                lines.push(message.to_owned());
            }
            // EPIPE: the record was overwritten while we read; the next read goes on behind it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(_) => break,
        }
    }
    lines.split_off(lines.len().saturating_sub(LOG_LINES)).join("\n")
}
