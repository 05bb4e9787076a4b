//! The DHCP server of a BootTorrent master.

use std::process::ExitCode;

use boottorrent_masterd::dhcp;
use boottorrent_masterd::service::{self, Options, Program};

const PROGRAM: Program = Program {
    name: "dhcp",
    purpose: "gives the nodes of a site their addresses, options and boot files",
    keeps_state: true,
    listens: true,
    extra_help: "",
};

fn main() -> ExitCode {
    match Options::parse(&PROGRAM, |_, _| Ok(false)) {
        Ok(options) => service::run(&PROGRAM, options, dhcp::serve),
        Err(exit) => exit,
    }
}
