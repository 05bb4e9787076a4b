//! Firmware files that a driver asked for and the image lacks, read from the kernel's own log.
//!
//! Decides what is such a line; never supplies firmware and never blocks.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// One record of /dev/kmsg: a smaller buffer is refused with EINVAL, and the kernel never writes a longer one
/// (CONSOLE_EXT_LOG_MAX, printk.c).
const MAX_RECORD: usize = 8192;

/// Above it are the facilities of others (syslog(2)): what is written to /dev/kmsg has `user` at least.
const LOWEST_OF_KERNEL: u32 = 7;

/// The kernel's log, read from its beginning.
pub(crate) struct Kmsg {
    file: File,
    told: HashSet<String>,
}

impl Kmsg {
    pub(crate) fn open() -> io::Result<Kmsg> {
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/dev/kmsg")?;
        Ok(Kmsg { file, told: HashSet::new() })
    }

    /// Reads what is new and reports each missing file once.
    pub(crate) fn read(&mut self, report: &mut dyn FnMut(&str)) {
        let mut buffer = [0; MAX_RECORD];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return,
                Ok(length) => {
                    let record = String::from_utf8_lossy(&buffer[..length]);
                    if let Some(sentence) = sentence(&record).filter(|s| self.told.insert(s.clone())) {
                        report(&sentence);
                    }
                }
                // Records were overwritten before they were read; the next read goes on behind the gap.
                Err(e) if e.raw_os_error() == Some(Errno::EPIPE as i32) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for Kmsg {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `6,339,5140900,-;r8169 0000:02:00.0: Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2`, and as
/// Debian's kernel has it: `r8169 0000:02:00.0: firmware: failed to load rtl_nic/rtl8168g-2.fw (-2)`.
fn sentence(record: &str) -> Option<String> {
    const WORDS: [(&str, &str); 2] =
        [(": Direct firmware load for ", " failed with error"), (": firmware: failed to load ", " (")];
    let (head, message) = record.split_once(';')?;
    let message = message.lines().next()?;
    // Anybody on the node can write records, and a program's words are among ours.
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    if priority > LOWEST_OF_KERNEL {
        return None;
    }
    let (device, file) = WORDS.iter().find_map(|(before, behind)| {
        let (device, rest) = message.split_once(before)?;
        Some((device, rest.split_once(behind)?.0))
    })?;
    Some(format!(
        "{device} asks for the firmware {file}, which the bootstrap image does not have; it may work without"
    ))
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn names_device_and_file() {
        for told in [
            "Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2",
            "firmware: failed to load rtl_nic/rtl8168g-2.fw (-2)",
        ] {
            let record = format!(
                "4,339,5140900,-;r8169 0000:02:00.0: {told}\n SUBSYSTEM=pci\n DEVICE=+pci:0000:02:00.0\n"
            );
            assert_eq!(
                sentence(&record).unwrap(),
                "r8169 0000:02:00.0 asks for the firmware rtl_nic/rtl8168g-2.fw, which the bootstrap image does not \
                 have; it may work without"
            );
        }
    }

    #[test]
    fn other_lines_are_none() {
        for record in [
            "",
            "6,1,2,-;Linux version 6.1.0",
            "no header",
            "6,1,2,-;x: Direct firmware load for y",
            "6,1,2,-;x: firmware: y",
            "12,1,2,-;run: x: firmware: failed to load y (-2)",
        ] {
            assert_eq!(sentence(record), None);
        }
    }
}
