//! [power]: what switches a node on where a magic packet does not.
//! Decides that a command can be run for every node; never runs one.

use super::finding::At;
use super::section::Section;
use crate::ctl::hook;
use serde::{Deserialize, Serialize};

/// Commands, each a program and its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Switches a node on; empty: a magic packet does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wake: Vec<String>,
}

impl Power {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wake.is_empty()
    }
}

pub(crate) fn read(root: &Section<'_>) -> Power {
    let section = root.section("power");
    let wake = section.get_list::<String>("wake");
    for At { value, place } in &wake {
        if let Err(e) = hook::check(value) {
            section.findings().add(place, format!("\"wake\": {e}"), "correct the command");
        }
    }
    if let Some(At { value, place }) = wake.first()
        && value.is_empty()
    {
        let remedy = "write the program first, then its arguments: [\"/usr/local/sbin/wake\", \"{mac}\"]";
        section.findings().add(place, "\"wake\" begins with an empty word", remedy);
    }
    section.finish();
    Power { wake: wake.into_iter().map(|word| word.value).collect() }
}
