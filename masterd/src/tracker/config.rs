//! What `boottorrent-gen` tells the tracker (`tracker.toml`): the torrents of the catalog and who seeds them.
//! Never grows at run time: an info-hash that is not listed here is refused.

use std::net::{Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

use crate::dhcp::config::Network;
use crate::dhcp::origin::RelayId;

/// Racks with a name: each newcomer is held against them, and a thousand take microseconds.
pub const MAX_RACKS: usize = 4096;

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
    /// Networks whose nodes have fast links among each other and a scarce one to the rest, for those in no named rack.
    /// Addresses in none of them go by their first three bytes.
    pub racks: Vec<Network>,
    /// Racks that have a name, the first that fits first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub named_racks: Vec<RackConfig>,
    /// The torrents that are tracked.
    pub torrents: Vec<TrackedTorrent>,
}

/// A rack: by the addresses of its nodes, or by the relay that their DHCP messages come through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RackConfig {
    pub name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<Ipv4Addr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub circuit_ids: Vec<RelayId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_ids: Vec<RelayId>,
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
        Self {
            interval_seconds: 10,
            seeds: Vec::new(),
            named_racks: Vec::new(),
            racks: Vec::new(),
            torrents: Vec::new(),
        }
    }
}
