//! Ctrl-C in the middle of a demo or bench: nothing may stay behind.
//! Children die with their starter's thread; this removes what the kernel would keep.

use crate::error::LabError;
use crate::sweep;
use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP remove all that this process made, and end it. To be called before any
/// thread is started: they inherit the mask.
///
/// # Errors
/// `Machine` when the kernel refuses the mask.
pub fn clean_up_on_signals() -> Result<(), LabError> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().map_err(|error| LabError::Machine(format!("cannot block signals: {error}")))?;
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            eprintln!("\n{signal}: cleaning up");
            sweep::own();
            std::process::exit(128 + signal as i32);
        }
    });
    Ok(())
}

/// To be called before the program ends with an error: when that is only what cleaning up looks like from the main
/// thread, cleaning up comes first and ends the program.
pub fn finish_cleaning_up() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}
