//! The boot as a table: each stage with its name, deadline and answer to failure.
//!
//! Decides what happens after a failure. Never does a stage's work, and never ends without the next kernel.

mod steps;

use std::fmt;
use std::time::Duration;

use boottorrent_swarm::catalog::Method;
use boottorrent_swarm::record::Params;

use crate::clock;
use crate::console::{Key, shell};
use crate::supervisor::{Off, switch_off};
use crate::worker::Boot;

/// First and longest wait before a failed stage is tried again.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MOST: Duration = Duration::from_secs(30);
/// How often whoever waits for a person looks up.
const LOOK: Duration = Duration::from_millis(250);

struct Stage {
    name: &'static str,
    /// What is waited for, as a person would say it.
    waits_for: &'static str,
    /// How long; None where a person or the size of the image decides, and the stage says so itself.
    deadline: Option<Duration>,
    run: fn(&mut Boot, Duration) -> Result<Done, Failure>,
    on_failure: Answer,
    /// Whose images go through it; None: all.
    of: Option<Method>,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    GoOn,
    /// Again, after a wait that doubles.
    Again,
    /// The same, from an earlier stage.
    From(&'static str),
    /// Again, and from an earlier stage once it has failed so often in a row.
    AgainThenFrom(u32, &'static str),
}

const TABLE: [Stage; 13] = [
    Stage {
        name: "modules",
        waits_for: "loading the drivers that this hardware needs",
        deadline: Some(Duration::from_secs(60)),
        run: steps::modules,
        on_failure: Answer::GoOn,
        of: None,
    },
    Stage {
        name: steps::RESCUE,
        waits_for: "bt.rescue: a shell on each console; the boot goes on when one of them is left",
        deadline: None,
        run: steps::rescue,
        on_failure: Answer::GoOn,
        of: None,
    },
    Stage {
        name: "link",
        waits_for: "waiting for a wired network card with carrier",
        deadline: Some(Duration::from_secs(20)),
        run: steps::link,
        on_failure: Answer::Again,
        of: None,
    },
    Stage {
        name: "lease",
        waits_for: "asking for an address by DHCP",
        deadline: Some(Duration::from_secs(20)),
        run: steps::lease,
        on_failure: Answer::From("link"),
        of: None,
    },
    Stage {
        name: "catalog",
        waits_for: "reading the master's catalog by TFTP",
        deadline: Some(Duration::from_secs(20)),
        run: steps::catalog,
        // An address without a master behind it: another card may be on the right network.
        on_failure: Answer::AgainThenFrom(3, "link"),
        of: None,
    },
    Stage {
        name: "choice",
        waits_for: "which operating system to start",
        deadline: None,
        run: steps::choice,
        on_failure: Answer::From("catalog"),
        of: None,
    },
    Stage {
        name: "memory",
        waits_for: "adding up the memory that it takes",
        deadline: None,
        run: steps::memory,
        on_failure: Answer::From("choice"),
        of: None,
    },
    Stage {
        name: "download",
        waits_for: "downloading from the master and from other nodes",
        deadline: None,
        run: steps::download,
        on_failure: Answer::From("catalog"),
        of: None,
    },
    Stage {
        name: "load",
        waits_for: "handing kernel and initrd to the running kernel",
        deadline: None,
        run: steps::load,
        on_failure: Answer::From("choice"),
        of: Some(Method::Kexec),
    },
    Stage {
        name: "linger",
        waits_for: "serving nodes that still need this image",
        deadline: None,
        run: steps::linger,
        on_failure: Answer::GoOn,
        of: Some(Method::Kexec),
    },
    Stage {
        name: "kexec",
        waits_for: "starting the next kernel",
        deadline: None,
        run: steps::kexec,
        on_failure: Answer::From("load"),
        of: Some(Method::Kexec),
    },
    Stage {
        name: "layout",
        waits_for: "laying out the program's root in memory",
        deadline: None,
        run: steps::layout,
        on_failure: Answer::From("catalog"),
        of: Some(Method::Run),
    },
    Stage {
        name: "run",
        waits_for: "starting the program; three times ^] within a second ends it",
        deadline: None,
        run: steps::run,
        on_failure: Answer::From("catalog"),
        of: Some(Method::Run),
    },
];

/// What a stage has to say at its end.
pub(crate) struct Done {
    pub(crate) text: String,
    pub(crate) params: Params,
    next: Option<Next>,
}

/// Another stage than the table has, after a wait.
#[derive(Clone, Copy)]
struct Next {
    stage: &'static str,
    wait: Duration,
}

impl Done {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), params: Params::new(), next: None }
    }

    pub(crate) fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.params.push((name.to_owned(), value.to_string()));
        self
    }

    fn then(self, stage: &'static str, wait: Duration) -> Self {
        Self { next: Some(Next { stage, wait }), ..self }
    }
}

/// One sentence: what failed and, where a person can do something, what.
pub(crate) struct Failure {
    sentence: String,
    /// What follows, where the sentence says so itself.
    next: Option<Next>,
}

impl Failure {
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), next: None }
    }

    fn then(self, stage: &'static str, wait: Duration) -> Self {
        Self { next: Some(Next { stage, wait }), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// Runs the table until the next kernel takes over.
pub(crate) fn run(boot: &mut Boot) {
    let mut failures = [0u32; TABLE.len()];
    let mut at = 0;
    while let Some(stage) = TABLE.get(at) {
        if is_passed_over(boot, stage) {
            at += 1;
            continue;
        }
        let begun = clock::now();
        boot.patience.begun(at);
        boot.report.begin(stage.name, &begin_text(stage));
        let deadline = begun + stage.deadline.unwrap_or(Duration::from_secs(u32::MAX.into()));
        match (stage.run)(boot, deadline) {
            Ok(done) => {
                boot.report.end(stage.name, clock::now().saturating_sub(begun), done.params, &done.text);
                boot.patience.succeeded(at);
                if let Some(count) = failures.get_mut(at) {
                    *count = 0;
                }
                at = match done.next {
                    Some(next) => go_on(boot, at, next),
                    None => at + 1,
                };
            }
            Err(failure) => {
                let count = failures.get(at).map_or(1, |count| count.saturating_add(1));
                if let Some(slot) = failures.get_mut(at) {
                    *slot = count;
                }
                boot.patience.failed(at, clock::now());
                let took = clock::now().saturating_sub(begun);
                at = after_failure(boot, at, stage, &failure, took, count);
            }
        }
    }
}

/// Whether the image that was chosen goes another way.
fn is_passed_over(boot: &Boot, stage: &Stage) -> bool {
    if stage.name == steps::RESCUE && !steps::is_rescue_due(boot) {
        return true;
    }
    let method = boot.image.as_ref().map(|image| image.method);
    stage.of.is_some_and(|of| method.is_some_and(|method| method != of))
}

/// Waits, if there is a reason to, and returns the stage to go on with.
fn go_on(boot: &Boot, at: usize, next: Next) -> usize {
    if !next.wait.is_zero() {
        rest(boot, next.wait);
    }
    next_stage(at, Answer::From(next.stage), 1)
}

fn begin_text(stage: &Stage) -> String {
    match stage.deadline {
        Some(deadline) => format!("{} (at most {} s)", stage.waits_for, deadline.as_secs()),
        None => stage.waits_for.to_owned(),
    }
}

/// Says what failed and what happens now, waits, and returns the stage to go on with.
fn after_failure(
    boot: &mut Boot,
    at: usize,
    stage: &Stage,
    failure: &Failure,
    took: Duration,
    count: u32,
) -> usize {
    if let Some(next) = failure.next {
        boot.report.fail(stage.name, took, &failure.to_string());
        lose_patience(boot);
        return go_on(boot, at, next);
    }
    let next = next_stage(at, stage.on_failure, count);
    let wait = pause(stage, took, count);
    let name = TABLE.get(next).map_or(stage.name, |stage| stage.name);
    let then = if stage.on_failure == Answer::GoOn {
        "going on without".to_owned()
    } else {
        format!("again from \"{name}\" in {} s", wait.as_secs())
    };
    boot.report.fail(stage.name, took, &format!("{failure}; {then}"));
    if stage.on_failure != Answer::GoOn {
        boot.notice = Some(failure.to_string());
        rest(boot, wait);
    }
    next
}

fn next_stage(at: usize, answer: Answer, count: u32) -> usize {
    let named = |name: &str| TABLE.iter().position(|stage| stage.name == name).unwrap_or(at);
    match answer {
        Answer::GoOn => at + 1,
        Answer::Again => at,
        Answer::From(name) => named(name),
        Answer::AgainThenFrom(most, name) => {
            if count.is_multiple_of(most) {
                named(name)
            } else {
                at
            }
        }
    }
}

/// Before a failed stage is tried again. Who has only watched a cable until its deadline watches on: it asks nobody, and
/// the cable may be plugged in at any moment.
fn pause(stage: &Stage, took: Duration, count: u32) -> Duration {
    let has_waited = stage.deadline.is_some_and(|deadline| took >= deadline);
    if stage.on_failure == Answer::Again && has_waited { BACK_OFF_FIRST } else { back_off(count) }
}

/// 1, 2, 4, 8, 16, 30, 30, ... seconds.
fn back_off(count: u32) -> Duration {
    BACK_OFF_FIRST.saturating_mul(1 << count.saturating_sub(1).min(8)).min(BACK_OFF_MOST)
}

/// The wait, with a way out of it for whoever stands there.
fn rest(boot: &Boot, wait: Duration) {
    let until = clock::now() + wait;
    boot.report.forget_keys();
    boot.report.rest_until(until, &format!("            Enter: try again now   {}", keys()));
    while clock::now() < until {
        lose_patience(boot);
        let look = boot.patience.ends_at().map_or(until, |at| until.min(at.max(clock::now() + LOOK)));
        match boot.report.key(look) {
            Some(Key::Enter) => return boot.patience.somebody(clock::now()),
            Some(key) => take_off(boot, key),
            None => {}
        }
    }
}

/// What people can do wherever they are, as far as it is said where there are no pages.
fn keys() -> String {
    let shell = if shell::is_there() { "s: shell   " } else { "" };
    format!("l: log   d: details   {shell}p: power off   r: reboot")
}

fn take_off(boot: &Boot, key: Key) {
    boot.patience.somebody(clock::now());
    match key {
        Key::Character('p' | 'P') => switch_off(&boot.report, Off::Power, "asked for at the console"),
        Key::Character('r' | 'R') => switch_off(&boot.report, Off::Reboot, "asked for at the console"),
        _ => {}
    }
}

/// Reboots once there has been nothing but failures for as long as somebody wanted, unless a person is at work.
fn lose_patience(boot: &Boot) {
    if let Some(why) = boot.patience.lost(!shell::consoles().is_empty(), clock::now()) {
        switch_off(&boot.report, Off::Reboot, &why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_names_a_stage_that_comes_no_later() {
        for (at, stage) in TABLE.iter().enumerate() {
            if let Answer::From(name) | Answer::AgainThenFrom(_, name) = stage.on_failure {
                let target = TABLE.iter().position(|other| other.name == name);
                assert!(target.is_some_and(|target| target <= at), "{}: {name}", stage.name);
            }
        }
    }

    #[test]
    fn each_method_has_a_way_to_its_end() {
        let way = |method| {
            let stages = TABLE.iter().filter(|stage| stage.of.is_none_or(|of| of == method));
            stages.map(|stage| stage.name).skip_while(|name| *name != "download").collect::<Vec<_>>()
        };
        assert_eq!(way(Method::Kexec), ["download", "load", "linger", "kexec"]);
        assert_eq!(way(Method::Run), ["download", "layout", "run"]);
    }

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let waits: Vec<u64> = (1..=8).map(|count| back_off(count).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(back_off(u32::MAX), BACK_OFF_MOST);
    }

    #[test]
    fn who_has_waited_for_a_cable_does_not_rest_long() {
        let stage = |name: &str| TABLE.iter().find(|stage| stage.name == name).unwrap();
        let whole = Duration::from_secs(20);
        assert_eq!(pause(stage("link"), whole, 9), BACK_OFF_FIRST);
        assert_eq!(pause(stage("link"), Duration::ZERO, 9), BACK_OFF_MOST, "it can't even look");
        assert_eq!(pause(stage("lease"), whole, 9), BACK_OFF_MOST, "a room must not keep asking at once");
    }

    #[test]
    fn goes_back_after_the_third_failure_only() {
        let catalog = TABLE.iter().position(|stage| stage.name == "catalog").unwrap();
        let link = TABLE.iter().position(|stage| stage.name == "link").unwrap();
        let went: Vec<usize> =
            (1..=6).map(|count| next_stage(catalog, TABLE[catalog].on_failure, count)).collect();
        assert_eq!(went, [catalog, catalog, link, catalog, catalog, link]);
        assert_eq!(next_stage(0, Answer::GoOn, 9), 1);
    }
}
