//! How far a long step is: one line on a terminal, a line every few seconds elsewhere.
//! Decides when to say something; never slows the work down.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Often enough to look alive.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(100);
/// Seldom enough for a log.
const LOG_INTERVAL: Duration = Duration::from_secs(3);

/// One long step over a known number of bytes; shared by the threads that do it.
#[derive(Debug)]
pub(crate) struct Progress {
    label: String,
    total: u64,
    done: AtomicU64,
    start: Instant,
    said: Mutex<Instant>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(label: impl Into<String>, total: u64) -> Progress {
        let now = now();
        Progress {
            label: label.into(),
            total,
            done: AtomicU64::new(0),
            start: now,
            said: Mutex::new(now),
            terminal: io::stderr().is_terminal(),
        }
    }

    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.say(done);
    }

    /// For a step that only knows its share.
    pub(crate) fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.say(done);
    }

    fn say(&self, done: u64) {
        let interval = if self.terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        // A thread that finds another one talking goes on with its work.
        let Ok(mut said) = self.said.try_lock() else { return };
        let now = now();
        if now.duration_since(*said) < interval {
            return;
        }
        *said = now;
        let line = line(&self.label, done, self.total, now.duration_since(self.start));
        // A closed stderr is no reason to stop.
        let _ = if self.terminal {
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            writeln!(io::stderr(), "{line}")
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(label: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let percent = (u128::from(done) * 100).checked_div(u128::from(total)).unwrap_or(100);
    let milliseconds = elapsed.as_millis().max(1);
    let rate = u64::try_from(u128::from(done) * 1000 / milliseconds).unwrap_or(u64::MAX);
    format!("{label}: {percent}% ({} of {}, {}/s)", bytes(done), bytes(total), bytes(rate))
}

/// A number of bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    let (unit, name) = match n {
        0..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    let tenths = (u128::from(n) * 10 + unit / 2) / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[expect(clippy::disallowed_methods, reason = "the one clock of boottorrent-gen, for rates that people read")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_share_amount_and_rate() {
        let text = line("debian: copying", 50_000_000, 200_000_000, Duration::from_millis(500));
        assert_eq!(text, "debian: copying: 25% (50.0 MB of 200.0 MB, 100.0 MB/s)");
        assert_eq!(bytes(0), "0.0 kB");
        assert_eq!(bytes(1_250_000_000), "1.3 GB");
    }
}
