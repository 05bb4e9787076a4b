//! `boottorrent-tftp`: the TFTP server's program.
//! It only parses the command line; `boottorrent_masterd::tftp` does the work.

use std::process::ExitCode;

use boottorrent_masterd::service::{self, Options, Program};
use boottorrent_masterd::tftp;

const PROGRAM: Program = Program {
    name: "tftp",
    purpose: "serves the store's boot files by TFTP, read only",
    keeps_state: false,
    listens: true,
    extra_help: "",
};

fn main() -> ExitCode {
    match Options::parse(&PROGRAM, |_, _| Ok(false)) {
        Ok(options) => service::run(&PROGRAM, options, tftp::run),
        Err(code) => code,
    }
}
