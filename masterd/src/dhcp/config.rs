//! What gen writes for the server as `dhcp.toml`, and the address types that it is made of. Everything in it has been
//! checked by gen; the daemon refuses what it cannot understand and never repairs.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use boottorrent_swarm::Mac;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The whole configuration of `boottorrent-dhcp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DhcpConfig {
    pub site: String,
    /// This master's address: server identifier, next server, and what selects the subnet of unrelayed clients.
    pub server: Ipv4Addr,
    /// For messages only: the socket unit binds the socket.
    pub interface: String,
    pub lease_seconds: u32,
    #[serde(default, rename = "subnet")]
    pub subnets: Vec<SubnetConfig>,
    #[serde(default, rename = "reservation")]
    pub reservations: Vec<ReservationConfig>,
    /// The first rule that fits a client names its boot file.
    #[serde(default, rename = "boot")]
    pub boot: Vec<BootRule>,
}

/// A network that addresses are given out of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetConfig {
    pub network: Network,
    /// May be empty: then only reservations are served.
    #[serde(default)]
    pub ranges: Vec<Range>,
    #[serde(default)]
    pub options: Vec<RawOption>,
}

/// A node with an address of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationConfig {
    #[serde(with = "mac_text")]
    pub mac: Mac,
    /// `None`: the node has only a name or options, and an address of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Sent as the host name (option 12) unless `options` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub options: Vec<RawOption>,
}

/// Which file a booting client is told to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootRule {
    /// True: for iPXE; false: for the maker's own firmware.
    pub ipxe: bool,
    /// Architectures of option 93 (RFC 4578 2.1); empty means all.
    #[serde(default)]
    pub arch: Vec<u16>,
    /// Path below the TFTP root.
    pub file: String,
}

/// An option as it goes onto the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOption {
    pub code: u8,
    #[serde(rename = "hex", with = "hex_text")]
    pub value: Vec<u8>,
}

/// An IPv4 network, written `10.0.0.0/24`. Host bits are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: Ipv4Addr,
    prefix: u8,
}

impl Network {
    /// `None` if the prefix is longer than 32 bits or `address` has host bits.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        let network = Self { address, prefix };
        (prefix <= 32 && address & !network.mask() == Ipv4Addr::UNSPECIFIED).then_some(network)
    }

    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0))
    }

    /// The last address; for networks of two or more bits of host part nobody may have it.
    #[must_use]
    pub fn broadcast(self) -> Ipv4Addr {
        self.address | !self.mask()
    }

    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.address
    }

    /// Whether a host may have this address: RFC 3021 lets /31 and /32 use all of theirs.
    #[must_use]
    pub fn has_host(self, address: Ipv4Addr) -> bool {
        let reserved = self.prefix < 31 && (address == self.address || address == self.broadcast());
        self.contains(address) && !reserved
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(a, p)| Some((a.parse().ok()?, p.parse::<u8>().ok()?)));
        let Some((address, prefix)) = parts.filter(|(_, prefix)| *prefix <= 32) else {
            return Err(format!("\"{text}\" is not a network: write it as 10.0.0.0/24"));
        };
        Self::new(address, prefix).ok_or_else(|| {
            let mask = Self { address, prefix }.mask();
            format!("\"{text}\" has host bits: the network is {}/{prefix}", address & mask)
        })
    }
}

/// Consecutive addresses, both ends included, written `10.0.0.100-10.0.0.200`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl Range {
    /// `None` if `last` comes before `first`.
    #[must_use]
    pub fn new(first: Ipv4Addr, last: Ipv4Addr) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        self.first
    }

    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        self.last
    }

    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        self.first <= address && address <= self.last
    }

    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The address `offset` places behind the first.
    #[must_use]
    pub fn nth(self, offset: u64) -> Option<Ipv4Addr> {
        let bits = u64::from(self.first.to_bits()).checked_add(offset)?;
        u32::try_from(bits).ok().map(Ipv4Addr::from_bits).filter(|address| *address <= self.last)
    }

    /// How many addresses it has.
    #[must_use]
    pub fn size(self) -> u64 {
        u64::from(self.last.to_bits()) - u64::from(self.first.to_bits()) + 1
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends =
            text.split_once('-').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
        let Some((first, last)) = ends else {
            return Err(format!("\"{text}\" is not a range: write it as 10.0.0.100-10.0.0.200"));
        };
        Self::new(first, last).ok_or_else(|| format!("\"{text}\" ends before it begins"))
    }
}

macro_rules! serde_by_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

serde_by_text!(Network);
serde_by_text!(Range);

/// A MAC as people write it; other daemons' files have them, too.
pub(crate) mod mac_text {
    use super::{Deserialize, Deserializer, Mac, Serializer};

    pub(crate) fn serialize<S: Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(mac)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mac, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("\"{text}\" is not a MAC address")))
    }
}

mod hex_text {
    use super::{Deserialize, Deserializer, Serializer};
    use crate::dhcp::hex;

    pub(super) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::format(value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("\"{text}\" is not hexadecimal")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_know_their_hosts() {
        let network: Network = "10.0.0.0/24".parse().unwrap();
        assert_eq!(network.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(network.broadcast(), Ipv4Addr::new(10, 0, 0, 255));
        assert!(
            network.has_host(Ipv4Addr::new(10, 0, 0, 1)) && !network.has_host(Ipv4Addr::new(10, 0, 0, 255))
        );
        assert!(!network.contains(Ipv4Addr::new(10, 0, 1, 0)));
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains(Ipv4Addr::new(1, 2, 3, 4)));
        let pair: Network = "10.0.0.2/31".parse().unwrap();
        assert!(pair.has_host(Ipv4Addr::new(10, 0, 0, 2)) && pair.has_host(Ipv4Addr::new(10, 0, 0, 3)));
        assert_eq!(
            "10.0.0.1/24".parse::<Network>().unwrap_err(),
            "\"10.0.0.1/24\" has host bits: the network is 10.0.0.0/24"
        );
        for wrong in ["10.0.0.0", "10.0.0.0/33", "10.0.0/24", "x/24", "10.0.0.0/"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("is not a network"), "{wrong}");
        }
    }

    #[test]
    fn ranges_include_both_ends() {
        let range: Range = "10.0.0.100 - 10.0.0.101".parse().unwrap();
        assert_eq!(range.size(), 2);
        assert!(range.contains(range.last()) && !range.contains(Ipv4Addr::new(10, 0, 0, 102)));
        assert!(range.overlaps("10.0.0.101-10.0.0.101".parse().unwrap()));
        assert!(!range.overlaps("10.0.0.102-10.0.0.103".parse().unwrap()));
        assert!("10.0.0.2-10.0.0.1".parse::<Range>().unwrap_err().contains("ends before"));
        assert!("10.0.0.2".parse::<Range>().is_err());
    }

    #[test]
    fn what_gen_writes_is_what_the_daemon_reads() {
        let config = DhcpConfig {
            site: "lab".into(),
            server: Ipv4Addr::new(10, 0, 0, 1),
            interface: "eth1".into(),
            lease_seconds: 43200,
            subnets: vec![SubnetConfig {
                network: "10.0.0.0/24".parse().unwrap(),
                ranges: vec!["10.0.0.100-10.0.0.200".parse().unwrap()],
                options: vec![RawOption { code: 3, value: vec![10, 0, 0, 1] }],
            }],
            reservations: vec![ReservationConfig {
                mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
                address: Some(Ipv4Addr::new(10, 0, 0, 11)),
                name: Some("n01".into()),
                options: vec![],
            }],
            boot: vec![BootRule { ipxe: false, arch: vec![7, 9], file: "boot/snponly.efi".into() }],
        };
        let text = toml::to_string(&config).unwrap();
        assert!(text.contains("hex = \"0a000001\"") && text.contains("network = \"10.0.0.0/24\""), "{text}");
        assert_eq!(toml::from_str::<DhcpConfig>(&text).unwrap(), config);
        let misspelt = text.replace("lease_seconds", "lease_secs");
        assert!(toml::from_str::<DhcpConfig>(&misspelt).is_err());
    }
}
