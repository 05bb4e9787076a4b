//! Turns that our own nodes offer each other (`bt_ctl`). Decides how much is accepted at a time: enough to keep the
//! downlink full, and little enough that pieces come one after the other; never who is offered one (upload.rs).

use super::{Conn, Swarm};
use crate::limits::{DOWNLOAD_LEAD, DOWNLOAD_LEAD_MIN, LATE, READY_TOLD, RING_LAG};
use crate::metainfo::{BLOCK, Piece};
use crate::peers::Peer;
use crate::pieces::Take;
use crate::ring::Ring;
use crate::wire::{Control, OwnedMessage};
use alloc::vec::Vec;

impl Swarm {
    pub(super) fn tell(&mut self, conn: Conn, control: Control) {
        if let Some(id) = self.peers.get(&conn).and_then(|p| p.control) {
            // What we have is said before what we want.
            self.flush_haves(conn);
            self.send(conn, OwnedMessage::Control { id, control });
        }
    }

    /// Of a link that owes blocks for too long nothing is expected at present.
    pub(super) fn note_late(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if !peer.is_late && peer.owes_for(self.now, LATE.max(peer.gap)) {
            peer.is_late = true;
            self.welcome();
        }
    }

    pub(super) fn control(&mut self, conn: Conn, control: Control) {
        match control {
            Control::Offer(piece) => self.offered(conn, piece),
            Control::Pass => {
                let named = self.uploads.passed(conn);
                if let Some(peer) = self.peers.get_mut(&conn) {
                    peer.full = Some(self.now);
                    named.into_iter().for_each(|piece| peer.declined.add(self.now, piece));
                }
                self.serve();
            }
            Control::Fetching(piece) => self.told_fetching(conn, piece),
            Control::Ready => {
                if let Some(peer) = self.peers.get_mut(&conn) {
                    // Behind a pass it means another piece; otherwise what was declined may be of use again.
                    if peer.full.take().is_none() {
                        peer.declined.clear();
                    }
                    peer.ready = true;
                }
                self.serve();
            }
        }
    }

    /// Accepts by asking for a whole piece, or passes: who is not answered at all is taken for dead.
    fn offered(&mut self, conn: Conn, hint: Option<u32>) {
        let accepts = self.accepts(conn);
        let choice = if accepts { self.choose_offered(conn, hint) } else { None };
        if choice.is_some_and(|(piece, take)| self.accept(conn, piece, take)) {
            return;
        }
        let from_ring = accepts && self.is_feeder(conn);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        (peer.passed, peer.refused) = (!from_ring, from_ring);
        self.tell(conn, Control::Pass);
        if from_ring {
            // Not this one, but another.
            self.tell(conn, Control::Ready);
        }
    }

    /// Asks for what is left of a piece, if anything is: all of it may be under way from links that stand still.
    fn accept(&mut self, conn: Conn, piece: Piece, take: Take) -> bool {
        self.claim(conn, piece, take);
        self.pump(conn);
        let Some(peer) = self.peers.get_mut(&conn) else { return false };
        let asked = peer.requests.iter().any(|r| r.live && r.block.piece == piece);
        peer.passed = !asked;
        if !asked {
            peer.claims.retain(|(p, _)| *p != piece);
            self.pieces.disown(piece, conn);
        }
        asked
    }

    /// Something is to be had again: whose pieces were refused since others fetched them may offer them once more.
    pub(super) fn reconsider(&mut self) {
        let refused = self.peers.iter_mut().filter(|(_, p)| p.refused && p.useful > 0);
        let refused: Vec<Conn> = refused.map(|(c, p)| (*c, p.refused = false).0).collect();
        refused.into_iter().for_each(|conn| self.tell(conn, Control::Ready));
    }

    pub(super) fn ring(&self) -> Option<Ring> {
        Ring::new(&self.peers, self.config.peer_id, self.crowd)
    }

    /// It feeds us in the ring, be it in place of one that is far behind us.
    fn is_feeder(&self, conn: Conn) -> bool {
        let Some(ring) = self.ring() else { return false };
        let least = self.pieces.have().count().saturating_sub(RING_LAG);
        [0, least].into_iter().any(|least| ring.before(&self.peers, least) == Some(conn))
    }

    /// What is named, be it on its way to the peer still; or what suits of that which it has.
    fn choose_offered(&mut self, conn: Conn, hint: Option<u32>) -> Option<(Piece, Take)> {
        let hint = hint.and_then(|n| self.config.geometry.piece(n));
        let peer = self.peers.get(&conn)?;
        let spared = self.spared(peer);
        let fresh = |p: &Piece| !self.pieces.have().has(*p) && self.pieces.get(*p).is_none();
        let fits = |p: &Piece| fresh(p) && !spared.has(&self.picker, *p);
        match hint.filter(fits) {
            Some(piece) => Some((piece, Take::First)),
            None => self.choose(conn),
        }
    }

    /// Blocks that are asked for and not here; those of a slow link count as much less as it is slower than our own, or
    /// one sender that serves many would keep us from all the others.
    pub(super) fn awaited(&self) -> u32 {
        let best = self.inflow.best();
        let owing = self.owing.iter().filter_map(|conn| self.peers.get(conn));
        let expected = owing.filter(|p| p.live > 0 && !p.snubbed && !p.is_late);
        expected.map(|p| p.awaited(self.now, best)).sum()
    }

    /// Blocks below which another piece is welcome: so much that the next one begins as the last one ends.
    fn capacity(&self) -> u32 {
        let micros = u64::try_from(DOWNLOAD_LEAD.as_micros()).unwrap_or(u64::MAX);
        let lead = (self.inflow.best() / 1000).saturating_mul(micros / 1000) / u64::from(BLOCK);
        u32::try_from(lead).unwrap_or(u32::MAX).max(DOWNLOAD_LEAD_MIN)
    }

    fn accepts(&self, conn: Conn) -> bool {
        let Some(peer) = self.peers.get(&conn) else { return false };
        if self.stopped || peer.snubbed || peer.choking || self.now < peer.paused_until {
            return false;
        }
        let capacity = self.capacity();
        if self.is_feeder(conn) {
            let blocks = |here: bool| {
                let owed = peer.requests.iter().filter(|r| r.live && peer.have.has(r.block.piece) == here);
                u32::try_from(owed.count()).unwrap_or(u32::MAX)
            };
            let piece = self.config.geometry.piece_length().div_ceil(BLOCK);
            return blocks(true) <= capacity.max(2 * piece) && blocks(false) <= 3 * piece;
        }
        // A source's turn is the dearest, since all that is new comes from there: it is taken beside another's.
        let piece = self.config.geometry.piece_length().div_ceil(BLOCK);
        let beside = if (peer.is_complete() || peer.is_far) && peer.live <= piece {
            capacity + piece
        } else {
            capacity
        };
        self.awaited() < beside
    }

    /// There is room for more: some of those whose offers were passed hear of it.
    pub(super) fn welcome(&mut self) {
        if self.pieces.is_complete() || self.awaited() >= self.capacity() {
            return;
        }
        let of_use = |p: &Peer| p.useful > 0 && !p.snubbed && (!p.is_far || self.is_worth_the_way(p));
        let passed = self.peers.iter().filter(|(_, p)| p.passed && of_use(p));
        let all: Vec<(bool, bool, Conn)> = passed.map(|(c, p)| (!p.is_far, !p.is_complete(), *c)).collect();
        let lots = |(near, other, conn)| (near, other, self.rng.next_u32(), conn);
        let mut all: Vec<(bool, bool, u32, Conn)> = all.into_iter().map(lots).collect();
        all.sort_unstable();
        for (_, _, _, conn) in all.into_iter().take(READY_TOLD) {
            if let Some(peer) = self.peers.get_mut(&conn) {
                peer.passed = false;
            }
            self.tell(conn, Control::Ready);
        }
    }
}
