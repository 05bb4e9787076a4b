//! `boottorrent-sim`: one simulated run, and how far it is from the bound.

use boottorrent_sim::{Plan, Racks, run, table, wire};
use lexopt::prelude::*;
use std::process::ExitCode;

const USAGE: &str = "boottorrent-sim [--nodes N] [--size MiB] [--piece KiB] [--rate Mbit/s] [--master-rate Mbit/s] \
[--seed N] [--runs N] [--rack NODES --uplink Mbit/s] | --table | wire ...";

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "wire") {
        return match wire::command(&mut lexopt::Parser::from_args(words)) {
            Ok(words) => {
                print!("{words}");
                ExitCode::SUCCESS
            }
            Err(e) => {
                eprintln!("boottorrent-sim wire: {e}");
                ExitCode::from(1)
            }
        };
    }
    match arguments() {
        Ok(None) => {
            print!("{}", table());
            ExitCode::SUCCESS
        }
        Ok(Some((plan, runs))) => {
            report(&plan, runs);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("boottorrent-sim: {e}; usage: {USAGE}");
            ExitCode::from(1)
        }
    }
}

fn arguments() -> Result<Option<(Plan, u64)>, lexopt::Error> {
    let mut plan = Plan::new(8, 64 << 20, 256 << 10, 12_500_000, 1);
    let mut runs = 1;
    let mut master_rate = None;
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
            Long("table") => return Ok(None),
            Long("rack") => rack = Some(parser.value()?.parse::<u32>()?).filter(|n| *n > 0),
            Long("uplink") => uplink = Some(parser.value()?.parse::<u64>()? * 125_000),
            Long("runs") => runs = parser.value()?.parse()?,
            Long("help") | Short('h') => return Err(lexopt::Error::from("help")),
            _ => return Err(arg.unexpected()),
        }
    }
    if plan.nodes == 0 || plan.total == 0 || plan.piece_length == 0 || plan.rate == 0 {
        return Err(lexopt::Error::from("nodes, size, piece and rate must be above 0"));
    }
    plan.master_rate = master_rate.unwrap_or(plan.rate);
    plan.racks = rack.map(|nodes| Racks { nodes, uplink: uplink.unwrap_or(plan.rate) });
    Ok(Some((plan, runs)))
}

fn report(plan: &Plan, runs: u64) {
    let bound = plan.bound().as_secs_f64();
    println!("nodes {}, bound {bound:.3} s", plan.nodes);
    for seed in plan.seed..plan.seed + runs {
        let plan = Plan { seed, ..plan.clone() };
        let r = run(&plan);
        let makespan = r.makespan.map_or(f64::INFINITY, |m| m.as_secs_f64());
        println!(
            "seed {seed}: makespan {makespan:.3} s, over the bound {:.3}, master copies {:.3}, rack {:.3}, twice {:.4}, \
             events {}, log {:016x}",
            makespan / bound,
            r.master_copies,
            r.rack_copies,
            r.duplicates,
            r.events,
            r.log_hash
        );
    }
}
