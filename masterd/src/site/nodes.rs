//! [[node]] and the folders nodes/<name>/, whose files are laid over a node's image.
//! Decides that names, MACs and addresses are each one node's; never packs an overlay.

use super::dhcp::{Dhcp, hosts_of, read_options};
use super::finding::{At, Findings, Place, nearest};
use super::section::Section;
use super::{Name, general};
use crate::dhcp::config::RawOption;
use boottorrent_swarm::{Mac, template};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Nodes of one site: each costs a signed file in the store and a reservation that the DHCP server walks.
const MAX_NODES: usize = 65_536;

/// One [[node]].
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    pub mac: Mac,
    pub name: String,
    pub address: Option<Ipv4Addr>,
    /// The OS that it boots without a menu.
    pub os: Option<At<String>>,
    pub cmdline: String,
    pub options: Vec<RawOption>,
    /// The folder nodes/<name>.
    pub overlay: Option<PathBuf>,
}

struct Draft {
    mac: Option<At<Mac>>,
    name: Option<At<Name>>,
    address: Option<At<Ipv4Addr>>,
    node: Option<Node>,
}

pub(crate) fn read(
    root: &Section<'_>,
    dir: &Path,
    dhcp: Option<&Dhcp>,
    master: Option<&At<Ipv4Addr>>,
) -> Vec<Node> {
    let findings = root.findings();
    let drafts: Vec<Draft> =
        root.sections("node", "[[node]]").into_iter().map(|s| read_node(s, dir, dhcp, master)).collect();
    if drafts.len() > MAX_NODES {
        let what = format!("there are {} nodes", drafts.len());
        findings.add(root.place(), what, format!("at most {MAX_NODES} are supported; split the site"));
    }
    let macs: Vec<_> = drafts.iter().filter_map(|d| d.mac.as_ref()).collect();
    once(&macs, |m| m.to_string(), "MAC", findings);
    let names: Vec<_> = drafts.iter().filter_map(|d| d.name.as_ref()).collect();
    once(&names, |n| n.0.to_ascii_lowercase(), "name", findings);
    let addresses: Vec<_> = drafts.iter().filter_map(|d| d.address.as_ref()).collect();
    once(&addresses, Ipv4Addr::to_string, "address", findings);
    let known: Vec<&str> = names.iter().map(|n| n.value.0.as_str()).collect();
    check_folders(dir, &known, findings);
    drafts.into_iter().filter_map(|d| d.node).collect()
}

/// Every key at most once; told at its second place.
fn once<T>(all: &[&At<T>], key: impl Fn(&T) -> String, kind: &str, findings: &Findings) {
    let mut first = std::collections::HashMap::new();
    for at in all {
        let text = key(&at.value);
        match first.get(&text) {
            None => {
                first.insert(text, &at.place);
            }
            Some(earlier) => {
                let what = format!("two nodes have the {kind} {text}");
                findings.add(&at.place, what, format!("change it here or in {}", earlier.in_words()));
            }
        }
    }
}

fn read_node(section: Section<'_>, dir: &Path, dhcp: Option<&Dhcp>, master: Option<&At<Ipv4Addr>>) -> Draft {
    let findings = section.findings();
    let mac = section.need::<Mac>("mac", "\"52:54:00:00:00:01\"");
    let name = section.need::<Name>("name", "\"n01\"");
    let address = section.get::<Ipv4Addr>("address");
    let os = section.get::<String>("os");
    let cmdline = section.get::<String>("cmdline");
    if let Some(At { value, place }) = &cmdline {
        check_template(value, place, findings);
    }
    if let Some(address) = &address {
        check_address(address, dhcp, master, findings);
    }
    let options = read_options(&section, "options");
    let place = section.place().clone();
    section.finish();
    let node = match (&mac, &name) {
        (Some(mac), Some(name)) => {
            let folder = dir.join("nodes").join(&name.value.0);
            Some(Node {
                place,
                mac: mac.value,
                name: name.value.0.clone(),
                address: address.as_ref().map(|a| a.value),
                os,
                cmdline: cmdline.map(|c| c.value).unwrap_or_default(),
                options,
                overlay: folder.is_dir().then_some(folder),
            })
        }
        _ => None,
    };
    Draft { mac, name, address, node }
}

fn check_address(
    address: &At<Ipv4Addr>,
    dhcp: Option<&Dhcp>,
    master: Option<&At<Ipv4Addr>>,
    findings: &Findings,
) {
    let At { value, place } = address;
    if let Some(master) = master.filter(|m| m.value == *value) {
        let what = format!("{value} is this master's own address");
        findings.add(
            place,
            what,
            format!("take another one ({} says the master's)", master.place.in_words()),
        );
    }
    let Some(dhcp) = dhcp.filter(|d| !d.subnets.is_empty()) else { return };
    let Some(subnet) = dhcp.subnets.iter().find(|s| s.network.value.has_host(*value)) else {
        let remedy = match dhcp.subnets.as_slice() {
            [only] => hosts_of(only.network.value),
            _ => "take one of a subnet's, or add its [[dhcp.subnet]]".into(),
        };
        findings.add(place, format!("the address {value} lies in no subnet"), remedy);
        return;
    };
    if let Some(range) = subnet.ranges.iter().find(|r| r.value.contains(*value)) {
        let what =
            format!("the address {value} lies in the range {}, which is given to anybody", range.value);
        findings.add(place, what, format!("take one outside of it, or change {}", range.place.in_words()));
    }
}

/// A command line's template: its keys are known, and it is one line.
pub(crate) fn check_template(text: &str, place: &Place, findings: &Findings) {
    if let Err(e) = template::check(text, template::KEYS) {
        findings.add(place, format!("\"cmdline\": {e}"), "correct the template");
    }
    if text.chars().any(char::is_control) {
        findings.add(place, "\"cmdline\" has a control character", "write one line of kernel parameters");
    }
}

/// A folder nodes/<name> that belongs to no node is a misspelt name.
fn check_folders(dir: &Path, names: &[&str], findings: &Findings) {
    let folder = dir.join("nodes");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return,
        Err(e) => {
            let what = format!("cannot be read: {e}");
            return findings.add(&Place::file(&folder), what, "make it a folder with one folder a node");
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if names.contains(&name.as_str()) {
            if !entry.path().is_dir() {
                let remedy = "make it a folder with the files that are laid over the node's image";
                findings.add(&Place::file(&entry.path()), "is no folder", remedy);
            }
            continue;
        }
        let remedy = match nearest(&name, names.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "add its [[node]], or remove it".to_owned(),
        };
        findings.add(&Place::file(&entry.path()), format!("no [[node]] has the name \"{name}\""), remedy);
    }
}

/// Every node's `os` is one of the site's.
pub(crate) fn check_images(nodes: &[Node], images: &[String], findings: &Findings) {
    for os in nodes.iter().filter_map(|n| n.os.as_ref()) {
        if !images.contains(&os.value) {
            let what = format!("there is no os/{}/os.toml", os.value);
            findings.add(&os.place, what, general::which_os(&os.value, images));
        }
    }
}
