//! What `boottorrent-gen` tells the tracker (`tracker.toml`): the torrents of the catalog and who seeds them.
//! Never grows at run time: an info-hash that is not listed here is refused.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use crate::dhcp::config::Network;

/// `tracker.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrackerConfig {
    /// Seconds between two announces of a node. Short, because the first nodes of a room get an almost empty list
    /// and would otherwise wait for the next one; a thousand nodes at 10 s are a hundred packets a second.
    pub interval_seconds: u32,
    /// The master's seed, in every answer to a node that still needs pieces: a seed that waits for its first
    /// connection behind a socket unit cannot announce itself.
    pub seeds: Vec<SocketAddrV4>,
    /// Networks whose nodes have fast links among each other and a scarce one to the rest. Addresses in none of them go by
    /// their first three bytes.
    pub racks: Vec<Network>,
    /// The torrents that are tracked.
    pub torrents: Vec<TrackedTorrent>,
}

/// One torrent of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrackedTorrent {
    /// 40 hexadecimal digits.
    pub info_hash: String,
    /// The image's name, for people.
    pub name: String,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { interval_seconds: 10, seeds: Vec::new(), racks: Vec::new(), torrents: Vec::new() }
    }
}
