//! How much of a link's bytes may be out of the upload scheduler's hands: little on a slow link, so that one piece is
//! served at a time, and enough on a fast one. Decides by what the link has lately sent.

use super::limits::{LINK_QUEUE_MAX, LINK_QUEUE_MIN, LINK_QUEUE_TIME, LINK_RATE_WINDOW};
use boottorrent_swarm::Time;

#[derive(Debug)]
pub(crate) struct Pace {
    since: Time,
    bytes: u64,
    queue: u32,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { since: Time(0), bytes: 0, queue: LINK_QUEUE_MIN }
    }

    /// Bytes that may wait on our side of the socket, and again as many unsent on the kernel's.
    pub(crate) fn queue(&self) -> u32 {
        self.queue
    }

    /// The socket has taken bytes; whether the queue's length has changed.
    pub(crate) fn sent(&mut self, now: Time, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        let window = now.since(self.since);
        if window < LINK_RATE_WINDOW {
            return false;
        }
        let share = u128::from(self.bytes) * LINK_QUEUE_TIME.as_micros() / window.as_micros();
        (self.since, self.bytes) = (now, 0);
        // In powers of two, so that a steady link costs no system calls.
        let wanted = u32::try_from(share).unwrap_or(u32::MAX).clamp(LINK_QUEUE_MIN, LINK_QUEUE_MAX);
        let queue = wanted.next_power_of_two().min(LINK_QUEUE_MAX);
        std::mem::replace(&mut self.queue, queue) != queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_follows_the_rate_of_the_link() {
        let mut pace = Pace::new();
        let mut at = Time(0);
        let mut run = |bytes: usize| {
            at = at + LINK_RATE_WINDOW;
            pace.sent(at, bytes);
            pace.queue()
        };
        let (slow, fast) = (12_500, 1_250_000);
        assert_eq!(run(slow), LINK_QUEUE_MIN);
        assert_eq!(run(fast), LINK_QUEUE_MAX);
        assert_eq!(run(slow), LINK_QUEUE_MIN);
    }

    #[test]
    fn a_steady_link_changes_nothing() {
        let mut pace = Pace::new();
        assert!(!pace.sent(Time(0) + LINK_RATE_WINDOW, 12_500));
        assert!(!pace.sent(Time(0) + 2 * LINK_RATE_WINDOW, 13_000));
    }
}
