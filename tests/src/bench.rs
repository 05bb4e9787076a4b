//! What `make bench` measures, a module a question. Each prints its own lines; README takes them over by hand.

pub mod sizes;
pub mod swarm;
pub mod fetch;
pub mod boots;
pub mod menu;

use crate::board::aligned;
use crate::error::LabError;
use swarm::load::{DISTURBED, Load};

/// One line of the result: what, measured, what it should be.
pub struct Figure {
    what: String,
    measured: String,
    target: String,
    /// Cores that others used while it was measured.
    others: Option<f64>,
}

impl Figure {
    #[must_use]
    pub fn new(what: impl Into<String>, measured: impl Into<String>, target: impl Into<String>) -> Self {
        Self { what: what.into(), measured: measured.into(), target: target.into(), others: None }
    }
}

/// Measures, once more if others disturbed it, and says beside each figure what they did.
///
/// # Errors
/// Those of what is measured.
pub fn measured(question: impl Fn() -> Result<Vec<Figure>, LabError>) -> Result<Vec<Figure>, LabError> {
    let once = || {
        let load = Load::now();
        question().map(|figures| (figures, load.since().others))
    };
    let (mut figures, mut others) = once()?;
    if others > DISTURBED {
        let again = once()?;
        if again.1 < others {
            (figures, others) = again;
        }
    }
    figures.iter_mut().for_each(|figure| figure.others = Some(others));
    Ok(figures)
}

#[must_use]
pub fn table(figures: &[Figure]) -> String {
    let head = ["figure", "measured", "target", "others"].map(str::to_owned).to_vec();
    let row = |f: &Figure| {
        let others = f.others.map_or(String::new(), |cores| format!("{cores:.2} cores"));
        vec![f.what.clone(), f.measured.clone(), f.target.clone(), others]
    };
    let mut rows: Vec<Vec<String>> = std::iter::once(head).chain(figures.iter().map(row)).collect();
    if figures.iter().all(|f| f.others.is_none()) {
        rows.iter_mut().for_each(|row| row.truncate(3));
    }
    aligned(&rows)
}

/// Two places: budgets are kept or broken by tens of kilobytes.
#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
