//! Who is told of whom: the graph that the tracker hands out, one of a torrent; the simulator runs the same one.
//! Decides links from arrivals, departures and racks alone; never asks for clock or network, and never who may join.
//!
//! Whoever arrives is linked at once to those that are there, and dials them: so a node that waits for company is dialled
//! by each newcomer and need not ask again. Up to [`GRAPH_MESH`] others that is everybody. Beyond that each newcomer
//! gets half a row, since the other half comes from those after it; the last ones, whom nobody follows, are topped up
//! when they announce again ([`Graph::is_short`] says who should do so soon).
//!
//! Of three drawn by lot the one with the fewest links is taken. Drawn from all ages, links make the graph a few steps
//! wide where "the fewest of all" would chain each node to its immediate predecessors; and the choice of three keeps the
//! oldest at 2.5 times the half row (its degree after N arrivals is h + 1.5 h (1 - (i/N)^2) for the i-th, h the half
//! row), where a plain lot has the first one grow with log N.
//!
//! Racks are linked inside as if there were nothing else, and to one another by a few bridges only.

use crate::limits::{
    GRAPH_BRIDGES, GRAPH_BRIDGES_AT_ONCE, GRAPH_CHOICES, GRAPH_FLOOR, GRAPH_GATES, GRAPH_HALF, GRAPH_MESH,
    GRAPH_MOST,
};
use crate::rng::Rng;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::SocketAddrV4;

/// Nodes with fast links among each other and a scarce one to the rest; the number is the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rack(pub u32);

#[derive(Debug)]
struct Node {
    rack: Rack,
    /// Where it stands in its rack's list.
    place: usize,
    /// It needs nothing any more: a source for others, of no use to those like it.
    complete: bool,
    /// Sorted.
    links: Vec<SocketAddrV4>,
    /// Those of them that leave the rack.
    bridges: usize,
}

#[derive(Debug, Default)]
struct Members {
    all: Vec<SocketAddrV4>,
    /// Links of any of them that leave the rack.
    bridges: usize,
    /// Those of them that have such links.
    gates: usize,
}

/// The links of one torrent's peers, as far as a tracker knows and wishes.
#[derive(Debug)]
pub struct Graph {
    lots: Rng,
    nodes: BTreeMap<SocketAddrV4, Node>,
    racks: BTreeMap<Rack, Members>,
}

impl Graph {
    /// The same seed and calls give the same graph.
    #[must_use]
    pub fn new(seed: u64) -> Graph {
        Graph { lots: Rng::new(seed), nodes: BTreeMap::new(), racks: BTreeMap::new() }
    }

    /// Takes a peer in, or what it tells anew, and gives it the links that it lacks, `want` new ones at most.
    pub fn announced(&mut self, who: SocketAddrV4, rack: Rack, complete: bool, want: usize) {
        if self.nodes.get(&who).is_some_and(|n| n.rack != rack) {
            self.left(who);
        }
        let fresh = !self.nodes.contains_key(&who);
        if fresh {
            let members = self.racks.entry(rack).or_default();
            let node = Node { rack, place: members.all.len(), complete, links: Vec::new(), bridges: 0 };
            members.all.push(who);
            self.nodes.insert(who, node);
        }
        self.finish(who, complete);
        // Who is complete dials nobody; it is found by those that come.
        if complete && !fresh {
            return;
        }
        let bridges = self.bridges_lacking(who).min(want);
        let others = self.rack_size(rack).saturating_sub(1);
        let enough = match fresh {
            _ if others <= GRAPH_MESH => others,
            true => GRAPH_HALF,
            false => GRAPH_FLOOR,
        };
        let lacking = enough.saturating_sub(self.within(who)).min(want - bridges);
        for _ in 0..lacking {
            let Some(peer) = self.choose(who, rack) else { break };
            self.link(who, peer);
        }
        for _ in 0..bridges {
            let Some(peer) = self.choose_rack(rack).and_then(|far| self.choose(who, far)) else { break };
            self.link(who, peer);
        }
    }

    /// Forgets a peer and its links.
    pub fn left(&mut self, who: SocketAddrV4) {
        for peer in self.row(who).to_vec() {
            self.unlink(who, peer);
        }
        let Some(node) = self.nodes.remove(&who) else { return };
        let Some(members) = self.racks.get_mut(&node.rack) else { return };
        if node.place < members.all.len() {
            members.all.swap_remove(node.place);
        }
        let moved = members.all.get(node.place).copied();
        if members.all.is_empty() {
            self.racks.remove(&node.rack);
        }
        if let Some(node_moved) = moved.and_then(|m| self.nodes.get_mut(&m)) {
            node_moved.place = node.place;
        }
    }

    /// Whom this peer is to be told of.
    #[must_use]
    pub fn row(&self, who: SocketAddrV4) -> &[SocketAddrV4] {
        self.nodes.get(&who).map_or(&[], |n| &n.links)
    }

    /// The same, those of its own rack apart from the others.
    #[must_use]
    pub fn near_and_far(&self, who: SocketAddrV4) -> (Vec<SocketAddrV4>, Vec<SocketAddrV4>) {
        self.row(who).iter().partition(|peer| !self.is_bridge(who, **peer))
    }

    /// Where it is, as it was announced.
    #[must_use]
    pub fn rack(&self, who: SocketAddrV4) -> Option<Rack> {
        self.nodes.get(&who).map(|n| n.rack)
    }

    /// Whether this peer should ask again soon: it has less than it can have.
    #[must_use]
    pub fn is_short(&self, who: SocketAddrV4) -> bool {
        let Some(node) = self.nodes.get(&who) else { return false };
        let can_have = self.rack_size(node.rack).saturating_sub(1).min(GRAPH_FLOOR);
        !node.complete && (self.within(who) < can_have || self.bridges_lacking(who) > 0)
    }

    fn rack_size(&self, rack: Rack) -> usize {
        self.racks.get(&rack).map_or(0, |m| m.all.len())
    }

    /// Links inside the rack.
    fn within(&self, who: SocketAddrV4) -> usize {
        self.nodes.get(&who).map_or(0, |n| n.links.len() - n.bridges)
    }

    /// Bridges that a peer should build now: a few at a time, and by whoever has none while few have any, so that no one
    /// peer's end cuts off the rack.
    fn bridges_lacking(&self, who: SocketAddrV4) -> usize {
        let Some(node) = self.nodes.get(&who) else { return 0 };
        let Some(members) = self.racks.get(&node.rack) else { return 0 };
        let elsewhere = self.nodes.len() - members.all.len();
        if elsewhere == 0 {
            return 0;
        }
        // Of a rack of one to a rack of one there is one bridge only.
        let possible = members.all.len().saturating_mul(elsewhere);
        let lacking = GRAPH_BRIDGES.min(possible).saturating_sub(members.bridges);
        let another_gate = node.bridges == 0 && members.gates < GRAPH_GATES;
        lacking.min(GRAPH_BRIDGES_AT_ONCE).max(usize::from(another_gate))
    }

    /// Notes whether the peer needs anything. Who has become complete drops those that are so already.
    fn finish(&mut self, who: SocketAddrV4, complete: bool) {
        let Some(node) = self.nodes.get_mut(&who) else { return };
        if core::mem::replace(&mut node.complete, complete) == complete || !complete {
            return;
        }
        for peer in self.row(who).to_vec() {
            if self.nodes.get(&peer).is_some_and(|n| n.complete) {
                self.unlink(who, peer);
            }
        }
    }

    /// Another rack: of a few drawn by lot the one with the fewest bridges.
    fn choose_rack(&mut self, home: Rack) -> Option<Rack> {
        let others: Vec<(usize, Rack)> =
            self.racks.iter().filter(|(r, _)| **r != home).map(|(r, m)| (m.bridges, *r)).collect();
        let lots = &mut self.lots;
        let draws = (0..GRAPH_CHOICES).filter_map(|_| others.get(below(lots, others.len())));
        draws.min_by_key(|(bridges, _)| *bridges).map(|(_, rack)| *rack)
    }

    /// Somebody of `rack` for `who`: of a few drawn by lot the one with the fewest bridges, if it is for a bridge, and
    /// links; of all, where the lots find nobody.
    fn choose(&mut self, who: SocketAddrV4, rack: Rack) -> Option<SocketAddrV4> {
        let Graph { lots, nodes, racks } = self;
        let asker = nodes.get(&who)?;
        let all = &racks.get(&rack)?.all;
        let bridging = asker.rack != rack;
        let rank = |peer: &SocketAddrV4| {
            let node = nodes.get(peer)?;
            let fits = *peer != who
                && !(asker.complete && node.complete)
                && node.links.len() < GRAPH_MOST
                && asker.links.binary_search(peer).is_err();
            fits.then_some((if bridging { node.bridges } else { 0 }, node.links.len()))
        };
        let draw = |_| all.get(below(lots, all.len())).and_then(|peer| Some((rank(peer)?, *peer)));
        // Some draws miss: themselves, and those that are linked already.
        let drawn = (0..2 * GRAPH_CHOICES).filter_map(draw).take(GRAPH_CHOICES).min();
        let any = || all.iter().filter_map(|peer| Some((rank(peer)?, Reverse(*peer)))).min();
        drawn.map(|(_, peer)| peer).or_else(|| any().map(|(_, Reverse(peer))| peer))
    }

    fn link(&mut self, a: SocketAddrV4, b: SocketAddrV4) {
        let bridge = self.is_bridge(a, b);
        for (from, to) in [(a, b), (b, a)] {
            let Some(node) = self.nodes.get_mut(&from) else { continue };
            let Err(at) = node.links.binary_search(&to) else { continue };
            node.links.insert(at, to);
            if bridge {
                node.bridges += 1;
                let members = self.racks.entry(node.rack).or_default();
                members.bridges += 1;
                members.gates += usize::from(node.bridges == 1);
            }
        }
    }

    fn unlink(&mut self, a: SocketAddrV4, b: SocketAddrV4) {
        let bridge = self.is_bridge(a, b);
        for (from, to) in [(a, b), (b, a)] {
            let Some(node) = self.nodes.get_mut(&from) else { continue };
            let Ok(at) = node.links.binary_search(&to) else { continue };
            node.links.remove(at);
            if bridge {
                node.bridges -= 1;
                let members = self.racks.entry(node.rack).or_default();
                members.bridges -= 1;
                members.gates -= usize::from(node.bridges == 0);
            }
        }
    }

    fn is_bridge(&self, a: SocketAddrV4, b: SocketAddrV4) -> bool {
        self.rack(a) != self.rack(b)
    }
}

fn below(lots: &mut Rng, bound: usize) -> usize {
    lots.below(u32::try_from(bound).unwrap_or(u32::MAX)) as usize
}

#[cfg(test)]
mod tests;
