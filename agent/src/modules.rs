//! The node's drivers: loads the modules of the bootstrap image that its hardware asks for, in the order they need.
//!
//! Decides by modalias and the index that boottorrent-pxe made; never reads an ELF file or guesses by device name.

mod glob;
mod index;
mod loader;
mod firmware;
mod watch;

use std::path::Path;

pub(crate) use loader::{Error, Summary};
pub(crate) use watch::Watch;

use loader::Loader;
use watch::Ears;

/// Where the bootstrap image keeps modules and their index.
const FOLDER: &str = "/modules";

/// Loads what the hardware that is present asks for, then what every node needs (`load` lines of the index).
///
/// `report` gets a sentence for each module that failed and each firmware file that was missed. The [`Watch`] that comes
/// back already listens: devices that show up later (USB takes its time) are served by it once it is started.
pub(crate) fn load_for_hardware(report: &mut dyn FnMut(&str)) -> Result<(Summary, Watch), Error> {
    let mut loader = Loader::open(Path::new(FOLDER))?;
    // Listening starts before the walk, so that no device falls between the two.
    let ears = Ears::open();
    let summary = loader.cold_plug(Path::new("/sys"), report);
    Ok((summary, ears.with(loader, report)))
}
