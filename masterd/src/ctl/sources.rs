//! What there is to read: the current generation's `ctl.toml`, and the state files of the services.
//! Decides how what cannot be read is told; a state that is not there yet is no mistake.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use boottorrent_swarm::Mac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Error;
use super::config::{CtlConfig, ListedNode};
use super::options::Options;
use super::seed::Seed;
use crate::nodelog::nodes::Nodes;
use crate::orders::{Order, Orders};
use crate::service;

/// A file that was asked for so soon after the lease counts as asked for with it: the two services' clocks are read in
/// whole seconds.
const ROUNDING: u64 = 1;

/// Everything, as it was at one moment.
pub(super) struct Sources {
    pub(super) config: CtlConfig,
    pub(super) nodes: Nodes,
    pub(super) leases: HashMap<Mac, Leased>,
    /// The last boot file that each address has asked for.
    pub(super) boot_files: HashMap<Ipv4Addr, BootFile>,
    /// None: it is there and cannot be read.
    pub(super) seed: Option<Seed>,
    /// What nodes are to boot next.
    pub(super) orders: HashMap<Mac, Order>,
    /// What could not be read, a sentence each.
    pub(super) unread: Vec<String>,
}

/// Whom a person means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) mac: Mac,
    /// The site's name for it, else its MAC: what a node says of itself names nothing here.
    pub(super) name: String,
    pub(super) address: Option<Ipv4Addr>,
}

/// What DHCP has given a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leased {
    pub(super) address: Ipv4Addr,
    /// When its firmware was last given it; seconds since 1970.
    pub(super) booted: Option<u64>,
}

/// What firmware fetches before there is anybody in a node who could report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BootFile {
    pub(super) name: String,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// Why it did not get it.
    pub(super) failure: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TftpState {
    booting: HashMap<Ipv4Addr, Transfer>,
}

#[derive(Deserialize)]
struct Transfer {
    file: String,
    at: u64,
    #[serde(default)]
    failure: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LogState {
    nodes: Nodes,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DhcpState {
    leases: Vec<Lease>,
}

#[derive(Deserialize)]
struct Lease {
    address: Ipv4Addr,
    /// None: nobody's, in quarantine.
    mac: Option<String>,
    booted: Option<u64>,
}

impl Sources {
    pub(super) fn read(options: &Options) -> Result<Self, Error> {
        let config: CtlConfig = service::read(&options.store, "ctl").map_err(Error::Config)?;
        let mut unread = Vec::new();
        let LogState { nodes } = state(&options.run, "log", &mut unread).unwrap_or_default();
        let DhcpState { leases } = state(&options.run, "dhcp", &mut unread).unwrap_or_default();
        let TftpState { booting } = state(&options.run, "tftp", &mut unread).unwrap_or_default();
        let seed = state(&options.run, "seed", &mut unread);
        let lease = |l: Lease| Some((l.mac?.parse().ok()?, Leased { address: l.address, booted: l.booted }));
        let boot_file =
            |(address, Transfer { file: name, at, failure })| (address, BootFile { name, at, failure });
        Ok(Self {
            nodes,
            leases: leases.into_iter().filter_map(lease).collect(),
            boot_files: booting.into_iter().map(boot_file).collect(),
            seed,
            orders: orders(&options.run, &mut unread),
            config,
            unread,
        })
    }

    /// The last boot file of a machine. Where DHCP is ours it tells whose firmware has an address, and since when: what
    /// somebody else fetched from there before is none of its.
    pub(super) fn boot_file(&self, mac: Mac, address: Ipv4Addr) -> Option<&BootFile> {
        let file = self.boot_files.get(&address)?;
        if !self.config.services.iter().any(|service| service == "dhcp") {
            return Some(file);
        }
        let lease = self.leases.get(&mac).filter(|lease| lease.address == address)?;
        lease.booted.is_some_and(|booted| file.at + ROUNDING >= booted).then_some(file)
    }

    /// The node of this name or MAC: of the site, or one that was seen.
    pub(super) fn find(&self, text: &str) -> Result<Who, Error> {
        let listed = &self.config.nodes;
        if let Some(node) = listed.iter().find(|node| node.name.eq_ignore_ascii_case(text)) {
            return Ok(self.listed(node));
        }
        if let Ok(mac) = text.parse::<Mac>() {
            let node = listed.iter().find(|node| node.mac == mac);
            return Ok(node.map_or_else(|| self.stranger(mac), |node| self.listed(node)));
        }
        let seen = self.nodes.iter().filter(|(_, node)| node.name.eq_ignore_ascii_case(text));
        match seen.filter_map(|(mac, _)| mac.parse().ok()).collect::<Vec<Mac>>().as_slice() {
            [mac] => Ok(self.stranger(*mac)),
            [] => Err(Error::Told(self.nobody(text))),
            several => {
                let macs: Vec<String> = several.iter().map(Mac::to_string).collect();
                Err(Error::Told(format!(
                    "{} machines call themselves {text:?}: name one by its MAC: {}",
                    macs.len(),
                    macs.join(", ")
                )))
            }
        }
    }

    /// All of these, or nobody: a name that is not known is most likely a misspelling. None named: all of the site.
    pub(super) fn whom(&self, nodes: &[String]) -> Result<Vec<Who>, Error> {
        match nodes {
            [] if self.config.nodes.is_empty() => {
                let sentence = "the site names no node: add its [[node]] to boottorrent.toml, or give a MAC";
                Err(Error::Told(sentence.into()))
            }
            [] => Ok(self.config.nodes.iter().map(|node| self.listed(node)).collect()),
            named => named.iter().map(|node| self.find(node)).collect(),
        }
    }

    fn listed(&self, node: &ListedNode) -> Who {
        let address = node.address.or_else(|| self.leases.get(&node.mac).map(|lease| lease.address));
        Who { mac: node.mac, name: node.name.clone(), address }
    }

    fn stranger(&self, mac: Mac) -> Who {
        Who { mac, name: mac.hyphenated(), address: self.leases.get(&mac).map(|lease| lease.address) }
    }

    fn nobody(&self, text: &str) -> String {
        let names = self.config.nodes.iter().map(|node| node.name.as_str());
        let seen = self.nodes.iter().map(|(_, node)| node.name.as_str());
        let hint = match crate::site::finding::nearest(text, names.chain(seen)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => {
                "`boottorrentctl status` lists the nodes; a MAC is written as 52:54:00:00:00:01".to_owned()
            }
        };
        let blind = if self.unread.is_empty() { "" } else { " (only root can read who was seen)" };
        format!("there is no node {text:?}{blind}; {hint}")
    }
}

fn orders(run: &Path, unread: &mut Vec<String>) -> HashMap<Mac, Order> {
    let orders = Orders::below(run);
    match orders.all() {
        Ok(orders) => orders.into_iter().collect(),
        // The states beside it have told of that.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => HashMap::new(),
        Err(e) => {
            unread.push(format!("{} cannot be read: {e}", orders.path().display()));
            HashMap::new()
        }
    }
}

/// A service's state; the default where it has written none yet, none where it cannot be read.
fn state<T: DeserializeOwned + Default>(run: &Path, name: &str, unread: &mut Vec<String>) -> Option<T> {
    let path = run.join(format!("{name}.json"));
    let told = match std::fs::read(&path) {
        Ok(text) => match serde_json::from_slice(&text) {
            Ok(state) => return Some(state),
            Err(e) => {
                format!("{} is not of this version's form ({e}): restart boottorrent-{name}", path.display())
            }
        },
        Err(e) => match e.kind() {
            io::ErrorKind::NotFound => return Some(T::default()),
            io::ErrorKind::PermissionDenied => format!("{} can be read by root only", path.display()),
            _ => format!("{} cannot be read: {e}", path.display()),
        },
    };
    unread.push(told);
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn config() -> CtlConfig {
        let node = |last, address: Option<[u8; 4]>| ListedNode {
            mac: Mac([0x52, 0x54, 0, 0, 0, last]),
            name: format!("n{last:02}"),
            address: address.map(Ipv4Addr::from),
            os: (last == 2).then(|| "debian".to_owned()),
        };
        CtlConfig {
            site: "lab".into(),
            interface: "eth0".into(),
            address: Ipv4Addr::new(10, 0, 0, 1),
            services: vec!["dhcp".into(), "log".into()],
            networks: vec!["10.0.0.0/24".parse().unwrap(), "10.0.1.0/24".parse().unwrap()],
            power: crate::site::Power::default(),
            nodes: vec![node(1, Some([10, 0, 0, 11])), node(2, Some([10, 0, 1, 12])), node(3, None)],
        }
    }

    /// A table with one node of the site and one that only came by.
    pub(crate) fn nodes() -> Nodes {
        let node = |name: &str, stages: serde_json::Value, progress: serde_json::Value| {
            serde_json::json!({
                "name": name, "address": "10.0.0.11", "boots": 2, "os": "small", "facts": {}, "last_seen": 1000,
                "bytes_master": 40, "bytes_peers": 10, "stages": stages, "progress": progress,
                "boot": 7, "previous_boot": null, "seen": { "highest": 3, "window": 7 },
            })
        };
        let step = |sequence: u32, stage: &str, event: &str, cause: &str| serde_json::json!({ "stage": stage, "event": event, "seconds": 1.5, "cause": cause, "sequence": sequence });
        let progress = serde_json::json!({
            "stage": "download", "bytes_done": 50, "bytes_total": 200, "peers": 3, "rate": 12_000_000, "at": 1000,
        });
        serde_json::from_value(serde_json::json!({
            "52:54:00:00:00:01": node("n01", serde_json::json!([
                step(1, "lease", "fail", "nobody answered; again from \"link\" in 1 s"),
                step(2, "lease", "end", "10.0.0.11"),
                step(3, "download", "begin", ""),
            ]), progress),
            "52:54:00:00:00:09": node("visitor", serde_json::json!([
                step(1, "lease", "end", "10.0.0.100"),
                step(2, "memory", "fail", "it needs 900 MiB and has 512"),
            ]), serde_json::Value::Null),
        }))
        .unwrap()
    }

    pub(crate) fn sources() -> Sources {
        let lease = |last, address: [u8; 4], booted| {
            (Mac([0x52, 0x54, 0, 0, 0, last]), Leased { address: address.into(), booted })
        };
        Sources {
            config: config(),
            nodes: nodes(),
            leases: [lease(1, [10, 0, 0, 11], Some(990)), lease(3, [10, 0, 0, 103], Some(1000))].into(),
            boot_files: HashMap::new(),
            seed: Some(Seed::default()),
            orders: HashMap::new(),
            unread: Vec::new(),
        }
    }

    #[test]
    fn nodes_are_found_by_name_or_mac() {
        let sources = sources();
        let who = sources.find("N03").unwrap();
        assert_eq!((who.name.as_str(), who.address), ("n03", Some(Ipv4Addr::new(10, 0, 0, 103))));
        assert_eq!(sources.find("52-54-00-00-00-03").unwrap(), who);
        assert_eq!(sources.find("visitor").unwrap().name, "52-54-00-00-00-09", "its name is its own word");
        assert_eq!(sources.find("02:00:00:00:00:77").unwrap().address, None);
        let told = sources.find("n04").unwrap_err().to_string();
        assert!(told.contains("there is no node \"n04\"") && told.contains("did you mean"), "{told}");
        assert!(sources.find("quite-another").unwrap_err().to_string().contains("status"));
        assert_eq!(sources.whom(&[]).unwrap().len(), 3);
        assert!(sources.whom(&["n01".into(), "n04".into()]).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_told_and_what_is_not_there_is_empty() {
        let run = tempfile::tempdir().unwrap();
        let mut unread = Vec::new();
        let log: Option<LogState> = state(run.path(), "log", &mut unread);
        assert!(log.unwrap().nodes.iter().next().is_none() && unread.is_empty());
        std::fs::write(run.path().join("log.json"), "{\"nodes\": 3}").unwrap();
        let log: Option<LogState> = state(run.path(), "log", &mut unread);
        assert!(log.is_none() && unread[0].contains("log.json is not of this version's form"), "{unread:?}");
        assert!(orders(run.path(), &mut unread).is_empty() && unread.len() == 1);
    }

    #[test]
    fn a_boot_file_belongs_to_whoever_has_the_address_since_before() {
        let mut sources = sources();
        let (one, three) = (Mac([0x52, 0x54, 0, 0, 0, 1]), Mac([0x52, 0x54, 0, 0, 0, 3]));
        let address = Ipv4Addr::new(10, 0, 0, 103);
        let file = |at| BootFile { name: "boot/vmlinuz".into(), at, failure: None };
        for (at, whose) in [(1005, true), (999, true), (998, false)] {
            sources.boot_files = [(address, file(at))].into();
            assert_eq!(sources.boot_file(three, address).is_some(), whose, "fetched at {at}, leased at 1000");
        }
        sources.boot_files = [(address, file(1005))].into();
        assert_eq!(sources.boot_file(one, address), None, "another machine's address");
        sources.leases.remove(&three);
        assert_eq!(sources.boot_file(three, address), None, "nobody knows whose it was");
        sources.config.services.retain(|service| service != "dhcp");
        assert!(sources.boot_file(three, address).is_some(), "without our DHCP the address is all there is");
    }

    #[test]
    fn what_gen_writes_is_what_is_read() {
        let mut config = config();
        config.power.wake = vec!["/usr/sbin/ipmitool".into(), "{name}-bmc".into()];
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<CtlConfig>(&text).unwrap(), config, "{text}");
    }
}
