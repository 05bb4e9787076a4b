//! `make bench`: prints the figures that README shows. Reads the command line, and cleans up whatever happens.

use boottorrent_tests::bench::{self, Figure, boots, fetch, sizes};
use boottorrent_tests::error::LabError;
use boottorrent_tests::interrupt;
use lexopt::prelude::*;
use std::process::ExitCode;

const HELP: &str = "\
boottorrent-bench [--nodes N] [--mbit N] [sizes|one|room|boots] ...

Measures sizes, one node at full speed, a room of nodes on shaped links, and boots; all of them unless some are named.";

const ALL: [&str; 4] = ["sizes", "one", "room", "boots"];

struct Wish {
    questions: Vec<String>,
    nodes: u8,
    mbit: u32,
}

fn wish() -> Result<Option<Wish>, lexopt::Error> {
    let mut wish = Wish { questions: Vec::new(), nodes: 8, mbit: 100 };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("nodes") => wish.nodes = parser.value()?.parse()?,
            Long("mbit") => wish.mbit = parser.value()?.parse()?,
            Short('h') | Long("help") => return Ok(None),
            Value(question) if ALL.iter().any(|known| question == *known) => {
                wish.questions.push(question.to_string_lossy().into_owned());
            }
            other => return Err(other.unexpected()),
        }
    }
    if wish.questions.is_empty() {
        wish.questions = ALL.map(str::to_owned).into();
    }
    Ok(Some(wish))
}

fn answer(wish: &Wish) -> Result<(), LabError> {
    interrupt::clean_up_on_signals()?;
    // A machine that is busy with something else measures that.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let mut figures = vec![Figure::new("load average when it began", load, "below 0.5")];
    for question in &wish.questions {
        eprintln!("measuring: {question}");
        figures.extend(match question.as_str() {
            "sizes" => sizes::measure()?,
            "one" => fetch::one()?,
            "room" => fetch::room(wish.nodes, wish.mbit)?,
            _ => boots::measure(wish.mbit)?,
        });
    }
    println!("{}", bench::table(&figures));
    Ok(())
}

fn main() -> ExitCode {
    match wish() {
        Ok(None) => println!("{HELP}"),
        Ok(Some(wish)) => {
            if let Err(error) = answer(&wish) {
                interrupt::finish_cleaning_up();
                eprintln!("boottorrent-bench: {error}");
                return ExitCode::FAILURE;
            }
        }
        Err(error) => {
            eprintln!("boottorrent-bench: {error}\n{HELP}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
