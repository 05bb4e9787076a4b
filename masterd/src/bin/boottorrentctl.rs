//! `boottorrentctl`: shows what nodes and services do, and wakes nodes.
//! `boottorrent_masterd::ctl` does all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    boottorrent_masterd::ctl::main()
}
