//! The agent's one clock: time since the kernel started, and waits that end early.
//!
//! Decides nothing; everything else takes time as an argument or asks here.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

/// Time since the kernel started (CLOCK_BOOTTIME): the same origin in the supervisor and in every worker.
pub(crate) fn now() -> Duration {
    // The clock exists in every kernel that can run this binary; zero keeps waits finite even if it did not.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// Waits until one of `fds` can be read or `until` has come. Returns which of them can be read.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], until: Duration) -> Vec<bool> {
    let mut set: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up: a wait of 0.4 ms must not become a busy loop of zero ones.
    let left = until.saturating_sub(now());
    let left_ms = left.as_millis().saturating_add(1).min(i32::MAX as u128) as i32;
    let timeout = if left.is_zero() {
        PollTimeout::ZERO
    } else {
        PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX)
    };
    match poll(&mut set, timeout) {
        // A terminal that hung up stays "readable" for ever: reading it says so, and its reader drops it.
        Ok(_) => set.iter().map(|fd| fd.any().unwrap_or(false)).collect(),
        Err(_) => vec![false; fds.len()],
    }
}

/// Waits for a time and for nothing else.
pub(crate) fn pause(length: Duration) {
    let until = now() + length;
    while now() < until {
        wait_readable(&[], until);
    }
}
