//! The node's drivers: loads the modules of the bootstrap image that its hardware asks for, in the order they need.
//!
//! Decides by modalias and the index that boottorrent-pxe made; never reads an ELF file or guesses by device name.

mod glob;
mod index;
mod loader;
mod firmware;
mod watch;

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

pub(crate) use loader::{Error, Summary};

use crate::clock;
use loader::Loader;
use watch::Ears;

/// Where the bootstrap image keeps modules and their index.
const FOLDER: &str = "/modules";
/// How often whoever waits hears which module it is.
const LOOK: Duration = Duration::from_millis(250);

/// The name of the module that is being put into the kernel.
type Current = Arc<Mutex<String>>;

/// Loading that is under way.
pub(crate) struct Loading {
    outcome: Receiver<Summary>,
    current: Current,
}

/// Loads what the hardware that is present asks for, then what every node needs (`load` lines of the index), then serves
/// devices that show up later (USB takes its time), all on a thread of its own: a driver may hang in its probe, and
/// nobody can take it back from there.
///
/// `report` gets a sentence for each module that failed, each firmware file that was missed and each later driver.
pub(crate) fn start(mut report: impl FnMut(&str) + Send + 'static) -> Result<Loading, Error> {
    let current = Current::default();
    let mut loader = Loader::open(Path::new(FOLDER), Arc::clone(&current))?;
    let (tell, outcome) = channel();
    let work = move || {
        // Listening starts before the walk, so that no device falls between the two.
        let ears = Ears::open();
        let summary = loader.cold_plug(Path::new("/sys"), &mut report);
        let watch = ears.with(loader, &mut report);
        let _ = tell.send(summary); // nobody waits any more: the devices are served all the same
        watch.run(&mut report);
    };
    thread::Builder::new().name("modules".into()).spawn(work).map_err(Error::Thread)?;
    Ok(Loading { outcome, current })
}

impl Loading {
    /// Waits for the devices that are here to have their drivers.
    pub(crate) fn wait(self, deadline: Duration, mut waiting: impl FnMut(&str)) -> Result<Summary, Error> {
        loop {
            match self.outcome.recv_timeout(LOOK) {
                Ok(summary) => return Ok(summary),
                // A thread that ends without a word has panicked, and that ends this process too.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if clock::now() >= deadline {
                return Err(Error::Hangs(current));
            }
            waiting(&current);
        }
    }
}
