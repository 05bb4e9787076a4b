//! Which rack a node is in: one that the maintainer has named, else its subnet, else what its address begins with.
//! Learns from the DHCP server's state file where nodes are plugged in; never waits for it, and does well without.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boottorrent_swarm::Time;
use boottorrent_swarm::announce::RACKS;
use boottorrent_swarm::graph::Rack;

use super::config::{MAX_RACKS, RackConfig, TrackerConfig};
use super::limits::RACK_PREFIX;
use crate::dhcp::config::Network;
use crate::dhcp::origin::{self, Origin, Told};

/// The state file is looked at no more often than it is written.
const PAUSE: Duration = Duration::from_secs(1);

// Named racks are numbered, the others go by their network's address; nothing has an address in 0.0.0.0/8.
const _: () = assert!(MAX_RACKS < RACKS as usize);

#[derive(Debug, Default)]
pub(super) struct Racks {
    named: Vec<RackConfig>,
    subnets: Vec<Network>,
    /// The named rack of an address, as DHCP says.
    plugged: HashMap<Ipv4Addr, u32>,
}

impl Racks {
    pub(super) fn configure(&mut self, config: &TrackerConfig) {
        self.named.clone_from(&config.named_racks);
        self.named.truncate(MAX_RACKS);
        self.subnets.clone_from(&config.racks);
        self.plugged.clear();
    }

    /// Whether any rack is named by what only the DHCP server sees.
    pub(super) fn ask_dhcp(&self) -> bool {
        self.named.iter().any(RackConfig::asks_dhcp)
    }

    /// Takes in what the DHCP server says of all leases that there are.
    pub(super) fn learn(&mut self, told: &[Told]) {
        let rack = |told: &Told| {
            let via = told.via.as_ref()?;
            let at =
                self.named.iter().position(|rack| rack.has_origin(via) || rack.has_address(told.address))?;
            Some((told.address, u32::try_from(at).ok()?))
        };
        self.plugged = told.iter().filter_map(rack).collect();
    }

    /// The first named rack that fits; where none does, the subnet.
    pub(super) fn of(&self, address: Ipv4Addr) -> Rack {
        let by_address = || self.named.iter().position(|rack| rack.has_address(address));
        let named = self.plugged.get(&address).copied();
        if let Some(number) = named.or_else(|| by_address().and_then(|at| u32::try_from(at).ok())) {
            return Rack(number);
        }
        let subnet = self.subnets.iter().find(|network| network.contains(address));
        let rest = u32::MAX << (32 - u32::from(RACK_PREFIX));
        Rack(subnet.map_or(address.to_bits() & rest, |network| network.address().to_bits()))
    }

    /// What a node of this rack is told: a named one's number. The others its lease tells it as well, and a guess by the
    /// address tells it less.
    pub(super) fn told(&self, rack: Rack) -> Option<Rack> {
        self.name(rack).map(|_| rack)
    }

    /// Its name, if it has one.
    pub(super) fn name(&self, rack: Rack) -> Option<&str> {
        self.named.get(rack.0 as usize).map(|named| named.name.as_str())
    }
}

impl RackConfig {
    fn asks_dhcp(&self) -> bool {
        !(self.relays.is_empty() && self.circuit_ids.is_empty() && self.remote_ids.is_empty())
    }

    fn has_address(&self, address: Ipv4Addr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Of relay, circuit and remote end whatever is given must fit: a port's number alone is the same on every switch.
    fn has_origin(&self, origin: &Origin) -> bool {
        fn fits<T: PartialEq>(given: &[T], seen: Option<&T>) -> bool {
            given.is_empty() || seen.is_some_and(|seen| given.contains(seen))
        }
        self.asks_dhcp()
            && fits(&self.relays, origin.relay.as_ref())
            && fits(&self.circuit_ids, origin.circuit_id.as_ref())
            && fits(&self.remote_ids, origin.remote_id.as_ref())
    }
}

/// The DHCP server's state file, read again whenever it is another one.
#[derive(Debug, Default)]
pub(super) struct Leases {
    path: Option<PathBuf>,
    next: Time,
    seen: Option<Version>,
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    changed: (i64, i64),
}

impl Leases {
    pub(super) fn new(run: Option<&Path>) -> Leases {
        Leases { path: run.map(|run| run.join("dhcp.json")), ..Leases::default() }
    }

    /// Another configuration: all leases count anew.
    pub(super) fn forget(&mut self) {
        (self.next, self.seen) = (Time(0), None);
    }

    /// Lets the racks learn what is new. Without a file there is no DHCP server yet, which is no mistake.
    pub(super) fn refresh(&mut self, now: Time, racks: &mut Racks) -> io::Result<()> {
        let Some(path) = self.path.as_ref().filter(|_| racks.ask_dhcp() && self.next <= now) else {
            return Ok(());
        };
        self.next = now + PAUSE;
        let version = match std::fs::metadata(path) {
            Ok(metadata) => Version::of(&metadata),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        if self.seen.as_ref() != Some(&version) {
            // Not again before it changes, even if it cannot be read.
            self.seen = Some(version);
            racks.learn(&origin::read(path)?);
        }
        Ok(())
    }
}

impl Version {
    /// It is replaced by a rename each time.
    fn of(metadata: &Metadata) -> Version {
        Version { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

#[cfg(test)]
mod tests;
