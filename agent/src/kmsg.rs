//! The kernel's log as the node's: whatever is said goes there too, among the kernel's own messages and behind what they
//! tell, and stays when a worker dies.
//!
//! Decides which records are ours. Never waits: the kernel drops the oldest when there is no room.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

const PATH: &str = "/dev/kmsg";
/// Bytes of one record as it is read; the kernel's own limit (CONSOLE_EXT_LOG_MAX, printk.c).
const MAX_RECORD: usize = 8192;
/// Bytes of one line as it is written: LOG_LINE_MAX is 1024 with the prefix, and more is EINVAL.
const MAX_LINE: usize = 960;
/// Facility "daemon" and the lowest level (RFC 5424): the consoles have had it, and the kernel prints it on none.
const PRIORITY: u16 = FACILITY << 3 | 7;
const FACILITY: u16 = 3;
/// The kernel's own.
const KERNEL: u16 = 0;

/// The log, to be written to.
pub(crate) struct Log(Option<File>);

impl Log {
    /// One that cannot be opened is done without.
    pub(crate) fn open() -> Self {
        Self(OpenOptions::new().write(true).open(PATH).ok())
    }

    pub(crate) fn write(&mut self, text: &str) {
        let Some(file) = &mut self.0 else { return };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let end = line.floor_char_boundary(MAX_LINE);
            let line = line.get(..end).unwrap_or_default();
            let _ = file.write_all(format!("<{PRIORITY}>{line}\n").as_bytes()); // said on the consoles all the same
        }
    }
}

/// Lets everything be logged: the kernel takes ten lines in five seconds from a process otherwise.
pub(crate) fn unbound() {
    let _ = std::fs::write("/proc/sys/kernel/printk_devkmsg", "on\n"); // then a flood loses lines, and says so
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Of the kernel's eight, 0 the most urgent.
    pub(crate) level: u16,
    /// RFC 5424's: who speaks.
    pub(crate) facility: u16,
    pub(crate) at: Duration,
    pub(crate) text: String,
}

/// The log, read from its oldest record on.
pub(crate) struct Reader(File);

impl Reader {
    pub(crate) fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(PATH).map(Self)
    }

    /// None: no more for now.
    pub(crate) fn next(&mut self) -> Option<Record> {
        let mut buffer = [0; MAX_RECORD];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => return None,
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    if let Some(record) = Record::parse(&String::from_utf8_lossy(bytes)) {
                        return Some(record);
                    }
                }
                // Records were overwritten before they were read; the next read goes on behind the gap.
                Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Record {
    /// `30,339,5140900,-;text`, then lines that begin with a space and tell of the device.
    pub(crate) fn parse(record: &str) -> Option<Self> {
        let (head, text) = record.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u16 = fields.next()?.parse().ok()?;
        let at_us = fields.nth(1)?.parse().ok()?;
        Some(Self {
            level: priority & 7,
            facility: priority >> 3,
            at: Duration::from_micros(at_us),
            text: unescaped(text.lines().next()?),
        })
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.facility == FACILITY
    }

    /// Nobody else can write such a one: what comes from a program has another facility (syslog(2)).
    pub(crate) fn is_kernels(&self) -> bool {
        self.facility == KERNEL
    }
}

/// The kernel writes a byte beyond ASCII, and a backslash, as `\xhh`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split("\\x");
    bytes.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                bytes.extend(part.bytes().skip(2));
            }
            None => {
                bytes.extend(b"\\x");
                bytes.extend(part.bytes());
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_kernel_and_ours() {
        let kernel =
            Record::parse("4,339,5140900,-;r8169 0000:02:00.0: link down\n SUBSYSTEM=pci\n").unwrap();
        let expected = Record {
            level: 4,
            facility: KERNEL,
            at: Duration::from_micros(5_140_900),
            text: "r8169 0000:02:00.0: link down".into(),
        };
        assert_eq!(kernel, expected);
        let ours =
            Record::parse("31,340,5140999,-;[    5.140] link: Gr\\xc3\\xb6\\xc3\\x9fe \\x5cn\n").unwrap();
        assert!(ours.is_ours() && !ours.is_kernels() && ours.level == 7, "{ours:?}");
        assert_eq!(ours.text, "[    5.140] link: Größe \\n");
        for record in ["", "no header", "x,1,2,-;text", "6,1", "6,1,2,-;"] {
            assert_eq!(Record::parse(record), None, "{record:?}");
        }
    }

    #[test]
    fn what_is_no_escape_stays() {
        assert_eq!(unescaped("a \\xzz b \\x4"), "a \\xzz b \\x4");
        assert_eq!(unescaped("\\x1b[2J"), "\u{1b}[2J", "whoever shows it makes it harmless");
    }
}
