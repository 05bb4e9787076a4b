//! One transfer: which blocks to send, when to send them again, when it is over (RFC 1350, RFC 7440).
//! Never touches the file or a socket; blocks are counted in 64 bits here and roll over only on the wire.

use std::time::Duration;

use boottorrent_swarm::Time;

use super::limits::{FIRST_WAIT, LONGEST_WAIT, PATIENCE, REPEATS};
use super::options::Granted;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the options again or for the first time.
    Options,
    /// Send these blocks, in order; fewer, if the file ends before.
    Window {
        first: u64,
        count: u16,
    },
    /// The last block is acknowledged.
    Done,
    /// The client has not been heard for too long.
    GivenUp,
    Nothing,
}

#[derive(Debug)]
pub(super) struct Transfer {
    window: u16,
    fixed_wait: Option<Duration>,
    /// The OACK has been answered, or none was needed.
    opened: bool,
    /// Every block up to this one is acknowledged; the first block is 1.
    acked: u64,
    /// The highest block that was sent.
    sent: u64,
    /// The file's last block, once it is known.
    last: Option<u64>,
    wait: Duration,
    due: Time,
    progress_at: Time,
    repeats: u32,
    repeats_total: u64,
    /// This window has been repeated for a duplicate acknowledgement already.
    answered_duplicate: bool,
}

impl Transfer {
    pub(super) fn new(now: Time, granted: &Granted, last: Option<u64>) -> Self {
        let wait = granted.wait.unwrap_or(FIRST_WAIT);
        Self {
            window: granted.window,
            fixed_wait: granted.wait,
            opened: granted.acknowledged.is_empty(),
            acked: 0,
            sent: 0,
            last,
            wait,
            due: now + wait,
            progress_at: now,
            repeats: 0,
            repeats_total: 0,
            answered_duplicate: false,
        }
    }

    /// The first packet.
    pub(super) fn start(&mut self, now: Time) -> Step {
        if self.opened { self.next_window(now) } else { Step::Options }
    }

    /// The file has turned out to end with this block.
    pub(super) fn ends_with(&mut self, block: u64) {
        self.last = Some(block);
        self.sent = self.sent.min(block);
    }

    pub(super) fn acknowledged(&mut self, now: Time, block: u16) -> Step {
        if !self.opened {
            if block != 0 {
                return Step::Nothing;
            }
            self.opened = true;
            return self.progress(now);
        }
        let in_flight = self.sent - self.acked;
        // The number on the wire, modulo 65536, is of a block in flight or of none: windows are far smaller.
        let ahead = u64::from(block.wrapping_sub(self.acked as u16));
        if ahead == 0 {
            return self.duplicate(now);
        }
        if ahead > in_flight {
            return Step::Nothing;
        }
        self.acked += ahead;
        // Acknowledged in mid-window: the next block was lost (RFC 7440 section 4), and each block behind it may
        // bring one more acknowledgement of the same number.
        self.answered_duplicate = ahead < in_flight;
        if ahead < in_flight {
            self.repeats_total += 1;
        }
        if self.last == Some(self.acked) { Step::Done } else { self.progress(now) }
    }

    /// In lockstep a duplicate acknowledgement is never answered: doing so doubles every later packet, the
    /// Sorcerer's Apprentice. In a window it says that the first block was lost, which is answered once.
    fn duplicate(&mut self, now: Time) -> Step {
        if self.window == 1 || self.answered_duplicate || self.sent == self.acked {
            return Step::Nothing;
        }
        self.answered_duplicate = true;
        self.repeats_total += 1;
        self.next_window(now)
    }

    /// The time of `due` has come.
    pub(super) fn expired(&mut self, now: Time) -> Step {
        if self.repeats >= REPEATS && now >= self.progress_at + PATIENCE {
            return Step::GivenUp;
        }
        self.repeats += 1;
        self.repeats_total += 1;
        self.wait = self.fixed_wait.unwrap_or_else(|| (self.wait * 2).min(LONGEST_WAIT));
        self.answered_duplicate = false;
        if self.opened {
            self.next_window(now)
        } else {
            self.due = now + self.wait;
            Step::Options
        }
    }

    pub(super) fn due(&self) -> Time {
        self.due
    }

    /// Blocks that need not be kept any more.
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    /// How many packets or windows were sent more than once.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats_total
    }

    fn progress(&mut self, now: Time) -> Step {
        self.repeats = 0;
        self.progress_at = now;
        self.wait = self.fixed_wait.unwrap_or(FIRST_WAIT);
        self.next_window(now)
    }

    fn next_window(&mut self, now: Time) -> Step {
        self.due = now + self.wait;
        let first = self.acked + 1;
        let end = (self.acked + u64::from(self.window)).min(self.last.unwrap_or(u64::MAX));
        self.sent = end;
        // No more than the window, which has 16 bits.
        Step::Window { first, count: (end - self.acked) as u16 }
    }
}

#[cfg(test)]
mod tests;
