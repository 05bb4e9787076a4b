//! How much may be sent now: a bucket that fills at the bound's rate. Decides when a link has to wait.

use super::limits::{RATE_BURST, RATE_QUANTUM};
use boottorrent_swarm::Time;
use std::time::Duration;

/// Bytes are counted in millionths, so that a microsecond fills a whole number of them at any rate.
const MILLIONTHS: u64 = 1_000_000;

#[derive(Debug)]
pub(super) struct Bucket {
    /// Bytes in a second; not 0.
    rate: u64,
    /// Millionths of a byte.
    level: u64,
    filled_at: Time,
}

impl Bucket {
    pub(super) fn new(rate: u64, now: Time) -> Bucket {
        Bucket { rate: rate.max(1), level: 0, filled_at: now }
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// Bytes that may go now; nothing as long as it is less than is worth a write.
    pub(super) fn allowance(&mut self, now: Time) -> u64 {
        let passed = u64::try_from(now.since(self.filled_at).as_micros()).unwrap_or(u64::MAX);
        self.filled_at = now;
        self.level = self.level.saturating_add(self.rate.saturating_mul(passed)).min(self.depth());
        if self.level < Self::QUANTUM { 0 } else { self.level / MILLIONTHS }
    }

    /// So much has gone.
    pub(super) fn spend(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(bytes.saturating_mul(MILLIONTHS));
    }

    /// When there is an allowance again.
    pub(super) fn ready_at(&self) -> Time {
        let lacking = Self::QUANTUM.saturating_sub(self.level);
        self.filled_at + Duration::from_micros(lacking.div_ceil(self.rate))
    }

    const QUANTUM: u64 = RATE_QUANTUM * MILLIONTHS;

    fn depth(&self) -> u64 {
        let burst = u64::try_from(RATE_BURST.as_micros()).unwrap_or(u64::MAX);
        self.rate.saturating_mul(burst).saturating_add(Self::QUANTUM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that go in ten seconds when somebody takes what there is every `every` microseconds.
    fn ten_seconds(rate: u64, every: u64) -> u64 {
        let mut bucket = Bucket::new(rate, Time(0));
        let take = |at: u64| {
            let bytes = bucket.allowance(Time(at));
            bucket.spend(bytes);
            bytes
        };
        (0..10_000_000 / every).map(|n| n * every).map(take).sum()
    }

    #[test]
    fn the_rate_is_kept_however_often_it_is_asked_for() {
        for rate in [125_000, 6_250_000, 1_250_000_000] {
            for every in [7, 333, 10_000] {
                let sent = ten_seconds(rate, every) as f64 / (rate * 10) as f64;
                assert!((0.98..=1.0).contains(&sent), "{rate} bytes/s, every {every} us: {sent}");
            }
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for() {
        let mut bucket = Bucket::new(6_250_000, Time(0));
        let burst = bucket.allowance(Time(60_000_000));
        assert!(burst <= 6_250_000 / 20, "{burst} bytes at once after a minute of silence");
    }

    #[test]
    fn it_is_ready_when_it_says_so_and_not_before() {
        let mut bucket = Bucket::new(1_000_000, Time(0));
        let ready = bucket.ready_at();
        assert_eq!(bucket.allowance(Time(ready.0 - 1)), 0);
        assert_eq!(bucket.allowance(ready), RATE_QUANTUM);
        bucket.spend(RATE_QUANTUM);
        assert!(bucket.ready_at() > ready);
        assert!(Bucket::new(0, Time(0)).ready_at() > Time(0), "no division by a rate of nothing");
    }
}
