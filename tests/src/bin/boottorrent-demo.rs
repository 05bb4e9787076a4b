//! `make demo`: nodes PXE-boot over BitTorrent on this machine. Reads the command line, and cleans up whatever happens.

use boottorrent_tests::demo::{self, Plan};
use boottorrent_tests::{interrupt, programs, sweep};
use lexopt::prelude::*;
use std::process::ExitCode;

const HELP: &str = "\
boottorrent-demo [--nodes N] [--os debian|small] [--master-mbit N] [--out DIR]
boottorrent-demo --sweep     remove what killed runs left: namespaces, mounts, control groups

Three nodes PXE-boot Debian 12 over BitTorrent from a master and from one another, on this machine, as root.";

enum Wish {
    Show(Plan),
    Sweep,
    Help,
}

fn wish() -> Result<Wish, lexopt::Error> {
    let out = programs::repository().join("out");
    let mut plan = Plan { nodes: 3, debian: true, master_mbit: 100, out };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => plan.nodes = parser.value()?.parse()?,
            Long("os") => {
                plan.debian = match parser.value()?.to_string_lossy().as_ref() {
                    "debian" => true,
                    "small" => false,
                    other => return Err(format!("--os is debian or small, not {other}").into()),
                }
            }
            Long("master-mbit") => plan.master_mbit = parser.value()?.parse()?,
            Long("out") => plan.out = parser.value()?.into(),
            Long("sweep") => return Ok(Wish::Sweep),
            Short('h') | Long("help") => return Ok(Wish::Help),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Wish::Show(plan))
}

fn main() -> ExitCode {
    match wish() {
        Ok(Wish::Help) => println!("{HELP}"),
        Ok(Wish::Sweep) => sweep::leftovers(),
        Ok(Wish::Show(plan)) => {
            if let Err(error) = interrupt::clean_up_on_signals().and_then(|()| demo::run(&plan)) {
                interrupt::finish_cleaning_up();
                eprintln!("boottorrent-demo: {error}");
                return ExitCode::FAILURE;
            }
        }
        Err(error) => {
            eprintln!("boottorrent-demo: {error}\n{HELP}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
