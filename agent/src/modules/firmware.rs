//! Firmware files that a driver asked for and the image lacks, read from the kernel's own log.
//!
//! Decides what is such a line; never supplies firmware and never blocks.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::kmsg::{Reader, Record};

/// The kernel's log, read from its beginning.
pub(crate) struct Kmsg {
    log: Reader,
    told: HashSet<String>,
}

impl Kmsg {
    pub(crate) fn open() -> io::Result<Kmsg> {
        Ok(Kmsg { log: Reader::open()?, told: HashSet::new() })
    }

    /// Reads what is new and reports each missing file once.
    pub(crate) fn read(&mut self, report: &mut dyn FnMut(&str)) {
        while let Some(record) = self.log.next() {
            if let Some(sentence) = sentence(&record).filter(|s| self.told.insert(s.clone())) {
                report(&sentence);
            }
        }
    }
}

impl AsFd for Kmsg {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }
}

/// `r8169 0000:02:00.0: Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2`, and as
/// Debian's kernel has it: `r8169 0000:02:00.0: firmware: failed to load rtl_nic/rtl8168g-2.fw (-2)`.
fn sentence(record: &Record) -> Option<String> {
    const WORDS: [(&str, &str); 2] =
        [(": Direct firmware load for ", " failed with error"), (": firmware: failed to load ", " (")];
    // Anybody on the node can write records, and a program's words are among ours.
    let message = Some(&record.text).filter(|_| record.is_kernels())?;
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
    use crate::kmsg::Record;

    fn sentence(record: &str) -> Option<String> {
        super::sentence(&Record::parse(record)?)
    }

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
