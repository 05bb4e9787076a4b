//! `boottorrent-ra`: the router advertiser's program.
//! It only parses the command line; `boottorrent_masterd::ra` does the work.

use std::process::ExitCode;

use boottorrent_masterd::ra;
use boottorrent_masterd::service::{self, Options, Program};

const PROGRAM: Program = Program {
    name: "ra",
    purpose: "answers IPv6 router solicitations with \"no router here\", so that firmware does not wait for one",
    keeps_state: false,
    listens: false,
    extra_help: "",
};

fn main() -> ExitCode {
    match Options::parse(&PROGRAM, |_, _| Ok(false)) {
        Ok(options) => service::run(&PROGRAM, options, ra::run),
        Err(code) => code,
    }
}
