//! The cases whose results stand in results.txt, so that a review shows what a change of policy does.
//! Decides which cases; small ones, since a test runs them all.

use crate::plan::{Fault, FaultKind, Plan, Racks};
use crate::run;
use std::fmt::Write;
use std::time::Duration;

const MBIT_100: u64 = 12_500_000;
const SIZE: u64 = 64 << 20;
const PIECE: u32 = 256 << 10;

fn cases() -> Vec<(String, Plan)> {
    let plan = |nodes| Plan::new(nodes, SIZE, PIECE, MBIT_100, 1);
    let mut all: Vec<(String, Plan)> =
        [1, 2, 4, 8, 16, 32].map(|n| (format!("{n} nodes"), plan(n))).into_iter().collect();
    let off = |node, s| Fault { node, at: Duration::from_secs(s), kind: FaultKind::PowerCut };
    let faults = vec![off(3, 1), off(7, 2), off(11, 3), off(15, 4)];
    all.push(("20, 4 of them cut off".into(), Plan { faults, ..plan(20) }));
    all.push(("20, 4 of them 2 s late".into(), Plan { late: (4, Duration::from_secs(2)), ..plan(20) }));
    all.push(("16, 2 of them at 20 Mbit/s".into(), Plan { slow: (2, MBIT_100 / 5), ..plan(16) }));
    let racks = Some(Racks { nodes: 8, uplink: MBIT_100 });
    all.push(("4 racks of 8, uplinks like one node's".into(), Plan { racks, ..plan(32) }));
    all
}

/// Of each case: the last node's time over the bound, and what the master and the racks' uplinks carried, in images.
#[must_use]
pub fn table() -> String {
    let mut out = String::from(
        "64 MiB in pieces of 256 KiB, links of 100 Mbit/s, 100 ms of start skew, seed 1\n\
         case                                     over bound   master  twice %  rack\n",
    );
    for (name, plan) in cases() {
        let report = run(&plan);
        let over = report.makespan.map_or(f64::INFINITY, |m| m.as_secs_f64() / plan.bound().as_secs_f64());
        let (master, twice, rack) = (report.master_copies, report.duplicates * 100.0, report.rack_copies);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:<40} {over:>10.3} {master:>8.3} {twice:>8.2} {rack:>5.2}");
    }
    out
}
