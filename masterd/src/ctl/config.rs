//! What `boottorrent-gen` tells `boottorrentctl` of the site (`ctl.toml`).
//! Decides nothing; everything in it has been checked by gen.

use std::net::Ipv4Addr;

use boottorrent_swarm::Mac;
use serde::{Deserialize, Serialize};

use crate::dhcp::config::{Network, mac_text};
use crate::site::Power;

/// `ctl.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CtlConfig {
    pub site: String,
    /// The network card of the boot network.
    pub interface: String,
    /// The master's address there.
    pub address: Ipv4Addr,
    /// The daemons that the site switches on, as in `boottorrent-<name>`.
    pub services: Vec<String>,
    /// Where nodes are; empty where DHCP is off.
    #[serde(default)]
    pub networks: Vec<Network>,
    #[serde(default, skip_serializing_if = "Power::is_empty")]
    pub power: Power,
    #[serde(default, rename = "node", skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<ListedNode>,
}

/// A node that the site names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedNode {
    #[serde(with = "mac_text")]
    pub mac: Mac,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// What it boots without a menu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
}
