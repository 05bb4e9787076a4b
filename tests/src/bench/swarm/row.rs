//! A row of the table: one contestant in one case, run until enough of its runs were undisturbed.

use super::baselines;
use super::contestant::Contestant;
use super::load::DISTURBED;
use super::race::{Case, Run, run_once};
use crate::error::LabError;
use serde_json::{Value, json};

/// So many runs more than wished for are spent on a row that others disturb.
const MORE: usize = 2;

pub struct Row {
    pub name: &'static str,
    pub is_peer: bool,
    pub case: Case,
    /// Bytes: the same for all contestants, but who fares badly has a second chance with those of its baseline.
    pub piece_length: u32,
    pub runs: Vec<Run>,
    /// Why a run came to nothing.
    pub failures: Vec<String>,
}

impl Row {
    /// Runs `repeat` times, and again what was disturbed or failed, within bounds, unless it need not be `calm`.
    pub(crate) fn measure(contestant: &dyn Contestant, case: Case, repeat: usize, calm: bool) -> Self {
        let mut row = Self {
            name: contestant.name(),
            is_peer: contestant.is_peer(),
            case,
            piece_length: case.piece_length(),
            runs: Vec::new(),
            failures: Vec::new(),
        };
        for attempt in 0..repeat + if calm { MORE } else { 0 } {
            let undisturbed = row.runs.iter().filter(|run| run.others <= DISTURBED).count();
            if undisturbed >= repeat || row.failures.len() > 1 {
                break;
            }
            eprintln!("{} {}, run {}", row.name, described(&case), attempt + 1);
            match run_once(contestant, &case, row.piece_length, calm) {
                Ok(run) => row.runs.push(run),
                Err(error) => {
                    eprintln!("{error}");
                    row.failures.push(error.to_string());
                    // What stood still once takes as long to say so again.
                    if matches!(error, LabError::Timeout { .. }) {
                        break;
                    }
                }
            }
        }
        row.second_chance(contestant, calm);
        row
    }

    /// A peer that is slower than it was, in larger pieces, is run in those as well: the better of the two counts.
    fn second_chance(&mut self, contestant: &dyn Contestant, calm: bool) {
        let Some(first) = self.run().map(Run::makespan) else { return };
        let slow = self.is_peer && baselines::is_slow(self.name, &self.case, first);
        if !slow || self.piece_length == baselines::PIECE {
            return;
        }
        eprintln!("{} {}, in pieces of {} KiB", self.name, described(&self.case), baselines::PIECE >> 10);
        match run_once(contestant, &self.case, baselines::PIECE, calm) {
            Ok(run) if run.makespan() < first => {
                (self.runs, self.piece_length) = (vec![run], baselines::PIECE);
            }
            Ok(_) => {}
            Err(error) => self.failures.push(error.to_string()),
        }
    }

    /// The runs that count: the undisturbed, or all when there is none; the quickest first.
    pub(crate) fn counted(&self) -> Vec<&Run> {
        let mut runs: Vec<&Run> = self.runs.iter().filter(|run| run.others <= DISTURBED).collect();
        if runs.is_empty() {
            runs = self.runs.iter().collect();
        }
        runs.sort_by(|one, other| one.makespan().total_cmp(&other.makespan()));
        runs
    }

    /// The median run; of two the slower.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        let runs = self.counted();
        runs.get(runs.len() / 2).copied()
    }

    /// No run was undisturbed.
    #[must_use]
    pub fn disturbed(&self) -> bool {
        self.run().is_some_and(|run| run.others > DISTURBED)
    }

    pub(crate) fn json(&self, yardstick: Option<f64>) -> Value {
        let run = |run: &Run| {
            json!({
                "makespan_seconds": run.makespan(),
                "node_seconds": run.seconds,
                "master_copies": run.master_copies,
                "received_copies_most": run.received_copies,
                "cpu_seconds_per_gb_node": run.cpu_node,
                "cpu_seconds_per_gb_both_sides": run.cpu_both,
                "memory_anonymous_bytes": run.anonymous,
                "duplicate_bytes": run.duplicates,
                "cores_others": run.others,
                "cores_all": run.cores,
            })
        };
        json!({
            "contestant": self.name,
            "nodes": self.case.nodes,
            "mib": self.case.mib,
            "piece_kib": self.piece_length >> 10,
            "mbit": self.case.mbit,
            "http_one_node_seconds": yardstick,
            "disturbed": self.disturbed(),
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

pub(crate) fn described(case: &Case) -> String {
    let nodes = if case.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", case.nodes) };
    match case.mbit {
        Some(mbit) => format!("{nodes}, {} MiB, {mbit} Mbit/s", case.mib),
        None => format!("{nodes}, {} MiB, unlimited link", case.mib),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seconds: f64, others: f64) -> Run {
        Run {
            seconds: vec![seconds / 2.0, seconds],
            master_copies: 1.0,
            received_copies: 1.0,
            cpu_node: 1.0,
            cpu_both: 1.0,
            anonymous: 1.0,
            duplicates: None,
            others,
            cores: 1.0,
        }
    }

    #[test]
    fn a_disturbed_run_counts_only_when_there_is_no_other() {
        let case = Case { nodes: 2, mib: 64, mbit: Some(100) };
        let runs = vec![run(9.0, 0.9), run(7.0, 0.0), run(6.0, 0.1), run(8.0, 0.1)];
        let mut row = Row {
            name: "x",
            is_peer: true,
            case,
            piece_length: case.piece_length(),
            runs,
            failures: Vec::new(),
        };
        assert!((row.run().unwrap().makespan() - 7.0).abs() < 1e-9 && !row.disturbed());
        row.runs.truncate(1);
        assert!((row.run().unwrap().makespan() - 9.0).abs() < 1e-9 && row.disturbed());
        row.runs.clear();
        assert!(row.run().is_none() && !row.disturbed());
    }
}
