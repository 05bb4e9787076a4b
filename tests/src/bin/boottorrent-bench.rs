//! `make bench` and `make bench-swarm`: print the figures that README shows. Reads the command line, and cleans up
//! whatever happens.

use boottorrent_tests::bench::swarm::newcomer;
use boottorrent_tests::bench::swarm::options::{self, Plan};
use boottorrent_tests::bench::{self, Figure, boots, fetch, menu, sizes, swarm};
use boottorrent_tests::error::LabError;
use boottorrent_tests::interrupt;
use lexopt::prelude::*;
use std::process::ExitCode;

const HELP: &str = "\
boottorrent-bench [--nodes N] [--mbit N] [sizes|one|room|boots|newcomer|menu] ...
boottorrent-bench swarm ...     beside its peers; swarm --help says more

Measures sizes, one node at full speed, a room of nodes on shaped links, boots, a newcomer that nodes with guests
help, and how much later than a busybox shell the menu is up; all of them unless some are named.";

const ALL: [&str; 6] = ["sizes", "one", "room", "boots", "newcomer", "menu"];

enum Wish {
    Figures { questions: Vec<String>, nodes: u8, mbit: u32 },
    Swarm(Plan),
    Help(&'static str),
}

fn wish() -> Result<Wish, lexopt::Error> {
    let (mut questions, mut nodes, mut mbit) = (Vec::new(), 8, 100);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => nodes = parser.value()?.parse()?,
            Long("mbit") => mbit = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(Wish::Help(HELP)),
            // From here on the words are its own.
            Value(question) if question == "swarm" && questions.is_empty() => {
                return Ok(Plan::parse(&mut parser)?.map_or(Wish::Help(options::HELP), Wish::Swarm));
            }
            Value(question) if ALL.iter().any(|known| question == *known) => {
                questions.push(question.to_string_lossy().into_owned());
            }
            other => return Err(other.unexpected()),
        }
    }
    if questions.is_empty() {
        questions = ALL.map(str::to_owned).into();
    }
    Ok(Wish::Figures { questions, nodes, mbit })
}

fn figures(questions: &[String], nodes: u8, mbit: u32) -> Result<(), LabError> {
    // A machine that is busy with something else measures that.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let mut figures = vec![Figure::new("load average when it began", load, "below 0.5")];
    for question in questions {
        eprintln!("measuring: {question}");
        figures.extend(bench::measured(|| match question.as_str() {
            "sizes" => sizes::measure(),
            "one" => fetch::one(),
            "room" => fetch::room(nodes, mbit),
            "newcomer" => newcomer::measure(),
            "boots" => boots::measure(mbit),
            _ => menu::measure(),
        })?);
    }
    println!("{}", bench::table(&figures));
    Ok(())
}

fn answer(wish: Wish) -> Result<(), LabError> {
    match wish {
        Wish::Help(text) => println!("{text}"),
        Wish::Figures { questions, nodes, mbit } => {
            interrupt::clean_up_on_signals()?;
            figures(&questions, nodes, mbit)?;
        }
        Wish::Swarm(plan) => {
            interrupt::clean_up_on_signals()?;
            swarm::measure(&plan)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match wish().map(answer) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            interrupt::finish_cleaning_up();
            eprintln!("boottorrent-bench: {error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("boottorrent-bench: {error}\n{HELP}");
            ExitCode::from(2)
        }
    }
}
