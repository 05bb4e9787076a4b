//! The step before the network where `bt.rescue` asks for it: a shell on each console, or what there is without busybox.
//!
//! Decides when the boot goes on: when a person has been there and left. The drivers of their keyboards come before it.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{Done, Failure, LOOK, Outcome};
use crate::console::{Key, shell};
use crate::report::Report;
use crate::stages::{keys, take_off};
use crate::worker::Boot;
use crate::{clock, mounts};

pub(in crate::stages) const RESCUE: &str = "rescue";
/// Somebody has left it: not again in this boot.
const LEFT_FILE: &str = "rescued";
/// How long a key is waited for at a time.
const WAIT: Duration = Duration::from_secs(60);

pub(in crate::stages) fn is_rescue_due(boot: &Boot) -> bool {
    boot.cmdline.rescue && mounts::kept(LEFT_FILE).is_none()
}

pub(in crate::stages) fn rescue(boot: &mut Boot, _deadline: Duration) -> Outcome {
    if shell::is_there() {
        in_shells(&boot.report)?;
    } else {
        without_shells(boot);
    }
    let _ = mounts::keep(LEFT_FILE, ""); // then the next worker asks again
    Ok(Done::new("left; the boot goes on"))
}

/// Until the first of them is left, which ends the others: nobody may be there to leave them.
fn in_shells(report: &Report) -> Result<(), Failure> {
    let (tell, left) = channel();
    let consoles = report.console_names();
    for console in &consoles {
        let tell = tell.clone();
        shell::open_then(report, console, move |opened| {
            let _ = tell.send(opened); // the boot goes on already
        });
    }
    drop(tell);
    loop {
        match left.recv_timeout(LOOK) {
            Ok(true) => {
                consoles.iter().for_each(|console| shell::end(console));
                return Ok(());
            }
            Ok(false) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new("no console could be given a shell"));
            }
        }
    }
}

fn without_shells(boot: &Boot) {
    let lack = "the bootstrap image has no shell: write busybox = true into [bootstrap]";
    boot.report.note(RESCUE, &format!("{lack}. Enter: go on with the boot   {}", keys()));
    loop {
        match boot.report.key(clock::now() + WAIT) {
            Some(Key::Enter) => return,
            Some(key) => take_off(boot, key),
            None => {}
        }
    }
}

/// The next kernel would take a shell from whoever is in it.
pub(super) fn wait_for_shells(report: &Report) {
    let mut told = false;
    loop {
        let open = shell::consoles();
        if open.is_empty() {
            return;
        }
        if !std::mem::replace(&mut told, true) {
            let names = open.join(", ");
            report.note("kexec", &format!("waits until the shell on {names} is left; others are served"));
        }
        clock::pause(LOOK);
    }
}
