//! The cases whose results stand in the tree, so that a review shows what a change of policy does: the small ones, which a
//! test repeats, in results.txt, the large ones in large.txt. Decides which cases.

use crate::plan::{Fault, FaultKind, Plan, Racks, Report};
use crate::real::measured;
use crate::run;
use std::time::Duration;

const MBIT: u64 = 125_000;
const MIB: u64 = 1 << 20;

/// What the master sent, the greediest rack took in and the most generous one sent out, in images; the longest time of a late node from its own start, in
/// copies at link rate; the error is that of the simulated time against the measured one (real.txt).
const COLUMNS: &str = "case                                    seconds    bound   over   master  twice %   rack    out   late    real  error";

fn small() -> Vec<(String, Plan)> {
    let plan = |nodes| Plan::new(nodes, 64 * MIB, 128 << 10, 100 * MBIT, 1);
    let mut all: Vec<(String, Plan)> =
        [1, 2, 4, 8, 16, 32].map(|n| (format!("{n} nodes"), plan(n))).into_iter().collect();
    let off = |node, s| Fault { node, at: Duration::from_secs(s), kind: FaultKind::PowerCut };
    let faults = vec![off(3, 1), off(7, 2), off(11, 3), off(15, 4)];
    all.push(("20, 4 of them cut off".into(), Plan { faults, ..plan(20) }));
    all.push(("20, 4 of them 2 s late".into(), Plan { late: (4, Duration::from_secs(2)), ..plan(20) }));
    all.push(("16, 2 of them at 20 Mbit/s".into(), Plan { slow: (2, 20 * MBIT), ..plan(16) }));
    all.push(("16, 2 ms apart".into(), Plan { latency: Duration::from_millis(2), ..plan(16) }));
    let racks = Some(Racks { nodes: 8, uplink: 100 * MBIT });
    all.push(("4 racks of 8, uplinks like one node's".into(), Plan { racks, ..plan(32) }));
    all.push(("the same, of one subnet".into(), Plan { racks, told_racks: true, ..plan(32) }));
    let large = Plan { late: (4, Duration::from_secs(2)), total: 256 * MIB, ..plan(20) };
    all.push(("256 MiB: 20, 4 cut off, 4 2 s late".into(), large.lose(4, FaultKind::PowerCut)));
    all
}

fn large() -> Vec<(String, Plan)> {
    let plan = |nodes| Plan::new(nodes, 1024 * MIB, 1 << 20, 1000 * MBIT, 1);
    let late = Plan { late: (20, Duration::from_secs(4)), ..plan(100) };
    let racks = Some(Racks { nodes: 40, uplink: 4000 * MBIT });
    vec![
        ("100 nodes".into(), plan(100)),
        ("100, 20 cut off, 20 of them 4 s late".into(), late.lose(20, FaultKind::PowerCut)),
        ("10 racks of 40, uplinks 10:1".into(), Plan { racks, ..plan(400) }),
        ("the same, of one subnet".into(), Plan { racks, told_racks: true, ..plan(400) }),
        ("1,000 nodes".into(), plan(1000)),
        ("2,000 nodes".into(), plan(2000)),
    ]
}

fn row(name: &str, plan: &Plan) -> String {
    let Report { together, latest, master_copies, duplicates, rack_copies, rack_sent, .. } = run(plan);
    let (seconds, bound) =
        (together.map_or(f64::INFINITY, |m| m.as_secs_f64()), plan.bound_together().as_secs_f64());
    let late = latest.map_or(0.0, |l| l.as_secs_f64() / plan.copy(plan.rate).as_secs_f64());
    let mut line = format!(
        "{name:<38} {seconds:>8.3} {bound:>8.3} {:>6.3} {master_copies:>8.3} {:>8.2} {rack_copies:>6.2} {rack_sent:>6.2} {late:>6.2}",
        seconds / bound,
        duplicates * 100.0
    );
    if let Some(real) = measured(plan) {
        line += &format!(" {real:>7.2} {:>+5.1} %", (seconds / real - 1.0) * 100.0);
    }
    line
}

/// Of each small case: the time of the last of those that started together, its bound, and what links carried.
#[must_use]
pub fn table() -> String {
    let head = "64 MiB in pieces of 128 KiB, links of 100 Mbit/s, 100 ms of start skew, seed 1";
    let rows = small().into_iter().map(|(name, plan)| row(&name, &plan));
    [head.to_owned(), COLUMNS.to_owned()].into_iter().chain(rows).map(|line| line + "\n").collect()
}

/// The same for the large cases, line by line, since they take minutes.
pub fn large_table() -> impl Iterator<Item = String> {
    let head = "1 GiB in pieces of 1 MiB, links of 1 Gbit/s, 100 ms of start skew, seed 1";
    let rows = large().into_iter().map(|(name, plan)| row(&name, &plan));
    [head.to_owned(), COLUMNS.to_owned()].into_iter().chain(rows)
}
