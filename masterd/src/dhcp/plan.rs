//! The configuration, indexed for questions: which subnet a message belongs to, whose an address is, which options a
//! node gets. It knows nothing about leases.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use boottorrent_swarm::Mac;

use super::config::{BootRule, DhcpConfig, Range, RawOption, ReservationConfig, SubnetConfig};
use super::origin::sub_options;
use super::packet::{Request, code};

/// The link-selection sub-option of option 82 (RFC 3527).
const LINK_SELECTION: u8 = 5;
/// A client may ask for a shorter lease, but not for one that keeps the server busy.
const MIN_LEASE_SECONDS: u32 = 60;

#[derive(Debug)]
pub(super) struct Plan {
    config: DhcpConfig,
    nodes: HashMap<Mac, usize>,
    reserved: HashMap<Ipv4Addr, Mac>,
}

impl Plan {
    pub(super) fn new(config: DhcpConfig) -> Self {
        let nodes = config.reservations.iter().enumerate().map(|(at, node)| (node.mac, at)).collect();
        let reserved =
            config.reservations.iter().filter_map(|node| Some((node.address?, node.mac))).collect();
        Self { config, nodes, reserved }
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> &DhcpConfig {
        &self.config
    }

    pub(super) fn server(&self) -> Ipv4Addr {
        self.config.server
    }

    pub(super) fn subnets(&self) -> &[SubnetConfig] {
        &self.config.subnets
    }

    pub(super) fn subnet(&self, index: usize) -> &SubnetConfig {
        &self.config.subnets[index]
    }

    pub(super) fn ranges(&self, subnet: usize) -> &[Range] {
        &self.config.subnets[subnet].ranges
    }

    pub(super) fn boot_rules(&self) -> &[BootRule] {
        &self.config.boot
    }

    pub(super) fn reservations(&self) -> usize {
        self.config.reservations.len()
    }

    pub(super) fn node(&self, mac: Mac) -> Option<&ReservationConfig> {
        self.nodes.get(&mac).map(|at| &self.config.reservations[*at])
    }

    /// The node's own address, if it has one in this subnet.
    pub(super) fn reservation(&self, subnet: usize, mac: Mac) -> Option<Ipv4Addr> {
        self.node(mac)?.address.filter(|address| self.subnet(subnet).network.contains(*address))
    }

    pub(super) fn subnet_of(&self, address: Ipv4Addr) -> Option<usize> {
        self.config.subnets.iter().position(|subnet| subnet.network.contains(address))
    }

    /// The subnet that a message comes from: told by the relay, by the address that the client has, or it is ours.
    /// On failure, the address that lies in no subnet.
    pub(super) fn subnet_for(&self, request: &Request) -> Result<usize, Ipv4Addr> {
        let address = if request.giaddr.is_unspecified() {
            Some(request.ciaddr).filter(|ciaddr| !ciaddr.is_unspecified()).unwrap_or(self.config.server)
        } else {
            link_selection(request).unwrap_or(request.giaddr)
        };
        self.subnet_of(address).ok_or(address)
    }

    /// Whether an address may go to any node that asks.
    pub(super) fn is_pooled(&self, subnet: usize, address: Ipv4Addr) -> bool {
        let subnet = self.subnet(subnet);
        subnet.ranges.iter().any(|range| range.contains(address))
            && subnet.network.has_host(address)
            && address != self.config.server
            && !self.reserved.contains_key(&address)
    }

    /// Whether an address may go to this node, as far as the configuration says.
    pub(super) fn allows(&self, subnet: usize, address: Ipv4Addr, mac: Mac) -> bool {
        match self.reserved.get(&address) {
            Some(owner) => *owner == mac && self.subnet(subnet).network.contains(address),
            None => self.is_pooled(subnet, address),
        }
    }

    /// Why a node may not have an address, for the node and for people: the configuration's reason or, where that has
    /// none, the leases'.
    pub(super) fn obstacle(&self, subnet: usize, address: Ipv4Addr, mac: Mac) -> &'static str {
        match self.reserved.get(&address) {
            _ if !self.subnet(subnet).network.contains(address) => "the address belongs to another network",
            Some(owner) if *owner != mac => "the address is reserved for another node",
            None if !self.is_pooled(subnet, address) => "the address is none that this server gives out",
            _ => "another node has the address",
        }
    }

    /// The options of a node in a subnet: its own before the subnet's.
    pub(super) fn options(&self, subnet: usize, mac: Mac) -> BTreeMap<u8, Vec<u8>> {
        let subnet = self.subnet(subnet);
        let node = self.node(mac);
        let mut options = BTreeMap::from([(code::SUBNET_MASK, subnet.network.mask().octets().to_vec())]);
        let mut add = |list: &[RawOption]| {
            options.extend(list.iter().map(|option| (option.code, option.value.clone())));
        };
        add(&subnet.options);
        if let Some(name) = node.and_then(|node| node.name.as_ref()) {
            add(&[RawOption { code: code::HOST_NAME, value: name.clone().into_bytes() }]);
        }
        if let Some(node) = node {
            add(&node.options);
        }
        options
    }

    /// How long a node may have an address: option 51 of its own or of the subnet, else the site's; shorter if the
    /// client asks for that.
    pub(super) fn lease_seconds(&self, options: &BTreeMap<u8, Vec<u8>>, request: &Request) -> u32 {
        let number = |value: &[u8]| value.try_into().ok().map(u32::from_be_bytes);
        let configured = options.get(&code::LEASE_TIME).and_then(|value| number(value));
        let longest = configured.unwrap_or(self.config.lease_seconds);
        let asked = request.option(code::LEASE_TIME).and_then(number).unwrap_or(u32::MAX);
        longest.min(asked.max(MIN_LEASE_SECONDS))
    }

    /// No lease is longer than this.
    pub(super) fn longest_lease_seconds(&self) -> u32 {
        let options = self.config.subnets.iter().flat_map(|s| &s.options);
        let options = options.chain(self.config.reservations.iter().flat_map(|r| &r.options));
        options
            .filter(|option| option.code == code::LEASE_TIME)
            .filter_map(|option| option.value.as_slice().try_into().ok().map(u32::from_be_bytes))
            .fold(self.config.lease_seconds, u32::max)
    }
}

fn link_selection(request: &Request) -> Option<Ipv4Addr> {
    let (_, value) = sub_options(request).find(|(sub_option, _)| *sub_option == LINK_SELECTION)?;
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}
