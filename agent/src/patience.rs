//! How long a boot that knows nothing but failures is borne (`bt.panic=`): what process 1 and its workers both count.
//!
//! Decides when it has been enough. Never reboots by itself.

use std::time::Duration;

use crate::mounts;

/// Since when there has been no success, and in which stage; of the whole boot, not of one worker.
const STREAK_FILE: &str = "failing";
/// The stage that the worker is in: the one that fails when it dies.
const STAGE_FILE: &str = "stage";

/// Does nothing where nobody asked for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(Option<Duration>);

/// Failures with no success between them. A stage is its place in the table: a success before it tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streak {
    since: Duration,
    stage: usize,
}

impl Patience {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self(limit)
    }

    pub(crate) fn begun(self, stage: usize) {
        if self.0.is_some() {
            let _ = mounts::keep(STAGE_FILE, &stage.to_string()); // without it a death counts as that of the first stage
        }
    }

    pub(crate) fn failed(self, stage: usize, now: Duration) {
        if self.0.is_some() {
            Streak::after_failure(Streak::kept(), stage, now).keep();
        }
    }

    /// The worker has died.
    pub(crate) fn lost_worker(self, now: Duration) {
        let stage = mounts::kept(STAGE_FILE).and_then(|text| text.parse().ok());
        self.failed(stage.unwrap_or(0), now);
    }

    pub(crate) fn succeeded(self, stage: usize) {
        if self.0.is_some() && Streak::kept().is_some_and(|streak| streak.is_ended_by(stage)) {
            mounts::forget(STREAK_FILE);
        }
    }

    /// A person is there: the time begins anew.
    pub(crate) fn somebody(self, now: Duration) {
        if let (Some(_), Some(streak)) = (self.0, Streak::kept()) {
            Streak { since: now, ..streak }.keep();
        }
    }

    /// The node does what it is for, or waits for a person: that is no failure.
    pub(crate) fn rest(self) {
        if self.0.is_some() {
            mounts::forget(STREAK_FILE);
        }
    }

    /// When it will have been enough, if nothing changes.
    pub(crate) fn ends_at(self) -> Option<Duration> {
        let limit = self.0?;
        Some(Streak::kept()?.since + limit)
    }

    /// Why the machine reboots now, once it has been enough; while a person is at work it begins anew. Said once: where the
    /// kernel refuses, it is not asked in a frenzy.
    pub(crate) fn lost(self, person_is_there: bool, now: Duration) -> Option<String> {
        if person_is_there {
            self.somebody(now);
            return None;
        }
        self.is_over(now).inspect(|_| self.rest())
    }

    fn is_over(self, now: Duration) -> Option<String> {
        let (limit, until) = (self.0?, self.ends_at()?);
        let so_far = (now + limit).saturating_sub(until).as_secs();
        (now >= until).then(|| format!("nothing but failures for {so_far} s (bt.panic={})", limit.as_secs()))
    }
}

impl Streak {
    /// One that goes on keeps its beginning; what came before the stage that it got to has worked meanwhile.
    fn after_failure(before: Option<Self>, stage: usize, now: Duration) -> Self {
        match before {
            Some(before) => Self { since: before.since, stage: before.stage.max(stage) },
            None => Self { since: now, stage },
        }
    }

    fn is_ended_by(self, stage: usize) -> bool {
        stage >= self.stage
    }

    fn kept() -> Option<Self> {
        Self::parse(&mounts::kept(STREAK_FILE)?)
    }

    fn keep(self) {
        let _ = mounts::keep(STREAK_FILE, &self.emit()); // without it the machine is borne with for longer
    }

    fn emit(self) -> String {
        format!("{} {}", self.since.as_millis(), self.stage)
    }

    fn parse(text: &str) -> Option<Self> {
        let (since_ms, stage) = text.split_once(' ')?;
        Some(Self { since: Duration::from_millis(since_ms.parse().ok()?), stage: stage.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_getting_further_ends_a_streak() {
        let at = |s| Duration::from_secs(s);
        // The catalog (4) cannot be read: link (2) and lease (3) work each time, and that is no success.
        let streak = Streak::after_failure(None, 4, at(10));
        assert!(!streak.is_ended_by(2) && !streak.is_ended_by(3) && streak.is_ended_by(4));
        let streak = Streak::after_failure(Some(streak), 2, at(20));
        assert_eq!(
            streak,
            Streak { since: at(10), stage: 4 },
            "an earlier stage that fails makes it no better"
        );
        let streak = Streak::after_failure(Some(streak), 7, at(30));
        assert_eq!(streak, Streak { since: at(10), stage: 7 });
        assert!(streak.is_ended_by(8));
    }

    #[test]
    fn a_streak_is_handed_on() {
        let streak = Streak { since: Duration::from_millis(12_345), stage: 6 };
        assert_eq!(Streak::parse(&streak.emit()), Some(streak));
        for text in ["", "12345", "x 6", "12345 x"] {
            assert_eq!(Streak::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn nobody_asked_for_it() {
        let patience = Patience::new(None);
        patience.failed(1, Duration::ZERO);
        assert_eq!((patience.ends_at(), patience.is_over(Duration::MAX)), (None, None));
    }
}
