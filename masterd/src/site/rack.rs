//! [[rack]]: nodes with fast links among each other and a scarce one to the rest, as the maintainer names them.
//! Decides that no address and no port is of two racks; never asks who is in one.

use super::Name;
use super::dhcp::Dhcp;
use super::finding::{At, Findings, Place};
use super::section::Section;
use super::value::Spelt;
use crate::dhcp::config::Network;
use crate::dhcp::origin::{MAX_ID, RelayId};
use crate::tracker::config::MAX_RACKS;
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// One [[rack]]. A node is in it by its address, or by all of the other three that are given.
#[derive(Debug, Clone)]
pub struct Rack {
    pub place: Place,
    pub name: String,
    pub networks: Vec<At<Network>>,
    pub relays: Vec<At<Ipv4Addr>>,
    pub circuit_ids: Vec<At<RelayId>>,
    pub remote_ids: Vec<At<RelayId>>,
}

// The sentence says so.
const _: () = assert!(MAX_ID == 64);

impl Spelt for RelayId {
    const KIND: &'static str = "what the relay sends, as text or as \"hex:0004\", of at most 64 bytes (`boottorrent-dhcp` shows it in dhcp.json)";

    fn read(text: &str) -> Result<RelayId, String> {
        match text.strip_prefix("hex:") {
            Some(digits) => digits.parse(),
            None => RelayId::new(text.as_bytes())
                .ok_or_else(|| format!("{} bytes are not 1 to {MAX_ID}", text.len())),
        }
    }
}

pub(crate) fn read(root: &Section<'_>, dhcp: Option<&Dhcp>) -> Vec<Rack> {
    let findings = root.findings();
    let mut names: HashMap<String, Place> = HashMap::new();
    let mut racks: Vec<Rack> = Vec::new();
    for section in root.sections("rack", "[[rack]]") {
        let name = section.need::<Name>("name", "\"row-3\"");
        let rack = read_rack(section, name.as_ref().map(|n| n.value.0.clone()).unwrap_or_default(), dhcp);
        if let Some(At { value, place }) = name {
            let key = value.0.to_ascii_lowercase();
            match names.get(&key) {
                Some(earlier) => {
                    let remedy = format!("change it here or in {}", earlier.in_words());
                    findings.add(&place, format!("two racks have the name {key}"), remedy);
                }
                None => {
                    names.insert(key, place);
                }
            }
        }
        racks.extend(rack);
    }
    if let Some(rack) = racks.get(MAX_RACKS) {
        let what = format!("there are {} racks", racks.len());
        findings.add(&rack.place, what, format!("at most {MAX_RACKS} are supported; split the site"));
    }
    check_networks(&racks, findings);
    check_ports(&racks, findings);
    racks
}

fn read_rack(section: Section<'_>, name: String, dhcp: Option<&Dhcp>) -> Option<Rack> {
    let findings = section.findings();
    let before = findings.len();
    let rack = Rack {
        place: section.place().clone(),
        name,
        networks: section.get_list::<Network>("network"),
        relays: section.get_list::<Ipv4Addr>("relay"),
        circuit_ids: section.get_list::<RelayId>("circuit-id"),
        remote_ids: section.get_list::<RelayId>("remote-id"),
    };
    section.finish();
    if findings.len() == before && rack.networks.is_empty() && !rack.asks_dhcp() {
        let remedy = "add network = \"10.0.3.0/24\", or relay =, circuit-id = or remote-id =";
        findings.add(&rack.place, format!("{} says of no node that it is in it", rack.in_words()), remedy);
    }
    if rack.asks_dhcp() && dhcp.is_none() {
        let remedy = "write network = with the addresses of its nodes";
        findings.add(
            &rack.place,
            format!(
                "{} goes by relays, which only this master's DHCP would see, and that is off",
                rack.in_words()
            ),
            remedy,
        );
    }
    Some(rack)
}

impl Rack {
    /// For messages; without a name it has one mistake already.
    fn in_words(&self) -> String {
        if self.name.is_empty() { "this [[rack]]".into() } else { format!("the rack {}", self.name) }
    }

    fn asks_dhcp(&self) -> bool {
        !(self.relays.is_empty() && self.circuit_ids.is_empty() && self.remote_ids.is_empty())
    }
}

fn check_networks(racks: &[Rack], findings: &Findings) {
    let all: Vec<&At<Network>> = racks.iter().flat_map(|rack| &rack.networks).collect();
    for (i, at) in all.iter().enumerate() {
        for earlier in &all[..i] {
            let (a, b) = (at.value, earlier.value);
            if a.contains(b.address()) || b.contains(a.address()) {
                let remedy = format!("change it, or what {} says", earlier.place.in_words());
                findings.add(&at.place, format!("the racks' networks {a} and {b} overlap"), remedy);
            }
        }
    }
}

/// Two racks that ask for the same things and have one of each in common. Where the one asks for less than the other
/// (a relay's other ports, say), the first in the file takes precedence.
fn check_ports(racks: &[Rack], findings: &Findings) {
    fn shared<T: PartialEq>(a: &[At<T>], b: &[At<T>]) -> bool {
        a.is_empty() && b.is_empty() || a.iter().any(|x| b.iter().any(|y| x.value == y.value))
    }
    let asking: Vec<&Rack> = racks.iter().filter(|rack| rack.asks_dhcp()).collect();
    for (i, rack) in asking.iter().enumerate() {
        let twin = asking[..i].iter().find(|earlier| {
            shared(&rack.relays, &earlier.relays)
                && shared(&rack.circuit_ids, &earlier.circuit_ids)
                && shared(&rack.remote_ids, &earlier.remote_ids)
        });
        if let Some(earlier) = twin {
            let what = format!("the racks {} and {} are behind the same port", rack.name, earlier.name);
            let remedy = format!(
                "change relay =, circuit-id = or remote-id = here or in {}",
                earlier.place.in_words()
            );
            findings.add(&rack.place, what, remedy);
        }
    }
}
