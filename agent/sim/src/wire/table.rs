//! The rooms on the wire whose results stand in the tree (agent/sim/wire.txt). Decides which.

use super::{Case, Outcome, run, share};

const HEAD: &str =
    "64 MiB in pieces of 128 KiB over smoltcp, links of 100 Mbit/s, 100 ms of start skew, seed 1";
const COLUMNS: &str =
    "case                            complete  seconds    bound   over   master  twice %   again %  dropped";

fn rooms() -> impl Iterator<Item = Case> {
    let sizes = [1, 4, 16, 40, 100].into_iter();
    sizes.flat_map(|nodes| [0, 1_000].map(|lost_ppm| room(nodes, lost_ppm)))
}

pub(super) fn room(nodes: u32, lost_ppm: u32) -> Case {
    Case { piece_length: 128 << 10, lost_ppm, ..Case::new(nodes, 64 << 20, 100_000_000, 1) }
}

/// `again`: what TCP sent a second time, of its payload; `dropped`: frames that found a queue full.
pub(super) fn row(case: &Case, outcome: &Outcome) -> String {
    let (bound, seconds) = (case.bound().as_secs_f64(), outcome.seconds());
    format!(
        "{:<31} {:>8} {seconds:>8.3} {bound:>8.3} {:>6.3} {:>8.3} {:>8.2} {:>9.2} {:>8}",
        format!("{} nodes, {} % of frames lost", case.nodes, f64::from(case.lost_ppm) / 10_000.0),
        outcome.verified,
        seconds / bound,
        share(outcome.master_bytes, case.total),
        100.0 * share(outcome.duplicates, case.total * u64::from(case.nodes)),
        100.0 * share(outcome.retransmitted, outcome.payload),
        outcome.dropped
    )
}

/// Line by line, since the large ones take minutes.
pub fn table() -> impl Iterator<Item = String> {
    let line = |case: Case| match run(&case) {
        Ok(outcome) => row(&case, &outcome),
        Err(e) => format!("{} nodes: {e}", case.nodes),
    };
    [HEAD.to_owned(), COLUMNS.to_owned()].into_iter().chain(rooms().map(line))
}
