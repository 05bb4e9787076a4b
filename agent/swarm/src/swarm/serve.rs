//! Answers to peers: blocks, rejects and HAVEs. Decides that every request gets exactly one answer (BEP 6).

use super::{Conn, Output, Swarm};
use crate::limits::{HAVE_DELAY, QUEUE};
use crate::metainfo::Piece;
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
            let sender = Sender { id: self.config.peer_id, pieces: &self.pieces };
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
        for peer in self.peers.values_mut().filter(|p| p.peer_id.is_some()) {
            let lacks = !peer.have.has(piece);
            // Our own nodes serve the poorest first, so they hear of every piece, if it costs no packet.
            if lacks || peer.control.is_some() && !peer.is_complete() {
                peer.haves.push(piece);
            }
            if lacks {
                self.haves_at.get_or_insert(self.now + HAVE_DELAY);
            }
        }
    }

    /// Sends what waits for this link, since something else goes there now.
    pub(super) fn flush_haves(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        for piece in core::mem::take(&mut peer.haves) {
            self.send(conn, OwnedMessage::Have(piece.index()));
        }
    }

    pub(super) fn flush_all_haves(&mut self) {
        self.haves_at = None;
        let waiting: Vec<Conn> =
            self.peers.iter().filter(|(_, p)| !p.haves.is_empty()).map(|(c, _)| *c).collect();
        waiting.into_iter().for_each(|conn| self.flush_haves(conn));
    }

    /// We are complete: BEP 21 tells those whom suppressed HAVEs have left in doubt.
    pub(super) fn tell_complete(&mut self) {
        self.flush_all_haves();
        let links: Vec<Conn> = self.peers.iter().filter(|(_, p)| p.extended).map(|(c, _)| *c).collect();
        for conn in links {
            let hello = self.extended_handshake();
            self.send(conn, OwnedMessage::Extended(hello));
            self.leave_if_redundant(conn);
        }
    }
}
