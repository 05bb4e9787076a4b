//! How much one address may say: a bucket of messages that fills again with time.
//! Decides per sender only; a node that floods silences nobody else.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::Time;

use super::limits::{BURST, PER_SECOND, SENDERS};

/// Time that one message costs.
const COST: Duration = Duration::from_micros(1_000_000 / PER_SECOND as u64);

/// Per address, the time until which its bucket is in debt (GCRA: one number holds level and last change).
#[derive(Debug, Default)]
pub(super) struct Rates {
    spent_until: HashMap<Ipv4Addr, Time>,
}

impl Rates {
    /// Whether a message that has come from `sender` is taken.
    pub(super) fn take(&mut self, now: Time, sender: Ipv4Addr) -> bool {
        if self.spent_until.len() >= SENDERS && !self.spent_until.contains_key(&sender) {
            self.spent_until.retain(|_, until| *until > now);
            // Everybody is busy: forgetting them all is fairer than taking nobody else.
            if self.spent_until.len() >= SENDERS {
                self.spent_until.clear();
            }
        }
        let until = self.spent_until.entry(sender).or_default();
        let after = (*until).max(now) + COST;
        let taken = after.since(now) <= COST * BURST;
        if taken {
            *until = after;
        }
        taken
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
        assert!(rates.spent_until.len() <= SENDERS);
    }
}
