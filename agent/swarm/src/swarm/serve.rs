//! Answers to peers: blocks, rejects and HAVEs. Decides that every request gets exactly one answer (BEP 6).

use super::{Conn, Output, Swarm};
use crate::Time;
use crate::limits::{HAVE_DELAY, QUEUE, RING_HAVE_DELAY, RING_LAG};
use crate::metainfo::Piece;
use crate::peers::Peer;
use crate::upload::{Sender, Turn};
use crate::wire::{BlockClaim, Control, OwnedMessage, PIECE_HEADER};
use alloc::vec::Vec;

impl Swarm {
    pub(super) fn requested(&mut self, conn: Conn, claim: BlockClaim) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let block = self.config.geometry.claim(claim.index, claim.offset, claim.length);
        let block = block.ok_or("a request outside the torrent, or above 16 KiB")?;
        // One of ours may ask for a piece that it was offered while it still arrives.
        let here = self.pieces.have().has(block.piece)
            || peer.control.is_some() && self.pieces.get(block.piece).is_some();
        if here && peer.queue.len() < QUEUE {
            peer.queue.push(block);
            peer.full = None;
            self.uploads.asked(self.now, conn, block.piece);
            self.serve();
        } else if peer.fast {
            self.send(conn, OwnedMessage::Reject(claim));
        }
        Ok(())
    }

    pub(super) fn cancelled(&mut self, conn: Conn, claim: BlockClaim) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let block = self.config.geometry.claim(claim.index, claim.offset, claim.length);
        // A block that is on its way already is its own answer.
        let taken = block.is_some_and(|b| peer.queue.cancel(b));
        if taken && peer.fast {
            self.send(conn, OwnedMessage::Reject(claim));
        }
    }

    pub(super) fn room(&mut self, conn: Conn, bytes: u32) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.room = i64::from(bytes);
            self.serve();
        }
    }

    /// Hands out turns until links are full or the slots are taken.
    pub(super) fn serve(&mut self) {
        loop {
            let sender = Sender { id: self.config.peer_id, pieces: &self.pieces, crowd: self.crowd };
            match self.uploads.next(self.now, &mut self.peers, sender, &mut self.rng) {
                Turn::Send(conn, block) => {
                    self.flush_haves(conn);
                    let Some(peer) = self.peers.get_mut(&conn) else { continue };
                    peer.room -= i64::from(block.length) + PIECE_HEADER as i64;
                    peer.bytes_out += u64::from(block.length);
                    peer.last_out = self.now;
                    self.push(Output::SendBlock { conn, block });
                }
                Turn::Offer(conn, piece) => {
                    self.flush_haves(conn);
                    self.tell(conn, Control::Offer(piece.map(Piece::index)));
                }
                Turn::Wait(until) => {
                    self.uploads_at = until;
                    return;
                }
            }
        }
    }

    /// A piece is ours: everybody who lacks it hears of it, soon.
    pub(super) fn spread(&mut self, piece: Piece) {
        let ring = self.ring();
        let next = ring.as_ref().and_then(|ring| ring.next(&self.peers, None));
        let pieces = self.config.geometry.pieces();
        for (conn, peer) in self.peers.iter_mut().filter(|(_, p)| p.peer_id.is_some()) {
            let lacks = !peer.have.has(piece);
            // Our own nodes serve the poorest first, so they hear of every piece, if it costs no packet.
            if lacks || peer.control.is_some() && !peer.is_complete() {
                peer.haves.push(piece);
            }
            let ringed = ring.is_some() && peer.control.is_some() && !peer.is_complete();
            // The last in a ring tell nobody anything new, but must not be taken for ones that have just begun.
            if !lacks && !ringed {
                continue;
            }
            // Who has just begun, or lacks a few only, takes them from anybody.
            let needy = peer.have.count().min(pieces - peer.have.count()) <= RING_LAG;
            let calm = ringed && (!lacks || next != Some(*conn) && !needy);
            let until = self.now + if calm { RING_HAVE_DELAY } else { HAVE_DELAY };
            let until = peer.haves_until.map_or(until, |t| t.min(until));
            peer.haves_until = Some(until);
            self.haves_at = Some(self.haves_at.map_or(until, |t| t.min(until)));
        }
    }

    /// Sends what waits for this link, since something else goes there now.
    pub(super) fn flush_haves(&mut self, conn: Conn) {
        let until = self.send_haves(conn);
        if until.is_some() && until == self.haves_at {
            self.haves_at = self.peers.values().filter_map(|p| p.haves_until).min();
        }
    }

    /// Until when they might have waited.
    fn send_haves(&mut self, conn: Conn) -> Option<Time> {
        let peer = self.peers.get_mut(&conn)?;
        let until = peer.haves_until.take();
        for piece in core::mem::take(&mut peer.haves) {
            self.send(conn, OwnedMessage::Have(piece.index()));
        }
        until
    }

    /// Sends those that have waited long enough.
    pub(super) fn flush_due_haves(&mut self) {
        let due = |p: &Peer| p.haves_until.is_some_and(|t| t <= self.now);
        let due: Vec<Conn> = self.peers.iter().filter(|(_, p)| due(p)).map(|(c, _)| *c).collect();
        for conn in due {
            self.send_haves(conn);
        }
        self.haves_at = self.peers.values().filter_map(|p| p.haves_until).min();
    }

    /// We are complete: BEP 21 tells those whom suppressed HAVEs have left in doubt.
    pub(super) fn tell_complete(&mut self) {
        let all: Vec<Conn> = self.peers.keys().copied().collect();
        for conn in all {
            self.flush_haves(conn);
            self.woo(conn);
        }
        for conn in self.greet_again() {
            self.leave_if_redundant(conn);
        }
    }
}
