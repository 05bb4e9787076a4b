//! What the site says of its nodes, against what anybody says who can send a datagram.
//! Decides under which name a MAC is shown and which addresses are a node's own; never what a record means.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use boottorrent_swarm::Mac;

use super::config::NamedNode;
use super::limits::NAME_CHARS;
use super::text::clean;

/// The nodes of the site, by what records claim.
#[derive(Debug, Default)]
pub(super) struct Known {
    by_mac: HashMap<Mac, NamedNode>,
    /// In lower case: a name that differs in nothing else is the same to people.
    names: HashSet<String>,
    addresses: HashSet<Ipv4Addr>,
}

impl Known {
    pub(super) fn new(nodes: &[NamedNode]) -> Self {
        Self {
            by_mac: nodes.iter().map(|n| (n.mac, n.clone())).collect(),
            names: nodes.iter().map(|n| n.name.to_ascii_lowercase()).collect(),
            addresses: nodes.iter().filter_map(|n| n.address).collect(),
        }
    }

    /// The site's name for the node, else the claimed one; the MAC, where that is another node's, or could be taken for it.
    pub(super) fn name(&self, mac: Mac, claimed: &str) -> String {
        if let Some(node) = self.by_mac.get(&mac) {
            return node.name.clone();
        }
        let claimed = clean(claimed, NAME_CHARS);
        let is_plain = claimed.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let is_taken = !is_plain || self.names.contains(&claimed.to_ascii_lowercase());
        if is_taken { mac.hyphenated() } else { claimed }
    }

    pub(super) fn has(&self, mac: Mac) -> bool {
        self.by_mac.contains_key(&mac)
    }

    /// Whether the site gives this very address to this node.
    pub(super) fn fits(&self, mac: Mac, address: Ipv4Addr) -> bool {
        self.by_mac.get(&mac).is_some_and(|node| node.address == Some(address))
    }

    /// Whether the site gives this address to any node.
    pub(super) fn is_a_nodes(&self, address: Ipv4Addr) -> bool {
        self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_site_is_nobody_elses() {
        let [one, other] = [1, 2].map(|last| Mac([2, 0, 0, 0, 0, last]));
        let address = Ipv4Addr::new(10, 0, 0, 11);
        let known = Known::new(&[NamedNode { mac: one, name: "n01".into(), address: Some(address) }]);
        assert_eq!(known.name(one, "n99"), "n01");
        assert_eq!(known.name(other, "N01"), "02-00-00-00-00-02");
        assert_eq!(known.name(other, "n99"), "n99");
        for like in ["n01\t", "n01\u{200b}", "\u{202e}10n", "x\n"] {
            assert_eq!(known.name(other, like), "02-00-00-00-00-02", "{like:?}");
        }
        assert!(known.fits(one, address) && !known.fits(other, address) && known.is_a_nodes(address));
    }
}
