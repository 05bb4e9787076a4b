//! Who has which address: one network of eight fixed bits, or one of 24 a rack. Decides nothing else.

use crate::plan::Plan;
use boottorrent_swarm::graph::Rack;
use std::net::{Ipv4Addr, SocketAddrV4};

pub(crate) const PORT: u16 = 6881;

/// The master's: outside all racks.
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);

#[derive(Debug)]
pub(crate) struct Addresses {
    /// Nodes of a /24.
    a_net: usize,
    has_racks: bool,
    /// Bits that near addresses have in common, as a node's lease says.
    pub(crate) near_prefix: u8,
    /// The tracker tells racks, and addresses do not.
    tells: bool,
}

impl Addresses {
    pub(crate) fn new(plan: &Plan) -> Addresses {
        let a_net = plan.racks.map_or(250, |r| r.nodes).min(250) as usize;
        let has_racks = plan.racks.is_some();
        let tells = has_racks && plan.told_racks;
        let near_prefix = plan.near_prefix.unwrap_or(if has_racks && !tells { 24 } else { 8 });
        Addresses { a_net, has_racks, near_prefix, tells }
    }

    pub(crate) fn of(&self, node: usize) -> SocketAddrV4 {
        let ip = match node.checked_sub(1) {
            None => MASTER,
            Some(n) => {
                let [.., high, low] = (n / self.a_net).to_be_bytes();
                Ipv4Addr::new(10, high, low, (n % self.a_net + 1) as u8)
            }
        };
        SocketAddrV4::new(ip, PORT)
    }

    pub(crate) fn node(&self, addr: SocketAddrV4) -> usize {
        let [_, high, low, n] = addr.ip().octets().map(usize::from);
        if *addr.ip() == MASTER { 0 } else { (high * 256 + low) * self.a_net + n }
    }

    /// What the tracker takes for the node's rack.
    pub(crate) fn rack(&self, node: usize) -> Rack {
        Rack(if self.has_racks { self.of(node).ip().to_bits() >> 8 } else { 0 })
    }

    /// What it tells the node of that.
    pub(crate) fn told_rack(&self, node: usize) -> Option<Rack> {
        self.tells.then(|| self.rack(node))
    }
}
