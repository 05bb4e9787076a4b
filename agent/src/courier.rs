//! After a break of the network: asks the master until it answers, and has it told what it may have missed.
//!
//! Decides that the master is within reach again. Nobody waits for it: it is a thread of its own, and one is enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock;
use crate::report::Report;
use crate::tftp;
use crate::trust::MAX_SIGNATURE;

/// A small file that every master has.
const QUESTION: &str = "catalog.minisig";
/// One question, with its own repeats; the next begins anew.
const PATIENCE: Duration = Duration::from_secs(10);
/// After a question that could not even be asked.
const PAUSE: Duration = Duration::from_secs(1);

/// A handle; of all copies one is on its way at most.
#[derive(Clone, Default)]
pub(crate) struct Courier(Arc<AtomicBool>);

impl Courier {
    /// Goes after `rest`, unless one is on its way already: that one will take along what is said until then.
    pub(crate) fn send(&self, report: &Report, rest: Duration) {
        if self.0.swap(true, Ordering::SeqCst) {
            return;
        }
        let (own, voice) = (self.clone(), report.clone());
        let thread = std::thread::Builder::new().name("courier".into());
        let sent = thread.spawn(move || {
            clock::pause(rest);
            while !is_answered(&voice) {
                clock::pause(PAUSE);
            }
            own.0.store(false, Ordering::SeqCst);
            voice.heard();
        });
        if sent.is_err() {
            // The next stage that hears of the master repeats what was missed.
            self.0.store(false, Ordering::SeqCst);
        }
    }
}

fn is_answered(report: &Report) -> bool {
    let Some(master) = report.master() else { return false };
    let until = clock::now() + PATIENCE;
    match tftp::fetch(master, QUESTION, MAX_SIGNATURE, until, &mut |_, _| {}) {
        Err(tftp::Error::Silent { .. } | tftp::Error::Io(_)) => false,
        // A refusal is an answer, too.
        Ok(_) | Err(_) => true,
    }
}
