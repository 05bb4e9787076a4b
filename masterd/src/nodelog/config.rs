//! What `boottorrent-gen` tells the log service (`log.toml`).
//! Never decides what a record means: that is the format's own matter.

use std::net::Ipv4Addr;

use boottorrent_swarm::Mac;
use serde::{Deserialize, Serialize};

use crate::dhcp::config::mac_text;

/// `log.toml`. Everything has a default, so that an empty file is a working one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogConfig {
    /// Nodes that are remembered at once; the one that was silent for longest makes room.
    pub max_nodes: usize,
    /// The nodes that the site names.
    #[serde(rename = "node", skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NamedNode>,
}

/// A node of the site: its name is nobody else's, whatever a record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedNode {
    #[serde(with = "mac_text")]
    pub mac: Mac,
    pub name: String,
    /// What the site's DHCP server gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { max_nodes: 4096, nodes: Vec::new() }
    }
}
