//! `boottorrent-sim`: one simulated run, and how far it is from the bound.

use boottorrent_sim::{FaultKind, Plan, Racks, large_table, run, table, wire};
use lexopt::prelude::*;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "boottorrent-sim [--nodes N] [--size MiB] [--piece KiB] [--rate Mbit/s] [--master-rate Mbit/s] \
[--seed N] [--runs N] [--spread ms] [--rack NODES --uplink Mbit/s] [--near BITS] [--told] [--latency us] [--late N --delay ms] \
[--cut N | --reset N] [--strangers N] [--idle] | --table | --large | wire ...";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "wire") {
        return match on_the_wire(&mut lexopt::Parser::from_args(words)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                eprintln!("boottorrent-sim wire: {e}");
                ExitCode::from(1)
            }
        };
    }
    match arguments() {
        Ok(asked) => {
            match &asked {
                Asked::Table => print!("{}", table()),
                Asked::Large => large_table().for_each(|line| println!("{line}")),
                Asked::Runs { plan, runs, lost } => report(plan, *runs, *lost),
            }
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("boottorrent-sim: {e}; usage: {USAGE}");
            ExitCode::from(1)
        }
    }
}

fn on_the_wire(parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    match wire::asked(parser)? {
        wire::Asked::Table => wire::table().for_each(|line| println!("{line}")),
        wire::Asked::Run(case) => {
            print!("{}", wire::told(&case).map_err(|e| lexopt::Error::Custom(e.into()))?);
        }
    }
    Ok(())
}

enum Asked {
    Table,
    Large,
    Runs { plan: Box<Plan>, runs: u64, lost: Option<(u32, FaultKind)> },
}

fn arguments() -> Result<Asked, lexopt::Error> {
    let mut plan = Plan::new(8, 64 << 20, 128 << 10, 12_500_000, 1);
    let (mut runs, mut lost, mut master_rate) = (1, None, None);
    let (mut rack, mut uplink) = (None, None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("nodes") => plan.nodes = parser.value()?.parse()?,
            Long("size") => plan.total = parser.value()?.parse::<u64>()? << 20,
            Long("piece") => plan.piece_length = parser.value()?.parse::<u32>()? << 10,
            Long("rate") => plan.rate = parser.value()?.parse::<u64>()? * 125_000,
            Long("master-rate") => master_rate = Some(parser.value()?.parse::<u64>()? * 125_000),
            Long("seed") => plan.seed = parser.value()?.parse()?,
            Long("spread") => plan.spread = Duration::from_millis(parser.value()?.parse()?),
            Long("rack") => rack = Some(parser.value()?.parse::<u32>()?).filter(|n| *n > 0),
            Long("uplink") => uplink = Some(parser.value()?.parse::<u64>()? * 125_000),
            Long("late") => plan.late.0 = parser.value()?.parse()?,
            Long("delay") => plan.late.1 = Duration::from_millis(parser.value()?.parse()?),
            Long("cut") => lost = Some((parser.value()?.parse()?, FaultKind::PowerCut)),
            Long("reset") => lost = Some((parser.value()?.parse()?, FaultKind::Exit)),
            Long("strangers") => plan.strangers = parser.value()?.parse()?,
            Long("near") => plan.near_prefix = Some(parser.value()?.parse()?),
            Long("latency") => plan.latency = Duration::from_micros(parser.value()?.parse()?),
            Long("told") => plan.told_racks = true,
            Long("idle") => plan.samples = true,
            Long("runs") => runs = parser.value()?.parse()?,
            Long("table") => return Ok(Asked::Table),
            Long("large") => return Ok(Asked::Large),
            Long("help") | Short('h') => return Err(lexopt::Error::from("help")),
            _ => return Err(arg.unexpected()),
        }
    }
    if plan.nodes == 0 || plan.total == 0 || plan.piece_length == 0 || plan.rate == 0 {
        return Err(lexopt::Error::from("nodes, size, piece and rate must be above 0"));
    }
    if plan.late.0 > plan.nodes {
        return Err(lexopt::Error::from("more late nodes than nodes"));
    }
    plan.master_rate = master_rate.unwrap_or(plan.rate);
    plan.racks = rack.map(|nodes| Racks { nodes, uplink: uplink.unwrap_or(plan.rate) });
    Ok(Asked::Runs { plan: Box::new(plan), runs, lost })
}

fn report(plan: &Plan, runs: u64, lost: Option<(u32, FaultKind)>) {
    let bound = plan.bound_together().as_secs_f64();
    println!("nodes {}, bound {bound:.3} s", plan.nodes);
    for seed in plan.seed..plan.seed + runs {
        let mut plan = Plan { seed, ..plan.clone() };
        if let Some((count, kind)) = lost {
            plan = plan.lose(count, kind);
        }
        let r = run(&plan);
        let seconds = |d: Option<Duration>| d.map_or(f64::INFINITY, |m| m.as_secs_f64());
        println!(
            "seed {seed}: makespan {:.3} s, over the bound {:.3}, master copies {:.3}, rack {:.3} in and {:.3} out, twice {:.4}, \
             events {}, log {:016x}",
            seconds(r.together),
            seconds(r.together) / bound,
            r.master_copies,
            r.rack_copies,
            r.rack_sent,
            r.duplicates,
            r.events,
            r.log_hash
        );
        if plan.late.0 > 0 {
            let copy = plan.copy(plan.rate).as_secs_f64();
            println!("    late nodes: {:.3} of a copy's time at most", seconds(r.latest) / copy);
        }
        if plan.samples {
            let i = r.idle;
            println!(
                "    down: busy {}, awaits {}, not offered {}, nothing new {}; up: busy {}, not taken {}, not needed {}",
                i.receiving, i.awaiting, i.not_offered, i.nothing_new, i.sending, i.not_taken, i.not_needed
            );
        }
    }
}
