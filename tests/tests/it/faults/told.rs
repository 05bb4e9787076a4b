//! What both ends say of a fault: the node's console, and the master's journal.
//! Silence is the first complaint about netboot systems: each sentence comes at its stage's deadline, or at once.

use crate::boot::BOOT;
use boottorrent_tests::clock::{now, wait_for};
use boottorrent_tests::console::Seen;
use boottorrent_tests::master::Master;
use boottorrent_tests::node::Node;
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// What the sentence may come later than the deadline, at either end.
const LATE: Duration = Duration::from_secs(2);
/// For journald and the commands that read it, on a busy machine. What counts is the time that the journal gives.
const SOON: Duration = Duration::from_secs(20);

/// A row of the table.
pub(crate) struct Fault {
    pub(crate) stage: &'static str,
    pub(crate) told: Told,
    /// A part of it that says all.
    pub(crate) sentence: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The stage fails when so many seconds are over.
    AfterSeconds(u64),
    /// The stage fails at once.
    AtOnce,
    /// The stage has no deadline: it fails whenever that happens.
    AsAFailure,
    /// The stage goes on.
    AsANote,
}

/// A record in the master's journal.
struct Entry {
    at: SystemTime,
    stage: String,
    event: String,
    message: String,
}

impl Fault {
    fn event(&self) -> &'static str {
        if self.told == Told::AsANote { "note" } else { "fail" }
    }

    /// The node says it, in time.
    pub(crate) fn on_console(&self, node: &Node, start: usize) -> Seen {
        let mut from = start;
        loop {
            let seen = node.console.expect_from(from, &[self.sentence], BOOT).unwrap();
            node.console.expect_from(seen.end, &["\n"], SOON).unwrap();
            let line = node.console.expect_from(from, &[self.sentence], SOON).unwrap().line;
            from = seen.end;
            // The same words may stand in a line of another stage, or on a page.
            let Some(text) = line.split_once(&format!("] {}: ", self.stage)).map(|(_, text)| text) else {
                continue;
            };
            println!("{}: {line}", node.spec.name);
            let failed = text.strip_prefix("FAILED after ").and_then(|rest| rest.split_once(" s: "));
            let seconds = failed.map(|(seconds, _)| seconds.parse::<f64>().unwrap());
            self.is_in_time(seconds, &line);
            return Seen { line, ..seen };
        }
    }

    fn is_in_time(&self, seconds: Option<f64>, line: &str) {
        let late = LATE.as_secs_f64();
        let in_time = match (self.told, seconds) {
            #[expect(clippy::cast_precision_loss, reason = "seconds of a deadline")]
            (Told::AfterSeconds(deadline), Some(seconds)) => {
                (deadline as f64 - 0.05..=deadline as f64 + late).contains(&seconds)
            }
            (Told::AtOnce, Some(seconds)) => seconds <= late,
            (Told::AsAFailure, Some(_)) | (Told::AsANote, None) => true,
            _ => false,
        };
        assert!(in_time, "not in time, or not as it should be told: {line}");
    }

    /// The node says it, and its master, which is within reach, has it as soon.
    pub(crate) fn at_both_ends(&self, node: &Node, master: &Master, start: usize) -> Seen {
        let seen = self.on_console(node, start);
        self.at_master(node, master, node.switched_on() + seen.after);
        seen
    }

    /// The master was out of reach until `reached`: it is told then.
    pub(crate) fn at_master(&self, node: &Node, master: &Master, reached: Instant) {
        let what = format!("{:?} in the master's journal", self.sentence);
        let at = wait_for(&what, BOOT, || {
            let entries = journal(master, &node.spec.mac);
            let is_it = |e: &&Entry| {
                e.stage == self.stage && e.event == self.event() && e.message.contains(self.sentence)
            };
            let told: Vec<&Entry> = entries.iter().filter(is_it).collect();
            match told.as_slice() {
                [first, ..] => Ok(first.at),
                [] => Err(entries.iter().map(|e| format!("{}\n", e.message)).collect::<String>()),
            }
        });
        let latest = wall(reached) + LATE;
        let late = at.unwrap().duration_since(latest).unwrap_or_default();
        assert!(late.is_zero(), "the master was told {:.1} s too late: {what}", late.as_secs_f64());
    }
}

/// What the wall clock said at a moment.
fn wall(at: Instant) -> SystemTime {
    SystemTime::now() - now().saturating_duration_since(at)
}

fn journal(master: &Master, mac: &str) -> Vec<Entry> {
    let fields = "MESSAGE,STAGE,EVENT";
    let line = format!(
        "journalctl -q --no-pager -o json --output-fields={fields} _SYSTEMD_UNIT=boottorrent-log.service MAC={mac}"
    );
    let text = master.run(&line).unwrap();
    let entry = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let micros: u64 = text("__REALTIME_TIMESTAMP").parse().ok()?;
        Some(Entry {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(micros),
            stage: text("STAGE"),
            event: text("EVENT"),
            message: text("MESSAGE"),
        })
    };
    text.lines().filter_map(entry).collect()
}
