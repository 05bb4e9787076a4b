//! How much may be said: a bucket of messages that fills again with time, one a sender and one for all strangers.
//! Decides by address only; a node that floods silences nobody else.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::Time;

use super::limits::{BURST, PER_SECOND, SENDERS};

/// The time until which a bucket is in debt (GCRA: one number holds level and last change).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    spent_until: Time,
}

impl Bucket {
    /// Whether one more message is taken, with `burst` at once and `per_second` from then on.
    pub(super) fn take(&mut self, now: Time, per_second: u32, burst: u32) -> bool {
        let cost = Duration::from_secs(1) / per_second;
        let after = self.spent_until.max(now) + cost;
        let taken = after.since(now) <= cost * burst;
        if taken {
            self.spent_until = after;
        }
        taken
    }
}

#[derive(Debug, Default)]
pub(super) struct Rates {
    by_sender: HashMap<Ipv4Addr, Bucket>,
}

impl Rates {
    /// Whether a message that has come from `sender` is taken.
    pub(super) fn take(&mut self, now: Time, sender: Ipv4Addr) -> bool {
        if self.by_sender.len() >= SENDERS && !self.by_sender.contains_key(&sender) {
            self.by_sender.retain(|_, bucket| bucket.spent_until > now);
            // Everybody is busy: forgetting them all is fairer than taking nobody else.
            if self.by_sender.len() >= SENDERS {
                self.by_sender.clear();
            }
        }
        self.by_sender.entry(sender).or_default().take(now, PER_SECOND, BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate() {
        let (mut rates, sender) = (Rates::default(), Ipv4Addr::new(10, 0, 0, 1));
        let now = Time(1_000_000);
        let burst = (0..1000).filter(|_| rates.take(now, sender)).count();
        assert_eq!(burst, BURST as usize);
        assert!(rates.take(now, Ipv4Addr::new(10, 0, 0, 2)));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| rates.take(later, sender)).count(), PER_SECOND as usize);
    }

    #[test]
    fn memory_is_bounded() {
        let mut rates = Rates::default();
        for n in 0..3 * SENDERS as u32 {
            assert!(rates.take(Time(1), Ipv4Addr::from_bits(n)));
        }
        assert!(rates.by_sender.len() <= SENDERS);
    }
}
