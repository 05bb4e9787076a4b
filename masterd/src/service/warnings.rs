//! Counted warnings: what the network does wrong is told at once, then at most once a second per kind with a count,
//! so that nobody can fill the journal. It keeps no packet and no address beyond the last detail.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use boottorrent_swarm::Time;

/// The pause between two lines of one kind.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Kind {
    total: u64,
    untold: u64,
    last: String,
    quiet_until: Time,
}

/// Warnings by kind. A kind is a fixed noun phrase: "malformed packet", "request for an unknown image".
#[derive(Debug, Default)]
pub struct Warnings {
    kinds: BTreeMap<&'static str, Kind>,
}

impl Warnings {
    /// Counts one, and tells it now or with the next line of its kind.
    pub fn warn(&mut self, now: Time, kind: &'static str, detail: impl Display) {
        if let Some(line) = self.count(now, kind, detail) {
            log::warn!("{line}");
        }
    }

    /// Tells what was held back and is due now. Call it when `due` has come.
    pub fn flush(&mut self, now: Time) {
        for line in self.lines(now) {
            log::warn!("{line}");
        }
    }

    /// When `flush` has something to tell.
    pub fn due(&self) -> Option<Time> {
        self.kinds.values().filter(|k| k.untold > 0).map(|k| k.quiet_until).min()
    }

    /// How often each kind was seen, for the state file.
    pub fn totals(&self) -> BTreeMap<&'static str, u64> {
        self.kinds.iter().map(|(name, kind)| (*name, kind.total)).collect()
    }

    fn count(&mut self, now: Time, name: &'static str, detail: impl Display) -> Option<String> {
        let kind = self.kinds.entry(name).or_default();
        kind.total += 1;
        if now < kind.quiet_until {
            kind.untold += 1;
            kind.last = detail.to_string();
            return None;
        }
        kind.quiet_until = now + PAUSE;
        kind.untold = 0;
        Some(format!("{name}: {detail}"))
    }

    fn lines(&mut self, now: Time) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, kind) in &mut self.kinds {
            if kind.untold > 0 && kind.quiet_until <= now {
                lines.push(format!("{name}: {} more, the last: {}", kind.untold, kind.last));
                kind.untold = 0;
                kind.quiet_until = now + PAUSE;
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_at_once_then_one_a_second_with_the_count() {
        let mut warnings = Warnings::default();
        let at = Time(5_000_000);
        assert_eq!(warnings.count(at, "malformed packet", "a").as_deref(), Some("malformed packet: a"));
        assert_eq!(warnings.due(), None);
        for n in 0..142 {
            assert_eq!(warnings.count(at, "malformed packet", n), None);
        }
        assert_eq!(warnings.due(), Some(at + PAUSE));
        assert!(warnings.lines(at).is_empty());
        assert_eq!(warnings.lines(at + PAUSE), ["malformed packet: 142 more, the last: 141"]);
        assert_eq!(warnings.due(), None);
        assert_eq!(warnings.totals()["malformed packet"], 143);
    }

    #[test]
    fn kinds_do_not_silence_each_other() {
        let mut warnings = Warnings::default();
        assert!(warnings.count(Time(0), "a", "x").is_some());
        assert!(warnings.count(Time(0), "b", "x").is_some());
    }
}
