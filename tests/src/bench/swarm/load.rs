//! What else the machine does while something is measured: cores that others use, and cores in use at all.
//! Others are all processes that do not descend from this one, kernel threads apart.

use crate::clock::{now, wait_for};
use crate::process::read_text;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// Kernel threads are children of this process; their work is that of whoever is measured.
const KTHREADD: u32 = 2;
/// A row is disturbed when others used more than this many cores while it ran.
pub(crate) const DISTURBED: f64 = 0.5;
/// Before a row, others should use no more than this; so long is waited for it.
const CALM: f64 = 0.2;
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(500);

/// A moment to compare with a later one.
pub(crate) struct Load {
    at: Instant,
    others: u64,
    busy: u64,
}

/// Cores in use between two moments.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) others: f64,
    /// By anybody, this bench too.
    pub(crate) all: f64,
}

impl Load {
    pub(crate) fn now() -> Self {
        Self { at: now(), others: others().values().sum(), busy: busy(&read_text(Path::new("/proc/stat"))) }
    }

    pub(crate) fn since(&self) -> Cores {
        let later = Self::now();
        let seconds = (later.at - self.at).as_secs_f64();
        // Over all: what a process used that has ended is its parent's, who waited for it.
        let ticks = later.others.saturating_sub(self.others);
        let cores = |ticks: u64| seconds_of(ticks) / seconds;
        let all = cores(later.busy.saturating_sub(self.busy));
        Cores { others: cores(ticks).min(all), all }
    }
}

/// Waits until others are calm, for a while only: a disturbed row says so by itself.
pub(crate) fn settle() {
    let mut before = Load::now();
    let _ = wait_for("a calm machine", PATIENCE, || {
        if before.at.elapsed() < LOOK {
            return Err(String::new());
        }
        let cores = before.since();
        before = Load::now();
        if cores.others <= CALM { Ok(()) } else { Err(format!("{:.1} cores", cores.others)) }
    });
}

#[expect(clippy::cast_precision_loss, reason = "ticks below 2^53")]
fn seconds_of(ticks: u64) -> f64 {
    /// `USER_HZ`, which is part of the kernel's interface.
    const TICKS: f64 = 100.0;
    ticks as f64 / TICKS
}

/// Ticks of all CPUs spent on anything.
fn busy(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already
    [0, 1, 2, 5, 6, 7].iter().filter_map(|field| numbers.get(*field)).sum()
}

/// Ticks of each process that is none of ours, with those of its children that it has waited for.
fn others() -> BTreeMap<u32, u64> {
    let names = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let processes: BTreeMap<u32, (u32, u64)> = pids
        .filter_map(|pid| Some((pid, parse(&read_text(Path::new(&format!("/proc/{pid}/stat"))))?)))
        .collect();
    let mut ours = HashSet::from([std::process::id(), KTHREADD]);
    loop {
        let before = ours.len();
        ours.extend(
            processes
                .iter()
                .filter(|(_, (parent, _))| ours.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if ours.len() == before {
            break;
        }
    }
    processes
        .into_iter()
        .filter(|(pid, _)| !ours.contains(pid))
        .map(|(pid, (_, ticks))| (pid, ticks))
        .collect()
}

/// Parent and ticks from a line of `/proc/<pid>/stat`; the name in it may hold anything, brackets too.
fn parse(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    // proc(5), counted from the state: ppid 1; utime, stime, cutime, cstime 11 to 14
    let ticks = number(11)? + number(12)? + number(13)? + number(14)?;
    Some((u32::try_from(number(1)?).ok()?, ticks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_is_no_field() {
        let stat = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 10 20 30 40 20 0 1 0";
        assert_eq!(parse(stat), Some((3, 100)));
        assert_eq!(parse("7 (gone"), None);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        assert_eq!(busy("cpu  1 2 4 1000 1000 8 16 32 64 64\ncpu0 9 9 9"), 63);
    }

    #[test]
    fn this_process_is_none_of_the_others() {
        assert!(!others().contains_key(&std::process::id()));
    }
}
