//! Where a node is plugged in, as the relay says that passed on its messages: giaddr and option 82 (RFC 3046). The
//! tracker reads it from `dhcp.json` to tell racks apart. No lease depends on it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::Path;
use std::str::FromStr;

use boottorrent_swarm::Mac;
use dhcproto::v4::MessageType;
use serde::{Deserialize, Serialize};

use super::hex;
use super::packet::{Request, code};

/// Bytes of an id that are kept. Switches send a port's name or number and their own MAC, 30 bytes at most; a stranger on
/// the wire may send 255 with each of a million MACs.
pub const MAX_ID: usize = 64;
/// Bytes of a state file that are read: 262,144 leases with the longest ids.
const MAX_STATE: u64 = 128 << 20;

/// Sub-options of option 82 (RFC 3046, 2.0).
const CIRCUIT_ID: u8 = 1;
const REMOTE_ID: u8 = 2;

/// What a relay calls a port (circuit) or itself (remote end): bytes without a common form. Written in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RelayId(Vec<u8>);

impl RelayId {
    /// `None` without a byte or with more than `MAX_ID`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<RelayId> {
        (1..=MAX_ID).contains(&bytes.len()).then(|| RelayId(bytes.to_vec()))
    }
}

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::format(&self.0))
    }
}

impl FromStr for RelayId {
    type Err = String;

    fn from_str(text: &str) -> Result<RelayId, String> {
        let wrong = || format!("\"{text}\" is not 1 to {MAX_ID} bytes in hexadecimal");
        hex::parse(text).and_then(|bytes| RelayId::new(&bytes)).ok_or_else(wrong)
    }
}

impl From<RelayId> for String {
    fn from(id: RelayId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for RelayId {
    type Error = String;

    fn try_from(text: String) -> Result<RelayId, String> {
        text.parse()
    }
}

/// The way of a node's messages. Nothing in it: it is on the master's own wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Origin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub circuit_id: Option<RelayId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<RelayId>,
}

impl Origin {
    fn of(request: &Request) -> Origin {
        let mut origin = Origin {
            relay: Some(request.giaddr).filter(|relay| !relay.is_unspecified()),
            ..Origin::default()
        };
        for (sub_option, value) in sub_options(request) {
            match sub_option {
                CIRCUIT_ID => origin.circuit_id = RelayId::new(value),
                REMOTE_ID => origin.remote_id = RelayId::new(value),
                _ => {}
            }
        }
        origin
    }
}

/// The parts of option 82; one that is cut off ends them.
pub(super) fn sub_options(request: &Request) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = request.option(code::RELAY_AGENT).unwrap_or_default();
    std::iter::from_fn(move || {
        let [sub_option, length, tail @ ..] = rest else { return None };
        let (value, after) = tail.split_at_checked(usize::from(*length))?;
        rest = after;
        Some((*sub_option, value))
    })
}

/// The origins of those that have leases.
#[derive(Debug, Default)]
pub(super) struct Origins {
    by_address: BTreeMap<Ipv4Addr, (Mac, Origin)>,
}

impl Origins {
    /// The node is told that it has the address.
    pub(super) fn acknowledged(&mut self, address: Ipv4Addr, request: &Request) {
        let origin = Origin::of(request);
        let same = self.of(address, request.mac).is_some();
        // A renewal goes straight to the server, past the relay, and so says nothing new (RFC 2131, 4.4.5).
        let renewal = request.kind == MessageType::Request && !request.ciaddr.is_unspecified();
        if origin != Origin::default() {
            self.by_address.insert(address, (request.mac, origin));
        } else if !(same && renewal) {
            self.by_address.remove(&address);
        }
    }

    pub(super) fn of(&self, address: Ipv4Addr, mac: Mac) -> Option<&Origin> {
        self.by_address.get(&address).filter(|(owner, _)| *owner == mac).map(|(_, origin)| origin)
    }

    /// Forgets those without a lease, so that there are never more origins than leases.
    pub(super) fn retain(&mut self, has_lease: impl Fn(Ipv4Addr, Mac) -> bool) {
        self.by_address.retain(|address, (mac, _)| has_lease(*address, *mac));
    }

    /// What an earlier run of this server wrote down.
    pub(super) fn recall(&mut self, told: Vec<Told>) {
        let known = told.into_iter().filter_map(|t| Some((t.address, (t.mac?, t.via?))));
        self.by_address.extend(known);
    }
}

/// A lease in `dhcp.json`, as far as others read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Told {
    pub(crate) address: Ipv4Addr,
    #[serde(default, deserialize_with = "mac")]
    pub(super) mac: Option<Mac>,
    #[serde(default)]
    pub(crate) via: Option<Origin>,
    /// Seconds since 1970.
    #[serde(default)]
    pub(super) booted: Option<u64>,
}

fn mac<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Mac>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Reads the leases of a state file that a DHCP server of this site wrote.
///
/// # Errors
/// There is none, or it is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Told>> {
    #[derive(Deserialize)]
    struct Leases {
        leases: Vec<Told>,
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_STATE).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice::<Leases>(&bytes)?.leases)
}

#[cfg(test)]
mod tests;
