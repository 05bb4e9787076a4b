//! The product as a package would install it: which program appears where in a master.
//! Copies nothing: what was built is bound into the master, read-only.

use crate::error::LabError;
use crate::programs;
use std::path::PathBuf;

/// Each program that was built beside the running one, and the agent, with its place in the master.
///
/// # Errors
/// `Machine` when something was not built.
pub fn files() -> Result<Vec<(PathBuf, String)>, LabError> {
    let names = programs::DAEMONS.iter().chain(&[programs::GEN]);
    let mut files: Vec<_> = names.map(|name| (programs::path(name), format!("/usr/sbin/{name}"))).collect();
    files.push((programs::path(programs::CTL), format!("/usr/bin/{}", programs::CTL)));
    files.push((programs::agent(), "/usr/lib/boottorrent/boottorrent-agent".into()));
    match files.iter().find(|(from, _)| !from.is_file()) {
        None => Ok(files),
        Some((from, _)) => {
            Err(LabError::Machine(format!("{} is not built: run `make build`", from.display())))
        }
    }
}
