//! The engine without firmware: programs in namespaces on shaped links, one node at full speed and a room at 100 Mbit/s.
//! The races are those of `bench-swarm`, with the product alone in them.

use super::Figure;
use super::swarm::contestant::{ALL, Contestant};
use super::swarm::race::{Case, run_once};
use crate::error::LabError;

/// What 1448-byte segments leave of an Ethernet link.
const GOODPUT: f64 = 1448.0 / 1514.0;

fn ours() -> Result<&'static dyn Contestant, LabError> {
    let ours = ALL.into_iter().find(|who| who.name() == "ours");
    ours.ok_or_else(|| LabError::Machine("the product is no contestant".into()))
}

/// One GiB to one node over an unlimited link.
///
/// # Errors
/// When a program fails or a copy is false.
pub fn one() -> Result<Vec<Figure>, LabError> {
    let case = Case { nodes: 1, mib: 1024, mbit: None };
    let run = run_once(ours()?, &case, case.piece_length(), true)?;
    let rate = case.bytes() / 1e6 / run.makespan();
    Ok(vec![
        Figure::new("one node, unlimited link, verified", format!("{rate:.0} MB/s"), "at least 400 MB/s"),
        Figure::new("  CPU of the node", format!("{:.2} s per GB", run.cpu_node), ""),
        Figure::new("  memory beyond the image", format!("{:.1} MB", run.anonymous / 1e6), "at most 24 MB"),
    ])
}

/// So many nodes at so many Mbit/s, all started at once.
///
/// # Errors
/// As `one`.
pub fn room(nodes: u8, mbit: u32) -> Result<Vec<Figure>, LabError> {
    let case = Case { nodes, mib: 64, mbit: Some(mbit) };
    let run = run_once(ours()?, &case, case.piece_length(), true)?;
    let makespan = run.makespan();
    let line = case.bytes() * 8.0 / (f64::from(mbit) * 1e6);
    let (times, times_goodput) = (makespan / line, makespan / line * GOODPUT);
    let what = format!("{nodes} nodes at {mbit} Mbit/s");
    Ok(vec![
        Figure::new(
            format!("{what}, last node over one copy at line rate"),
            format!("{times:.2} ({makespan:.1} s; {times_goodput:.2} of TCP's goodput)"),
            "below 1.5",
        ),
        Figure::new(
            format!("{what}, master's upload"),
            format!("{:.2} copies", run.master_copies),
            "below 1.5",
        ),
        Figure::new(
            "  largest memory beyond the image",
            format!("{:.1} MB", run.anonymous / 1e6),
            "at most 24 MB",
        ),
        Figure::new(
            "  received twice by all nodes",
            run.duplicates.map_or("-".into(), |bytes| format!("{:.1} MB", bytes / 1e6)),
            "",
        ),
    ])
}
