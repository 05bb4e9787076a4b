//! `boottorrent-sim wire`: one run's figures for people. Decides words and units.

use super::{Case, Error, Outcome, run, share};
use lexopt::prelude::*;
use std::fmt::Write;
use std::time::Duration;

const USAGE: &str = "wire [--nodes N] [--mib N] [--mbit N] [--loss PERCENT] [--seed N] [--piece KiB] [--latency MICROSECONDS] \
[--queue KiB] [--buffer KiB] | wire --table";

/// What is wanted.
pub enum Asked {
    Run(Case),
    Table,
}

/// Reads what stands behind `wire`.
///
/// # Errors
/// An option that is not known, or a value that can't be.
pub fn asked(parser: &mut lexopt::Parser) -> Result<Asked, lexopt::Error> {
    let mut case = Case::new(10, 64 << 20, 100_000_000, 1);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("nodes") => case.nodes = parser.value()?.parse()?,
            Long("mib") => case.total = parser.value()?.parse::<u64>()? << 20,
            Long("mbit") => case.rate = parser.value()?.parse::<u64>()? * 1_000_000,
            Long("loss") => {
                let percent = parser.value()?.parse::<f64>()?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err("--loss is a share of 0 to 100 percent".into());
                }
                case.lost_ppm = (percent * 10_000.0).round() as u32;
            }
            Long("seed") => case.seed = parser.value()?.parse()?,
            Long("piece") => case.piece_length = parser.value()?.parse::<u32>()? << 10,
            Long("latency") => case.latency = Duration::from_micros(parser.value()?.parse()?),
            Long("queue") => case.queue = parser.value()?.parse::<u64>()? << 10,
            Long("buffer") => case.socket_buffer = parser.value()?.parse::<usize>()? << 10,
            Long("table") => return Ok(Asked::Table),
            Long("help") | Short('h') => return Err(USAGE.into()),
            _ => return Err(arg.unexpected()),
        }
    }
    if case.rate == 0 || case.socket_buffer < 2 << 10 {
        return Err("--mbit begins at 1, --buffer at 2".into());
    }
    Ok(Asked::Run(case))
}

/// Runs the case and says what came of it.
///
/// # Errors
/// A case that can't be.
pub fn told(case: &Case) -> Result<String, Error> {
    run(case).map(|outcome| report(case, &outcome))
}

fn report(case: &Case, outcome: &Outcome) -> String {
    let bound = case.bound().as_secs_f64();
    let makespan = outcome.seconds();
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "nodes {}, complete and verified {}, makespan {makespan:.3} s, TCP's bound {bound:.3} s, over it {:.3}",
        case.nodes,
        outcome.verified,
        makespan / bound
    );
    let _ = writeln!(
        out,
        "master copies {:.3}, twice {:.3} %, retransmitted {:.3} %",
        share(outcome.master_bytes, case.total),
        100.0 * share(outcome.duplicates, case.total * u64::from(case.nodes)),
        100.0 * share(outcome.retransmitted, outcome.payload)
    );
    let digest: String = outcome.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let _ = writeln!(
        out,
        "frames {}, lost {}, dropped {}, digest {digest}",
        outcome.frames, outcome.lost, outcome.dropped
    );
    out
}
