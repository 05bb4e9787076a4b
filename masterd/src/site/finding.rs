//! What is wrong in a site folder, and where: one finding a mistake, all of them collected.
//! Decides how a finding reads; never decides whether something is a mistake.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line of a file, or a file or folder as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    path: Arc<Path>,
    line: Option<usize>,
}

impl Place {
    #[must_use]
    pub fn file(path: &Path) -> Place {
        Place { path: path.into(), line: None }
    }

    #[must_use]
    pub fn line(path: &Arc<Path>, line: usize) -> Place {
        Place { path: Arc::clone(path), line: Some(line) }
    }

    /// The number alone, for a message that already names the file.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self.line {
            Some(line) => format!("line {line}"),
            None => self.path.display().to_string(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

/// One mistake: `place: what; remedy`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.place, self.what, self.remedy)
    }
}

/// Collects findings from every step of the check, so that none hides another.
#[derive(Debug, Default)]
pub struct Findings(RefCell<Vec<Finding>>);

impl Findings {
    #[must_use]
    pub fn new() -> Findings {
        Findings::default()
    }

    pub fn add(&self, place: &Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.borrow_mut().push(Finding { place: place.clone(), what: what.into(), remedy: remedy.into() });
    }

    /// How many there are so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All findings in the order of files and lines, each once.
    #[must_use]
    pub fn into_sorted(self) -> Vec<Finding> {
        let mut all = self.0.into_inner();
        all.sort();
        all.dedup();
        all
    }
}

/// A value together with the line that it stands on, so that later checks can point at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

/// The file's name for people: as they wrote the folder, joined with what follows.
pub(crate) fn join(folder: &Path, relative: &str) -> PathBuf {
    folder.join(relative).components().collect()
}

/// The known name that `wrong` was probably meant to be.
pub(crate) fn nearest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let tolerance = (wrong.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(&wrong.to_lowercase(), name), name))
        .filter(|(d, _)| *d <= tolerance)
        .min()
        .map(|(_, name)| name)
}

/// Edits between two words (Levenshtein), a swap of neighbours counted as one.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_nonsense_is_not() {
        let known = ["interface", "address", "name", "lease-time"];
        assert_eq!(nearest("interfce", known), Some("interface"));
        assert_eq!(nearest("adress", known), Some("address"));
        assert_eq!(nearest("anme", known), Some("name"));
        assert_eq!(nearest("Name", known), Some("name"));
        assert_eq!(nearest("lease_time", known), Some("lease-time"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn findings_come_in_order_of_lines() {
        let path: Arc<Path> = Path::new("b.toml").into();
        let findings = Findings::new();
        findings.add(&Place::line(&path, 10), "ten", "x");
        findings.add(&Place::line(&path, 9), "nine", "x");
        findings.add(&Place::line(&path, 9), "nine", "x");
        findings.add(&Place::file(Path::new("a")), "whole", "y");
        let text: Vec<String> = findings.into_sorted().iter().map(Finding::to_string).collect();
        assert_eq!(text, ["a: whole; y", "b.toml:9: nine; x", "b.toml:10: ten; x"]);
    }
}
