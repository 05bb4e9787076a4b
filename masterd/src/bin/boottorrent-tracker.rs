//! `boottorrent-tracker`: the tracker's program.
//! It only parses the command line; `boottorrent_masterd::tracker` does the work.

use std::process::ExitCode;

use boottorrent_masterd::service::{self, Options, Program};
use boottorrent_masterd::tracker;

const PROGRAM: Program = Program {
    name: "tracker",
    purpose: "tells the nodes of one another (BitTorrent over UDP, BEP 15), for the catalog's images only",
    keeps_state: false,
    listens: true,
    extra_help: "",
};

fn main() -> ExitCode {
    match Options::parse(&PROGRAM, |_, _| Ok(false)) {
        Ok(options) => service::run(&PROGRAM, options, tracker::run),
        Err(code) => code,
    }
}
