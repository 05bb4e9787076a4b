//! `boottorrent-log`: the log service's program.
//! It only parses the command line; `boottorrent_masterd::nodelog` does the work.

use std::process::ExitCode;

use boottorrent_masterd::nodelog;
use boottorrent_masterd::service::{self, Options, Program};

const PROGRAM: Program = Program {
    name: "log",
    purpose: "puts the nodes' stage records into the journal and into its state file",
    keeps_state: false,
    listens: true,
    extra_help: "",
};

fn main() -> ExitCode {
    match Options::parse(&PROGRAM, |_, _| Ok(false)) {
        Ok(options) => service::run(&PROGRAM, options, nodelog::run),
        Err(code) => code,
    }
}
