//! `make bench-swarm`: BootTorrent and its peers in one run, over the same links, from one start. Decides which races are
//! run and prints them; a race itself knows nothing of goals.

mod group;
pub(crate) mod load;
mod ports;
pub mod contestant;
mod ours;
mod yardsticks;
mod libtorrent;
mod clients;
pub mod race;
mod baselines;
pub mod row;
mod report;
mod goals;
mod crowd;
pub mod newcomer;
pub mod options;

use crate::error::LabError;
use crate::programs;
use contestant::{ALL, Contestant};
use options::{Part, Plan};
use race::Case;
use report::Report;
use row::Row;

/// Who says something about raw speed: the others were told by 100 Mbit/s.
const RAW: [&str; 6] = ["ours", "http", "lt-tcp", "lt-hp", "aria2", "rqbit"];
/// Enough for every node to have 50 peers, slow enough for two cores.
const MEMORY: Case = Case { nodes: goals::MEMORY_PEERS + 1, mib: 64, mbit: Some(15) };
const RAW_CASE: Case = Case { nodes: 1, mib: 1024, mbit: None };

/// # Errors
/// When a contestant is not there or a result can't be written; a race that fails is a row that says so.
pub fn measure(plan: &Plan) -> Result<(), LabError> {
    let chosen: Vec<&dyn Contestant> = ALL.into_iter().filter(|who| plan.takes(who.name())).collect();
    let about = chosen.iter().map(|who| Ok((who.name(), who.about()?))).collect::<Result<_, LabError>>()?;
    let mut report = Report::new(about, programs::repository().join("out/bench-swarm.json"));
    println!("{}", report.contestants());
    for part in &plan.parts {
        match part {
            Part::Race => race(plan, &chosen, &mut report)?,
            Part::Raw => {
                for who in chosen.iter().filter(|who| RAW.contains(&who.name())) {
                    report.add(Row::measure(*who, RAW_CASE, plan.repeat.max(plan.repeat_raw), plan.calm))?;
                }
                println!("One node, unlimited link, into memory, verified:\n");
                println!("{}", report.table(|row| row.case == RAW_CASE));
            }
            Part::Memory => {
                for who in chosen.iter().filter(|who| who.name() == "ours") {
                    report.add(Row::measure(*who, MEMORY, 1, plan.calm))?;
                }
                println!("Memory with {} peers:\n", goals::MEMORY_PEERS);
                println!("{}", report.table(|row| row.case == MEMORY));
            }
            Part::Crowd => println!("{}", super::table(&crowd::measure(plan.calm)?)),
        }
    }
    let check = report.check();
    if !check.is_empty() {
        println!("Whether the peers are what they were:\n\n{check}");
    }
    println!("{}", super::table(&goals::figures(&report)));
    Ok(())
}

/// Every contestant in each case; before them the yardstick of the link.
fn race(plan: &Plan, chosen: &[&dyn Contestant], report: &mut Report) -> Result<(), LabError> {
    for case in plan.cases() {
        let one = Case { nodes: 1, ..case };
        let known = |report: &Report, who: &str, case: Case| {
            report.rows.iter().any(|row| row.name == who && row.case == case)
        };
        let http = ALL.into_iter().find(|who| who.name() == "http");
        let runners = http.map(|who| (who, one)).into_iter().chain(chosen.iter().map(|who| (*who, case)));
        for (who, case) in runners {
            if !known(report, who.name(), case) {
                report.add(Row::measure(who, case, plan.repeat, plan.calm))?;
            }
        }
        let title = row::described(&case);
        println!("{title}; a row with a star was disturbed:\n");
        println!("{}", report.table(|row| row.case == case || (row.name == "http" && row.case == one)));
    }
    Ok(())
}
