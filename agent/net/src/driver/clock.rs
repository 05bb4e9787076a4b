//! The one clock of the driver. Decides nothing.

use boottorrent_swarm::Time;
use std::time::Instant;

/// Microseconds since the driver was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Clock {
        Clock(read())
    }

    pub(super) fn now(self) -> Time {
        let passed = read().saturating_duration_since(self.0);
        Time(u64::try_from(passed.as_micros()).unwrap_or(u64::MAX))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the driver's clock, which hands time to the core")]
fn read() -> Instant {
    Instant::now()
}
