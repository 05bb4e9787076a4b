//! A shell on one console, where the bootstrap image has busybox: asked of process 1, whose child it is, and waited for.
//!
//! Decides nothing: who stands at the console has the machine. Never waits for it in the thread that draws.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::report::Report;
use crate::{clock, mounts};

/// Where a bootstrap image has it, if it has it.
pub(crate) const BUSYBOX: &str = "/bin/busybox";
/// Where process 1 hears who wants one: a line, `<console>` or `<console> <columns> <rows>`. It answers with a sentence
/// if there is none, and hangs up when it has ended. `<console> end` ends one.
pub(crate) const SOCKET: &str = "/run/boottorrent/shell";
pub(crate) const END: &str = "end";
/// The consoles that have one, a line each: its name and the shell's process.
pub(crate) const FILE: &str = "shells";

/// How soon an end is seen that nobody tells.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) fn is_there() -> bool {
    Path::new(BUSYBOX).is_file()
}

/// The consoles that have one now.
pub(crate) fn consoles() -> Vec<String> {
    let kept = mounts::kept(FILE).unwrap_or_default();
    kept.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// Gives the console to a shell until the shell ends.
pub(crate) fn open(report: &Report, console: &str) {
    open_then(report, console, |_| {});
}

/// The same; `then` hears of the end, and whether there was a shell at all.
pub(crate) fn open_then(report: &Report, console: &str, then: impl FnOnce(bool) + Send + 'static) {
    report.give_up_console(console);
    let (own, name) = (report.clone(), console.to_owned());
    let size = report.console_size(console);
    let waiting = std::thread::Builder::new().name("shell".into()).spawn(move || {
        let lack = run(&name, size);
        own.take_back_console(&name);
        if let Some(lack) = &lack {
            own.note("shell", &format!("no shell on {name}: {lack}"));
        }
        then(lack.is_none());
    });
    if let Err(error) = waiting {
        report.take_back_console(console);
        report.note("shell", &format!("no shell on {console}: {error}"));
    }
}

/// Leaves alone what an earlier worker gave to a shell that is still there.
pub(crate) fn resume(report: &Report) {
    let own = report.console_names();
    for console in consoles().iter().filter(|name| own.contains(name)) {
        open(report, console);
    }
}

/// Ends the shell on that console.
pub(crate) fn end(console: &str) {
    let asked =
        UnixStream::connect(SOCKET).and_then(|mut to| to.write_all(format!("{console} {END}\n").as_bytes()));
    let _ = asked; // then whoever sits there leaves it
}

/// Returns when it has ended; why there was none, if so.
fn run(console: &str, size: Option<(u16, u16)>) -> Option<String> {
    let size = size.map(|(columns, rows)| format!(" {columns} {rows}")).unwrap_or_default();
    let asked = || -> io::Result<String> {
        let mut stream = UnixStream::connect(SOCKET)?;
        stream.write_all(format!("{console}{size}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match asked() {
        Ok(answer) if answer.is_empty() => {
            // Process 1 hangs up as well when it replaces itself: then the shell is still there.
            while consoles().iter().any(|open| open == console) {
                clock::pause(LOOK);
            }
            None
        }
        Ok(answer) => Some(answer),
        Err(error) => Some(format!("process 1 does not answer: {error}")),
    }
}
