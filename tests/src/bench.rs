//! What `make bench` measures, a module a question. Each prints its own lines; README takes them over by hand.

pub mod sizes;
pub mod swarm;
pub mod fetch;
pub mod boots;
pub mod menu;

use crate::board::aligned;

/// One line of the result: what, measured, what it should be.
pub struct Figure {
    what: String,
    measured: String,
    target: String,
}

impl Figure {
    #[must_use]
    pub fn new(what: impl Into<String>, measured: impl Into<String>, target: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), target: target.into() }
    }
}

#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let mut rows = vec![["figure", "measured", "target"].map(str::to_owned).to_vec()];
    rows.extend(
        figures
            .iter()
            .map(|figure| vec![figure.what.clone(), figure.measured.clone(), figure.target.clone()]),
    );
    aligned(&rows)
}

/// Two places: budgets are kept or broken by tens of kilobytes.
#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
