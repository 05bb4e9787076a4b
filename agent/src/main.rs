//! The node's agent: `/init` of the bootstrap image, and off PID 1 a small command line.
//!
//! Decides which of the three faces of the binary is wanted (supervisor, worker, command) and never does their work.

// The files in the order of the flow: process 1, its worker, then the stages of a boot.
mod clock;
mod sys;
mod cmdline;
mod mounts;
mod kmsg;
mod patience;
mod screen;
mod console;
mod report;
mod supervisor;
mod worker;
mod stages;
mod modules;
mod link;
mod lease;
mod tftp;
mod trust;
mod courier;
mod directory;
mod kept;
mod choice;
mod memory;
mod image;
mod download;
mod load;
mod run;
mod linger;
mod handover;
mod fetch;

use std::process::ExitCode;

const USAGE: &str = "\
usage: boottorrent-agent fetch TORRENT --to DIR [option ...]
       boottorrent-agent --version | --help

As process 1 of the bootstrap image it boots the node; see boottorrent-agent(8).
";

fn main() -> ExitCode {
    if std::process::id() == 1 {
        supervisor::main();
    }
    let mut parser = lexopt::Parser::from_env();
    match parser.next() {
        Ok(Some(lexopt::Arg::Value(command))) if command == "fetch" => fetch::main(parser),
        // Started by the supervisor only: without process 1's mounts and consoles it would find nothing to work on.
        Ok(Some(lexopt::Arg::Value(command))) if command == worker::COMMAND && mounts::is_node() => {
            worker::main()
        }
        Ok(Some(lexopt::Arg::Long("version"))) => {
            println!("boottorrent-agent {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Ok(Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h'))) => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        Ok(Some(argument)) => usage(&format!("boottorrent-agent: {}", argument.unexpected())),
        Ok(None) => usage("boottorrent-agent: no command given"),
        Err(error) => usage(&format!("boottorrent-agent: {error}")),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprint!("{problem}\n{USAGE}");
    ExitCode::from(2)
}
