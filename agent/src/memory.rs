//! The memory bill: what this image takes on this node, added up and shown before a byte is downloaded.
//!
//! Decides whether the node is large enough, and what a program may take. Never guesses: what Linux does with an image is
//! counted copy by copy.

use std::fmt;
use std::fs;
use std::path::Path;

use boottorrent_swarm::catalog::{Image, Method};

use crate::image::Plan;
use crate::mounts;

const MIB: u64 = 1 << 20;
/// For the agent (24 MiB at most), its sockets' buffers and the kernel's own needs meanwhile.
const HEADROOM: u64 = 64 * MIB;
/// kexec_file_load reads the files into a buffer and copies that to the place that survives: two more copies beside
/// ours until it returns.
const KEXEC_COPIES: u64 = 2;
/// Of what a program may take, the part that it needs for itself when it is a machine for a guest: its code and that of
/// the guest as it translates it, page tables, disk buffers.
const OWN_SHARE: u64 = 8;

/// What the node has, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bill {
    /// Kernel, initrd, wrapped files and overlay, as they lie in memory.
    image: u64,
    /// Of that, what a worker before us has put there already.
    stored: u64,
    /// What the next kernel or the program needs besides the image (from the catalog).
    next: u64,
    method: Method,
    memory: Memory,
}

#[derive(Debug)]
pub(crate) enum Error {
    Unknown,
    TooSmall { bill: Bill, needed: u64 },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "/proc/meminfo does not say how much memory there is"),
            Self::TooSmall { bill, needed } => write!(
                f,
                "this node is too small: it has {} MiB of memory and needs {} MiB ({bill})",
                mib(bill.memory.total),
                mib(*needed)
            ),
        }
    }
}

impl std::error::Error for Error {}

impl Memory {
    pub(crate) fn read() -> Result<Self, Error> {
        Self::parse(&fs::read_to_string("/proc/meminfo").unwrap_or_default()).ok_or(Error::Unknown)
    }

    fn parse(meminfo: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':')
                .trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()?
                .checked_mul(1024)
        };
        Some(Self { total: field("MemTotal")?, available: field("MemAvailable")? })
    }
}

impl Memory {
    /// As it will be once `bytes` more are free.
    pub(crate) fn with_freed(self, bytes: u64) -> Self {
        Self { available: self.available.saturating_add(bytes).min(self.total), ..self }
    }

    /// Bytes that a program may take in all once its image is here.
    pub(crate) fn room(self) -> u64 {
        self.available.saturating_sub(HEADROOM)
    }

    /// MiB of that for a guest of the program.
    pub(crate) fn guest_mib(self) -> u64 {
        (self.room() - self.room() / OWN_SHARE) / MIB
    }
}

impl Bill {
    /// What this image takes here and now.
    pub(crate) fn of(image: &Image, plan: &Plan) -> Result<Self, Error> {
        let root = Path::new(mounts::IMAGE);
        let memory = Memory::read()?.with_freed(plan.displaced(root, image));
        Ok(Self::new(plan.bytes(), plan.stored(root, image), image.memory, memory).of_method(image.method))
    }

    pub(crate) fn new(image: u64, stored: u64, next: u64, memory: Memory) -> Self {
        Self { image, stored: stored.min(image), next, method: Method::Kexec, memory }
    }

    /// The same for an image of this method.
    pub(crate) fn of_method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// Free memory that the boot takes from here on.
    fn now(&self) -> u64 {
        let hand_over = match self.method {
            Method::Kexec => self.image.saturating_mul(KEXEC_COPIES),
            Method::Run => self.next,
        };
        (self.image - self.stored).saturating_add(hand_over).saturating_add(HEADROOM)
    }

    /// Memory that a node must have in all.
    pub(crate) fn needed(&self) -> u64 {
        let in_use = self.memory.total.saturating_sub(self.memory.available);
        // Linux refuses (EINVAL) segments that add up to more than half of the memory.
        let half_rule = self.image.saturating_mul(2);
        let next = self.image.saturating_add(self.next);
        let now = in_use.saturating_add(self.now());
        match self.method {
            Method::Kexec => now.max(half_rule).max(next),
            // This kernel goes on: what is in use stays, and there is one copy of the image.
            Method::Run => now,
        }
    }

    /// The bill, if the node can pay it.
    pub(crate) fn check(self) -> Result<Self, Error> {
        let needed = self.needed();
        if needed <= self.memory.total { Ok(self) } else { Err(Error::TooSmall { bill: self, needed }) }
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method == Method::Run {
            return write!(
                f,
                "image {} + program {} + headroom {} = {} MiB of {} free now",
                mib(self.image - self.stored),
                mib(self.next),
                mib(HEADROOM),
                mib(self.now()),
                mib(self.memory.available)
            );
        }
        write!(
            f,
            "image {} + copies for kexec {} + headroom {} = {} MiB of {} free now; the next kernel {} MiB of {}",
            mib(self.image - self.stored),
            mib(self.image.saturating_mul(KEXEC_COPIES)),
            mib(HEADROOM),
            mib(self.now()),
            mib(self.memory.available),
            mib(self.image.saturating_add(self.next)),
            mib(self.memory.total)
        )
    }
}

/// The most memory that this process ever had, in KiB; the image is not part of it, since nobody maps it.
pub(crate) fn own_peak_kib() -> u64 {
    peak(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn peak(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn memory(total: u64, available: u64) -> Memory {
        Memory { total: total * MIB, available: available * MIB }
    }

    #[test]
    fn reads_the_kernels_words() {
        let text = "MemTotal:        2014268 kB\nMemFree:  1 kB\nMemAvailable:    1835008 kB\n";
        let memory = Memory::parse(text).unwrap();
        assert_eq!((memory.total, memory.available), (2_014_268 * 1024, 1792 * MIB));
        assert_eq!(Memory::parse("MemTotal: x kB\n"), None);
    }

    #[test]
    fn reads_its_own_peak() {
        assert_eq!(peak("Name:\tinit\nVmHWM:\t    5124 kB\nVmRSS:\t 1 kB\n"), 5124);
        assert!(own_peak_kib() > 0);
    }

    #[test]
    fn three_copies_and_headroom_must_be_free() {
        // 900 in use, 3 * 200 + 64 to come.
        let bill = |available| Bill::new(200 * MIB, 0, 0, memory(2000, available)).check();
        assert!(bill(664).is_ok());
        let error = bill(663).unwrap_err().to_string();
        assert!(error.contains("has 2000 MiB of memory and needs 2001 MiB"), "{error}");
    }

    #[test]
    fn a_program_is_paid_for_beside_one_copy_of_its_image() {
        // 900 in use, 200 + 300 + 64 to come.
        let bill = |available| {
            Bill::new(200 * MIB, 0, 300 * MIB, memory(2000, available)).of_method(Method::Run).check()
        };
        let text = bill(564).unwrap().to_string();
        assert_eq!(text, "image 200 + program 300 + headroom 64 = 564 MiB of 564 free now");
        let error = bill(563).unwrap_err().to_string();
        assert!(error.contains("has 2000 MiB of memory and needs 2001 MiB"), "{error}");
        let stored = Bill::new(200 * MIB, 200 * MIB, 300 * MIB, memory(2000, 364));
        assert!(stored.of_method(Method::Run).check().is_ok(), "what is here is not paid twice");
    }

    #[test]
    fn a_guest_gets_what_is_left_less_what_its_machine_needs() {
        assert_eq!((memory(2000, 864).room(), memory(2000, 864).guest_mib()), (800 * MIB, 700));
        assert_eq!((memory(2000, 10).room(), memory(2000, 10).guest_mib()), (0, 0));
    }

    #[test]
    fn what_is_stored_already_is_not_paid_twice() {
        assert!(Bill::new(200 * MIB, 200 * MIB, 0, memory(2000, 464)).check().is_ok());
        assert!(Bill::new(200 * MIB, 0, 0, memory(2000, 464)).check().is_err());
    }

    #[test]
    fn an_image_that_goes_makes_room_for_the_next() {
        let bill = |memory| Bill::new(200 * MIB, 0, 0, memory).check();
        assert!(bill(memory(2000, 464)).is_err());
        assert!(bill(memory(2000, 464).with_freed(200 * MIB)).is_ok());
        assert_eq!(memory(10, 5).with_freed(u64::MAX).available, 10 * MIB);
    }

    #[test]
    fn the_next_kernel_and_the_half_rule_count() {
        assert!(Bill::new(100 * MIB, 0, 900 * MIB, memory(1000, 1000)).check().is_ok());
        assert!(Bill::new(100 * MIB, 0, 901 * MIB, memory(1000, 1000)).check().is_err());
        assert_eq!(Bill::new(400 * MIB, 400 * MIB, 0, memory(9000, 9000)).needed(), 864 * MIB);
        assert!(
            Bill::new(u64::MAX, 0, u64::MAX, memory(9000, 9000)).check().is_err(),
            "nothing wraps around"
        );
    }
}
