//! The log's core for the fuzz targets (tests/fuzz): a datagram in, the table of nodes out. Opens no socket of the
//! service; no program uses it.

use std::net::Ipv4Addr;

use boottorrent_swarm::Time;

use super::core::Log;
use super::journal::Journal;
use super::nodes::Arrival;

/// A log without its socket.
#[derive(Debug)]
pub struct Probe {
    log: Log,
    journal: Journal,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe { log: Log::default(), journal: Journal::open() }
    }
}

impl Probe {
    /// Whether the datagram was taken; with no more than `room` nodes in the table.
    pub fn datagram(&mut self, now: Time, from: Ipv4Addr, datagram: &[u8], room: usize) -> bool {
        let arrival = Arrival { now, unix_time: now.0 / 1_000_000, from };
        self.log.datagram(arrival, datagram, room, &self.journal).is_ok()
    }

    /// Nodes in the table.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.log.nodes.len()
    }

    /// The table as `log.json` has it, and as a restarted service writes it again after reading that.
    ///
    /// # Errors
    /// What was written cannot be read.
    pub fn saved_and_read(&self) -> Result<(String, String), serde_json::Error> {
        let saved = serde_json::to_string(&self.log.nodes)?;
        let read: super::nodes::Nodes = serde_json::from_str(&saved)?;
        let again = serde_json::to_string(&read)?;
        Ok((saved, again))
    }
}
