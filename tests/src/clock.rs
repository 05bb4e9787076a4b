//! The lab's one clock: deadlines, and waiting for what gives no event of its own (a file, another program's state).
//! Never a fixed wait: every wait ends with its condition or with an error that says what was awaited.

use crate::error::LabError;
use std::time::{Duration, Instant};

/// How often a condition without an event is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[must_use]
#[expect(clippy::disallowed_methods, reason = "the lab is a driver: this is where it reads the clock")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "files and foreign processes tell nobody when they change")]
fn pause() {
    std::thread::sleep(LOOK_AGAIN);
}

#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    #[must_use]
    pub fn after(limit: Duration) -> Self {
        Self { start: now(), limit }
    }

    /// What is left, or nothing once it has passed.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.limit.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero())
    }

    #[must_use]
    pub fn timeout(&self, what: impl Into<String>, seen: impl Into<String>) -> LabError {
        LabError::Timeout { what: what.into(), seconds: self.limit.as_secs_f64(), seen: seen.into() }
    }
}

/// Looks until `condition` yields a value; the error names `what`.
///
/// # Errors
/// `Timeout` after `limit`, with the last thing that the condition reported as its reason.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<T, String>,
) -> Result<T, LabError> {
    let deadline = Deadline::after(limit);
    loop {
        let seen = match condition() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if deadline.left().is_none() {
            return Err(deadline.timeout(what, seen));
        }
        pause();
    }
}
