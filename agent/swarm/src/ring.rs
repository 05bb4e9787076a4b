//! Few nodes pass pieces round a ring, by peer id: the source feeds the first, and each node the one behind it. So every
//! link carries one steady flow, which is what TCP does best, and nobody waits for anybody: P - 1 + N piece times.
//! (With rarest-first alone ten nodes that are level with each other lack variety: 1.04 of the bound, and real sockets
//! lose more by the many short flows.) Decides the order; who in it can take something is the scheduler's to see.

use crate::PeerId;
use crate::limits::RING_MAX;
use crate::peers::{Peer, Peers};
use crate::swarm::Conn;

pub(crate) struct Ring {
    own: PeerId,
}

impl Ring {
    /// None: there are so many nodes that the way round is longer than what variety costs, or the way round would lead
    /// again and again over links that are to be spared, be they ours or, for a source, those of others. `crowd`: how many there are by the tracker's count, since of a
    /// large room a newcomer knows some only.
    pub(crate) fn new(peers: &Peers, own: PeerId, crowd: u32) -> Option<Ring> {
        let (mut count, mut rack) = (0, None);
        let fits = (crowd as usize) < RING_MAX
            && nodes(peers).all(|(_, p)| {
                count += 1;
                count < RING_MAX && !p.is_far && p.rack == *rack.get_or_insert(p.rack)
            });
        fits.then_some(Ring { own })
    }

    /// Orders peers by how far they are behind us.
    pub(crate) fn behind(&self, peer: &Peer) -> Place {
        let place = peer.peer_id.map(number);
        (place < Some(number(self.own)), place)
    }

    /// Who is fed by us; `past` one of ours: who would be, if all before that one and itself were not there.
    pub(crate) fn next(&self, peers: &Peers, past: Option<&Peer>) -> Option<Conn> {
        let past = past.map(|p| self.behind(p));
        let places = nodes(peers).map(|(conn, p)| (self.behind(p), *conn));
        places.filter(|(place, _)| past.is_none_or(|past| *place > past)).min().map(|(_, conn)| conn)
    }

    /// Who feeds us: the nearest before us, a source or not, of whom anything is to be expected, and that has so many
    /// pieces: who lacks what we have cannot be the one that feeds us.
    pub(crate) fn before(&self, peers: &Peers, pieces: u32) -> Option<Conn> {
        let able = |p: &Peer| p.control.is_some() && !p.snubbed && !p.is_late && p.have.count() >= pieces;
        let ours = peers.iter().filter(|(_, p)| able(p));
        ours.max_by_key(|(_, p)| self.behind(p)).map(|(c, _)| *c)
    }
}

/// Those of us who still download.
fn nodes(peers: &Peers) -> impl Iterator<Item = (&Conn, &Peer)> {
    peers.iter().filter(|(_, p)| p.control.is_some() && !p.is_complete())
}

/// Whether it lies before us, and where: as numbers, since a room compares them for every block and a comparison of bytes
/// is a call.
pub(crate) type Place = (bool, Option<(u128, u32)>);

fn number(PeerId(id): PeerId) -> (u128, u32) {
    let [high @ .., a, b, c, d] = id;
    (u128::from_be_bytes(high), u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Time;
    use crate::graph::Rack;
    use crate::metainfo::{BLOCK, Geometry};
    use core::net::{Ipv4Addr, SocketAddrV4};

    fn peers(ids: impl IntoIterator<Item = u8>) -> Peers {
        let geometry = Geometry::new(BLOCK, u64::from(BLOCK)).unwrap();
        let remote = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
        let peer = |id| Peer {
            peer_id: Some(PeerId([id; 20])),
            control: Some(8),
            ..Peer::new(Time(0), remote, false, &geometry)
        };
        (0..).zip(ids.into_iter().map(peer)).collect()
    }

    #[test]
    fn whoever_follows_us_is_fed_by_us() {
        let ids = [9, 2, 7, 4, 200];
        let fed_by = |own: u8| {
            let others = peers(ids.into_iter().filter(|id| *id != own));
            let ring = Ring::new(&others, PeerId([own; 20]), 0).unwrap();
            let behind = others[&ring.next(&others, None).unwrap()].peer_id.unwrap();
            let before = others[&ring.before(&others, 0).unwrap()].peer_id.unwrap();
            (behind.0[0], before.0[0])
        };
        assert_eq!(ids.map(fed_by), [(200, 7), (4, 200), (9, 4), (7, 2), (2, 9)]);
    }

    #[test]
    fn a_crowd_or_a_far_node_makes_no_ring() {
        let ring = |peers: &Peers| Ring::new(peers, PeerId([0; 20]), 0).is_some();
        let mut few = peers(1..RING_MAX as u8);
        assert!(ring(&few));
        assert!(Ring::new(&few, PeerId([0; 20]), RING_MAX as u32).is_none(), "there are more than we know");
        assert!(!ring(&peers(1..=RING_MAX as u8)));
        few.get_mut(&3).unwrap().is_far = true;
        assert!(!ring(&few));
        let mut few = peers(1..9);
        few.values_mut().for_each(|p| p.rack = Some(Rack(7)));
        assert!(ring(&few), "one rack");
        few.get_mut(&3).unwrap().rack = Some(Rack(8));
        assert!(!ring(&few), "far from each other, if not from us");
    }
}
