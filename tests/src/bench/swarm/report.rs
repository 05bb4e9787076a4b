//! The results as people and programs read them: tables, and JSON that is written anew after each row, so that a run
//! that is broken off has left what it measured.

use super::baselines;
use super::row::Row;
use crate::board::aligned;
use crate::error::LabError;
use serde_json::json;
use std::path::PathBuf;

/// All rows, in the order in which they were measured, and who the contestants are.
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    about: Vec<(&'static str, String)>,
    file: PathBuf,
}

impl Report {
    pub(crate) fn new(about: Vec<(&'static str, String)>, file: PathBuf) -> Self {
        Self { rows: Vec::new(), about, file }
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<(), LabError> {
        self.rows.push(row);
        let rows: Vec<_> = self.rows.iter().map(|row| row.json(self.yardstick(row))).collect();
        let about: serde_json::Map<_, _> =
            self.about.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        let text =
            serde_json::to_string_pretty(&json!({ "contestants": about, "rows": rows })).unwrap_or_default();
        let folder = self.file.parent().unwrap_or(&self.file);
        std::fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
        std::fs::write(&self.file, text + "\n").map_err(LabError::io("write", &self.file))
    }

    /// Seconds of one plain HTTP copy to one node, over the same link in this run.
    pub(crate) fn yardstick(&self, row: &Row) -> Option<f64> {
        let same =
            |other: &&Row| other.name == "http" && other.case == super::race::Case { nodes: 1, ..row.case };
        Some(self.rows.iter().find(same)?.run()?.makespan())
    }

    pub(crate) fn contestants(&self) -> String {
        let rows: Vec<Vec<String>> =
            self.about.iter().map(|(name, text)| vec![(*name).to_owned(), text.clone()]).collect();
        aligned(&rows)
    }

    /// The rows that `choose` takes.
    pub(crate) fn table(&self, choose: impl Fn(&Row) -> bool) -> String {
        let head = [
            "contestant",
            "nodes",
            "MiB",
            "Mbit/s",
            "last s",
            "(all)",
            "x http to 1",
            "MB/s",
            "median s",
            "master copies",
            "most received",
            "CPU s/GB node",
            "both sides",
            "anon MB",
            "twice MB",
            "others",
            "cores",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.rows.iter().filter(|row| choose(row)).map(|row| self.line(row)));
        aligned(&rows)
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let case = row.case;
        let mut line = vec![
            row.name.to_owned(),
            case.nodes.to_string(),
            case.mib.to_string(),
            case.mbit.map_or("-".into(), |mbit| mbit.to_string()),
        ];
        let Some(run) = row.run() else {
            line.push("failed".to_owned());
            return line;
        };
        let times = |yardstick: f64| format!("{:.3}", run.makespan() / yardstick);
        let all: Vec<String> = row.runs.iter().map(|run| format!("{:.2}", run.makespan())).collect();
        let mark = if row.disturbed() { "*" } else { "" };
        line.extend([
            format!("{:.2}{mark}", run.makespan()),
            format!("({})", all.join(" ")),
            self.yardstick(row).map_or("-".into(), times),
            format!("{:.1}", case.bytes() / 1e6 / run.makespan()),
            format!("{:.2}", run.median()),
            format!("{:.3}", run.master_copies),
            format!("{:.2}", run.received_copies),
            format!("{:.2}", run.cpu_node),
            format!("{:.2}", run.cpu_both),
            format!("{:.1}", run.anonymous / 1e6),
            run.duplicates.map_or("-".into(), |bytes| format!("{:.2}", bytes / 1e6)),
            format!("{:.2}", run.others),
            format!("{:.2}", run.cores),
        ]);
        line
    }

    /// Whether the peers are what they were; empty when nothing here was measured before.
    pub(crate) fn check(&self) -> String {
        let mut rows = Vec::new();
        for row in &self.rows {
            let verdict = row.run().and_then(|run| baselines::verdict(row.name, &row.case, run.makespan()));
            if let Some(verdict) = verdict {
                let pieces = format!("{} KiB pieces", row.piece_length >> 10);
                rows.push(vec![row.name.to_owned(), super::row::described(&row.case), pieces, verdict]);
            }
        }
        aligned(&rows)
    }
}
