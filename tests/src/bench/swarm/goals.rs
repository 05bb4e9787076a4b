//! What the product has promised of its swarm, beside what was measured. A goal that nothing here measured is left out.

use super::race::Run;
use super::report::Report;
use super::row::{Row, described};
use crate::bench::Figure;

/// Times one plain HTTP copy to one node: for images that are large, for rooms in which rarest-first has its floor, and
/// for images so small that the beginning counts.
const LARGE: f64 = 1.05;
const FLOOR: f64 = 1.08;
const SMALL: f64 = 1.15;
const SMALL_MIB: u32 = 64;
const MASTER_COPIES: f64 = 1.10;
/// Of the bytes that a room needs.
const TWICE: f64 = 0.005;
/// CPU seconds for each GB: of a node among sixteen at 100 Mbit/s, and of both sides at raw speed.
const NODE_CPU: f64 = 3.0;
const RAW_CPU: f64 = 2.0;
/// Raw speed over plain HTTP's, and over the best peer's.
const RAW_HTTP: f64 = 1.2;
const RAW_PEER: f64 = 1.6;
/// Bytes beyond the image, with this many peers.
const MEMORY: f64 = 16e6;
pub(crate) const MEMORY_PEERS: u8 = 50;

pub(crate) fn figures(report: &Report) -> Vec<Figure> {
    let ours = report.rows.iter().filter(|row| row.name == "ours");
    let noted = |row: &Row, figure: Figure| {
        let words = if row.disturbed() { " (disturbed by others)" } else { "" };
        Figure { measured: figure.measured + words, ..figure }
    };
    let all = |row: &Row| row.run().map_or_else(Vec::new, |run| of(report, row, run));
    ours.flat_map(|row| all(row).into_iter().map(move |figure| noted(row, figure))).collect()
}

fn of(report: &Report, row: &Row, run: &Run) -> Vec<Figure> {
    let what = described(&row.case);
    if row.case.mbit.is_none() {
        return raw(report, row, run);
    }
    if row.case.nodes > MEMORY_PEERS {
        let measured = format!("{:.1} MB", run.anonymous / 1e6);
        return vec![judged(
            format!("{what}: memory beyond the image"),
            measured,
            "at most 16 MB",
            run.anonymous <= MEMORY,
        )];
    }
    let mut figures = Vec::new();
    if let Some(yardstick) = report.yardstick(row) {
        let (times, goal) = (run.makespan() / yardstick, goal(row));
        let target = format!("at most {goal}");
        figures.push(judged(
            format!("{what}: last node over HTTP to one"),
            format!("{times:.3}"),
            target,
            times <= goal,
        ));
    }
    let rivals = || same_case(report, row).filter(|other| other.is_peer || other.name == "udpcast");
    if let Some((name, best)) = least(rivals(), Run::makespan) {
        // Who came to no end is no proof of anything.
        let lost: Vec<&str> = rivals().filter(|row| row.run().is_none()).map(|row| row.name).collect();
        let lost = if lost.is_empty() { String::new() } else { format!(", failed: {}", lost.join(", ")) };
        let measured = format!("{:.2} s, {name} {best:.2} s{lost}", run.makespan());
        figures.push(judged(
            format!("{what}: before every peer and multicast"),
            measured,
            "less",
            run.makespan() < best,
        ));
    }
    if row.case.nodes >= 4 {
        let measured = format!("{:.3} copies", run.master_copies);
        let kept = run.master_copies <= MASTER_COPIES;
        figures.push(judged(format!("{what}: master's upload"), measured, "at most 1.10", kept));
    }
    if let Some(twice) = run.duplicates {
        let share = twice / row.case.bytes() / f64::from(row.case.nodes);
        let (measured, kept) = (format!("{:.2} %", share * 100.0), share <= TWICE);
        figures.push(judged(format!("{what}: received twice"), measured, "at most 0.5 %", kept));
    }
    if row.case.nodes == 16 && row.case.mbit == Some(100) {
        let best = least(same_case(report, row).filter(|other| other.is_peer), |run| run.cpu_node);
        let beside = best.map_or(String::new(), |(name, cpu)| format!(", {name} {cpu:.2}"));
        let kept = run.cpu_node <= NODE_CPU && best.is_none_or(|(_, cpu)| run.cpu_node < cpu);
        let measured = format!("{:.2} s/GB{beside}", run.cpu_node);
        figures.push(judged(
            format!("{what}: CPU of a node"),
            measured,
            "at most 3.0, below every peer",
            kept,
        ));
    }
    figures
}

fn raw(report: &Report, row: &Row, run: &Run) -> Vec<Figure> {
    let what = described(&row.case);
    let rate = |run: &Run| row.case.bytes() / 1e6 / run.makespan();
    let mut figures = Vec::new();
    let http = same_case(report, row).find(|other| other.name == "http").and_then(Row::run);
    if let Some(http) = http {
        let times = rate(run) / rate(http);
        let measured = format!("{times:.2} ({:.0} MB/s, http {:.0})", rate(run), rate(http));
        figures.push(judged(format!("{what}: times HTTP"), measured, "at least 1.2", times >= RAW_HTTP));
    }
    if let Some((name, seconds)) = least(same_case(report, row).filter(|other| other.is_peer), Run::makespan)
    {
        let times = seconds / run.makespan();
        let measured = format!("{times:.2} ({name} {:.0} MB/s)", row.case.bytes() / 1e6 / seconds);
        figures.push(judged(
            format!("{what}: times the best peer"),
            measured,
            "at least 1.6",
            times >= RAW_PEER,
        ));
    }
    let measured = format!("{:.2} s/GB", run.cpu_both);
    figures.push(judged(
        format!("{what}: CPU of both sides"),
        measured,
        "at most 2.0",
        run.cpu_both <= RAW_CPU,
    ));
    figures
}

fn goal(row: &Row) -> f64 {
    match row.case {
        case if case.mib <= SMALL_MIB => SMALL,
        case if (8..=20).contains(&case.nodes) => FLOOR,
        _ => LARGE,
    }
}

fn same_case<'a>(report: &'a Report, row: &'a Row) -> impl Iterator<Item = &'a Row> {
    report.rows.iter().filter(move |other| other.case == row.case && other.name != row.name)
}

/// Who has the least of something.
fn least<'a>(rows: impl Iterator<Item = &'a Row>, of: impl Fn(&Run) -> f64) -> Option<(&'static str, f64)> {
    rows.filter_map(|row| Some((row.name, of(row.run()?)))).min_by(|one, other| one.1.total_cmp(&other.1))
}

fn judged(what: String, measured: String, target: impl AsRef<str>, kept: bool) -> Figure {
    let word = if kept { "kept" } else { "MISSED" };
    Figure::new(what, measured, format!("{}: {word}", target.as_ref()))
}
