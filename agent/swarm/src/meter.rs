//! How busy a direction of our link is, against the best that it has shown. Decides nothing; the scheduler asks it for spare room, and the receiver for what is much.

use crate::Time;
use core::time::Duration;

/// Bytes are counted over at least this long: some blocks' time at 100 Mbit/s, and less than a piece's.
const WINDOW: Duration = Duration::from_millis(20);
/// The best rate is forgotten over this long: a burst into empty socket buffers is faster than any link.
const MEMORY: Duration = Duration::from_secs(30);

/// Rates in bytes a second.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Time,
    bytes: u64,
    rate: u64,
    best: u64,
}

impl Meter {
    pub(crate) fn new() -> Meter {
        Meter { since: Time(0), bytes: 0, rate: 0, best: 0 }
    }

    pub(crate) fn count(&mut self, now: Time, bytes: u32) {
        self.roll(now);
        self.bytes += u64::from(bytes);
    }

    /// The link carries less than seven eighths of what it could.
    pub(crate) fn is_spare(&mut self, now: Time) -> bool {
        self.roll(now);
        self.rate * 8 < self.best * 7
    }

    /// The best rate of late, which is taken for the link's.
    pub(crate) fn best(&self) -> u64 {
        self.best
    }

    fn roll(&mut self, now: Time) {
        let window = now.since(self.since);
        if window < WINDOW {
            return;
        }
        let micros = u64::try_from(window.as_micros()).unwrap_or(u64::MAX).max(1);
        let memory = u64::try_from(MEMORY.as_micros()).unwrap_or(u64::MAX);
        let latest = self.bytes.saturating_mul(1_000_000) / micros;
        self.rate = (self.rate * 3 + latest) / 4;
        let faded = self.best.saturating_mul(micros.min(memory)) / memory;
        self.best = self.best.saturating_sub(faded).max(self.rate);
        (self.since, self.bytes) = (now, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts at a steady rate for so long, a block at a time.
    fn run(meter: &mut Meter, from: Time, seconds: u64, rate: u64) -> Time {
        let block = 16_384;
        let step = Duration::from_micros(u64::from(block) * 1_000_000 / rate);
        let mut now = from;
        while now.since(from) < Duration::from_secs(seconds) {
            now = now + step;
            meter.count(now, block);
        }
        now
    }

    #[test]
    fn a_burst_is_forgotten_at_any_rate() {
        for rate in [1_250_000, 12_500_000, 125_000_000, 1_250_000_000] {
            let mut meter = Meter::new();
            let burst = run(&mut meter, Time(1), 1, rate * 3);
            let soon = run(&mut meter, burst, 1, rate);
            assert!(meter.is_spare(soon), "{rate}: the link could do more");
            let now = run(&mut meter, soon, 60, rate);
            let best = meter.best();
            assert!(best >= rate * 9 / 10 && best <= rate * 3 / 2, "{best} of {rate}");
            let calm = run(&mut meter, now, 60, rate);
            assert!(!meter.is_spare(calm), "{rate}: the link is full");
        }
    }
}
