//! Links out of our network are spared: a piece crosses them once for all that are near each other, whatever their number.
//! Decides what may be fetched from afar; where nobody is far it decides nothing.

use super::{Conn, Swarm};
use crate::graph::Rack;
use crate::limits::{FETCHING_KEPT, FETCHING_MAX, STARVED};
use crate::metainfo::Piece;
use crate::peers::Peer;
use crate::picker::Picker;
use crate::wire::Control;
use alloc::vec::Vec;

/// Why a link is not asked for some pieces.
#[derive(Debug)]
pub(super) enum Spared {
    /// It is near, or we are starving: it may be asked for anything.
    Nothing,
    /// For what is near already, and what others near fetch.
    Near(Vec<Piece>),
}

impl Spared {
    pub(super) fn has(&self, picker: &Picker, piece: Piece) -> bool {
        match self {
            Spared::Nothing => false,
            Spared::Near(fetching) => picker.is_near(piece) || fetching.contains(&piece),
        }
    }
}

impl Swarm {
    /// Where we are, as others are told: the rack that the tracker has told, else our network, by its address. Nothing where
    /// neither is known, as by a master that all networks ask.
    pub(super) fn whereabouts(&self) -> Option<Rack> {
        let network = || self.config.network().map(|network| Rack(network.to_bits()));
        self.rack.or_else(network)
    }

    /// What a peer says of its place counts more than its address; nobody is far from whoever does not know its own.
    pub(super) fn is_far(&self, peer: &Peer) -> bool {
        match (self.whereabouts(), peer.rack) {
            (None, _) => false,
            (Some(own), Some(theirs)) => own != theirs,
            // It is in no rack, so not in ours.
            (Some(_), None) if self.rack.is_some() => true,
            (Some(_), None) => self.config.is_far(*peer.remote.ip()),
        }
    }

    /// The tracker has told our rack.
    pub(super) fn placed(&mut self, rack: Rack) {
        if self.rack.replace(rack) == Some(rack) {
            return;
        }
        for conn in self.greet_again() {
            self.place(conn);
        }
    }

    /// Looks again whether the peer is far.
    pub(super) fn place(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let is_far = self.is_far(peer);
        if is_far == peer.is_far {
            return;
        }
        for piece in self.config.geometry.all().filter(|p| peer.have.has(*p)) {
            self.picker.vanished(piece, peer.is_far);
            self.picker.appeared(piece, is_far);
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.is_far = is_far;
        }
        self.wake_pickers();
    }

    /// Nothing has come for so long that whatever is to be had is taken.
    pub(super) fn is_starved(&self) -> bool {
        self.now.since(self.fed) >= STARVED
    }

    pub(super) fn spared(&self, peer: &Peer) -> Spared {
        if !peer.is_far || self.is_starved() {
            return Spared::Nothing;
        }
        let near = self.peers.values().filter(|p| !p.is_far && !p.snubbed);
        let recent = |(_, since): &&(Piece, crate::Time)| self.now.since(*since) < FETCHING_KEPT;
        Spared::Near(near.flat_map(|p| p.fetching.iter().filter(recent).map(|(p, _)| *p)).collect())
    }

    /// The far peer has something that nobody near has or fetches, we ourselves included.
    pub(super) fn is_worth_the_way(&self, peer: &Peer) -> bool {
        let spared = self.spared(peer);
        self.pieces.wanted().iter().any(|p| peer.have.has(*p) && !spared.has(&self.picker, *p))
    }

    /// We fetch this piece from afar.
    pub(super) fn tell_neighbours(&mut self, piece: Piece) {
        let lacks = |p: &Peer| !p.is_far && p.control.is_some() && !p.have.has(piece);
        let near: Vec<Conn> = self.peers.iter().filter(|(_, p)| lacks(p)).map(|(c, _)| *c).collect();
        near.into_iter().for_each(|conn| self.tell(conn, Control::Fetching(piece.index())));
    }

    /// A neighbour fetches this piece from afar. Who is far is not believed, or it could talk us out of any piece.
    pub(super) fn told_fetching(&mut self, conn: Conn, piece: u32) {
        let Some(piece) = self.config.geometry.piece(piece) else { return };
        let Some(peer) = self.peers.get_mut(&conn).filter(|p| !p.is_far && !p.have.has(piece)) else {
            return;
        };
        peer.fetching.retain(|(p, _)| *p != piece);
        if peer.fetching.len() >= FETCHING_MAX {
            peer.fetching.pop_front();
        }
        peer.fetching.push_back((piece, self.now));
    }
}
