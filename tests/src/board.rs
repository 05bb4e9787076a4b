//! The nodes' reports as the master's log service keeps them (`log.json`), and the table that people read.
//! Takes every fact from there: what a console says is for people, not for this table.

use serde_json::Value;
use std::fmt::Write as _;

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub stage: String,
    /// `begin`, `end`, `fail` or `note`.
    pub event: String,
    pub seconds: f64,
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub mac: String,
    pub name: String,
    pub address: String,
    pub steps: Vec<Step>,
    pub bytes_master: u64,
    pub bytes_peers: u64,
}

impl Report {
    /// Seconds that a stage took, once it has ended well.
    #[must_use]
    pub fn seconds(&self, stage: &str) -> Option<f64> {
        self.steps
            .iter()
            .rev()
            .find(|step| step.stage == stage && step.event == "end")
            .map(|step| step.seconds)
    }

    /// All failures that the node has told, with their sentences.
    pub fn failures(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.event == "fail")
    }

    /// The stage that the node is in or has ended last.
    #[must_use]
    pub fn last(&self) -> Option<&Step> {
        self.steps.last()
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Board {
    pub nodes: Vec<Report>,
}

impl Board {
    #[must_use]
    pub fn new(state: &Value) -> Self {
        let entries = state.get("nodes").and_then(Value::as_object);
        let mut nodes: Vec<Report> =
            entries.into_iter().flatten().map(|(mac, node)| report(mac, node)).collect();
        nodes.sort_by(|one, other| one.mac.cmp(&other.mac));
        Self { nodes }
    }

    #[must_use]
    pub fn node(&self, mac: &str) -> Option<&Report> {
        self.nodes.iter().find(|node| node.mac.eq_ignore_ascii_case(mac))
    }

    /// Stages in the order in which the nodes went through them.
    fn stages(&self) -> Vec<&str> {
        let mut stages: Vec<&str> = Vec::new();
        for step in self.nodes.iter().flat_map(|node| &node.steps) {
            if step.event == "end" && !stages.contains(&step.stage.as_str()) {
                stages.push(&step.stage);
            }
        }
        stages
    }

    /// One line a node; `last` gives the last column by MAC.
    #[must_use]
    pub fn table(&self, last: &dyn Fn(&str) -> String) -> String {
        let stages = self.stages();
        let mut rows = vec![["node", "MAC", "address"].map(str::to_owned).to_vec()];
        rows[0].extend(stages.iter().map(|stage| format!("{stage} s")));
        rows[0].extend(["master MB", "peers MB", "first line of the OS"].map(str::to_owned));
        for node in &self.nodes {
            let mut row = vec![node.name.clone(), node.mac.clone(), node.address.clone()];
            let time =
                |stage: &&str| node.seconds(stage).map_or("-".into(), |seconds| format!("{seconds:.2}"));
            row.extend(stages.iter().map(time));
            row.extend([megabytes(node.bytes_master), megabytes(node.bytes_peers), last(&node.mac)]);
            rows.push(row);
        }
        aligned(&rows)
    }
}

fn report(mac: &str, node: &Value) -> Report {
    let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |key: &str| node.get(key).and_then(Value::as_u64).unwrap_or(0);
    let steps = node.get("stages").and_then(Value::as_array);
    Report {
        mac: mac.to_owned(),
        name: text("name"),
        address: text("address"),
        steps: steps.into_iter().flatten().map(step).collect(),
        bytes_master: number("bytes_master"),
        bytes_peers: number("bytes_peers"),
    }
}

fn step(step: &Value) -> Step {
    let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Step {
        stage: text("stage"),
        event: text("event"),
        seconds: step.get("seconds").and_then(Value::as_f64).unwrap_or(0.0),
        text: text("cause"),
    }
}

#[must_use]
pub fn megabytes(bytes: u64) -> String {
    // Only for the eye: a tenth of a megabyte is enough.
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    let megabytes = bytes as f64 / 1e6;
    format!("{megabytes:.1}")
}

/// Columns as wide as their widest cell; the last one is free.
#[must_use]
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let pad = if column + 1 == row.len() { 0 } else { widths[column] + 2 };
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:pad$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_node_and_a_column_a_stage() {
        let state = serde_json::json!({ "nodes": { "52:54:00:00:00:01": {
            "name": "n01", "address": "10.0.0.11", "bytes_master": 2_000_000, "bytes_peers": 500_000,
            "stages": [
                { "stage": "lease", "event": "begin", "seconds": 0.0 },
                { "stage": "lease", "event": "end", "seconds": 1.25 },
                { "stage": "download", "event": "fail", "seconds": 3.0, "cause": "no peer" },
            ],
        } } });
        let board = Board::new(&state);
        let node = board.node("52:54:00:00:00:01").unwrap();
        assert_eq!(node.failures().next().unwrap().text, "no peer");
        let table = board.table(&|_| "BT-OS-UP".into());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(
            lines[0],
            "node  MAC                address    lease s  master MB  peers MB  first line of the OS"
        );
        assert_eq!(lines[1], "n01   52:54:00:00:00:01  10.0.0.11  1.25     2.0        0.5       BT-OS-UP");
    }
}
