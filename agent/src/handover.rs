//! The last step: goodbye to the swarm, the last record, and the next kernel.
//!
//! Decides nothing. Returns only if the kernel refused.

use std::fmt;
use std::time::Duration;

use boottorrent_swarm::record::Params;
use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};

use crate::report::Report;

#[derive(Debug)]
pub(crate) struct Refused(Errno);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel refused to start the next one: {}", self.0.desc())
    }
}

impl std::error::Error for Refused {}

/// Starts the loaded kernel.
pub(crate) fn kexec(report: &Report, took: Duration, params: Params, text: &str) -> Refused {
    nix::unistd::sync();
    report.last("kexec", took, params, text);
    let Err(error) = reboot(RebootMode::RB_KEXEC);
    Refused(error)
}
