//! A shell on one console, where the bootstrap image has busybox.
//!
//! Decides nothing: who stands at the console has the machine. Never waits for it in the thread that draws.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::SigSet;

use crate::report::Report;

/// Where a bootstrap image has it, if it has it.
const BUSYBOX: &str = "/bin/busybox";

pub(crate) fn is_there() -> bool {
    Path::new(BUSYBOX).is_file()
}

/// Gives the console to a shell until the shell ends.
pub(crate) fn open(report: &Report, console: &str) {
    report.give_up_console(console);
    let (own, name) = (report.clone(), console.to_owned());
    let waiting = std::thread::Builder::new().name("shell".into()).spawn(move || {
        let ended = run(&name);
        own.take_back_console(&name);
        if let Err(error) = ended {
            own.say(&format!("the shell did not start: {error}"));
        }
    });
    if let Err(error) = waiting {
        report.take_back_console(console);
        report.say(&format!("the shell did not start: {error}"));
    }
}

fn run(console: &str) -> io::Result<()> {
    let terminal = OpenOptions::new().read(true).write(true).open(format!("/dev/{console}"))?;
    let own = |terminal: &std::fs::File| terminal.try_clone().map(Stdio::from);
    let kind = if super::is_screen(console) { "linux" } else { "vt100" };
    // A child inherits the mask, and a shell that can't be interrupted is no shell.
    let mask = SigSet::thread_get_mask()?;
    SigSet::empty().thread_set_mask()?;
    // A session of its own with this terminal: job control and Ctrl-C work, and not on us.
    let child = Command::new(BUSYBOX)
        .args(["setsid", "-c", BUSYBOX, "sh", "-l"])
        .env("TERM", kind)
        .env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin")
        .env("HOME", "/")
        .stdin(own(&terminal)?)
        .stdout(own(&terminal)?)
        .stderr(own(&terminal)?)
        .spawn();
    mask.thread_set_mask()?;
    child?.wait().map(drop)
}
