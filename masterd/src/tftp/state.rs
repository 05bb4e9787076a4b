//! What the TFTP server tells about itself: counters and the last transfers, for `tftp.json`.
//! Decides nothing.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::limits::RECENT;

/// `tftp.json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct State {
    pub(super) active: usize,
    pub(super) requests: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    /// Of completed transfers, on the wire without headers.
    pub(super) bytes: u64,
    pub(super) warnings: BTreeMap<&'static str, u64>,
    /// The newest last.
    pub(super) recent: VecDeque<Finished>,
}

/// A transfer that is over.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finished {
    pub(super) client: String,
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) block_size: u16,
    pub(super) window: u16,
    pub(super) repeats: u64,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

impl State {
    pub(super) fn finished(&mut self, transfer: Finished) {
        if transfer.failure.is_none() {
            self.completed += 1;
            self.bytes += transfer.bytes;
        } else {
            self.failed += 1;
        }
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(transfer);
    }

    pub(super) fn line(&self) -> String {
        format!("{} transfers now, {} done, {} failed", self.active, self.completed, self.failed)
    }
}
