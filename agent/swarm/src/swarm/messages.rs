//! What a peer says, one message at a time. Decides what closes a link; hostile input costs that link only.

use super::{CloseReason, Conn, Swarm};
use crate::bitfield::Bitfield;
use crate::metainfo::Piece;
use crate::wire::{ExtHandshake, Message, OwnedMessage};
use alloc::vec::Vec;
use core::net::SocketAddrV4;

impl Swarm {
    pub(super) fn message(&mut self, conn: Conn, message: Message<'_>) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.peer_id.is_none() {
            return self.close(conn, CloseReason::Protocol("a message before the handshake"));
        }
        peer.last_in = self.now;
        let woken = peer.mute.take().is_some();
        let geometry = self.config.geometry;
        let done = match message {
            Message::KeepAlive
            | Message::Port(_)
            | Message::Suggest(_)
            | Message::AllowedFast(_)
            | Message::Unknown(_) => Ok(()),
            Message::Choke => {
                self.choked(conn);
                Ok(())
            }
            Message::Unchoke => {
                peer.choking = false;
                self.pump(conn);
                Ok(())
            }
            Message::Interested => {
                // Said again it changes nothing, and the scheduler is dear.
                if !core::mem::replace(&mut peer.interested, true) {
                    self.serve();
                }
                Ok(())
            }
            Message::NotInterested => {
                peer.interested = false;
                Ok(())
            }
            Message::Have(index) => self.they_have(conn, geometry.piece(index)),
            Message::Bitfield(bytes) => self.they_have_these(conn, Bitfield::parse(bytes, &geometry)),
            Message::HaveAll => self.they_have_all(conn, Some(Bitfield::all(&geometry))),
            Message::HaveNone => self.they_have_all(conn, Some(Bitfield::none(&geometry))),
            Message::Request(claim) => self.requested(conn, claim),
            Message::Cancel(claim) => {
                self.cancelled(conn, claim);
                Ok(())
            }
            Message::Reject(claim) => self.rejected(conn, claim),
            Message::Extended(hello) => {
                self.extended(conn, &hello);
                Ok(())
            }
            Message::Control { control, .. } => {
                self.control(conn, control);
                Ok(())
            }
            Message::DontHave(index) => self.they_lost(conn, geometry.piece(index)),
        };
        if let Err(what) = done {
            return self.close(conn, CloseReason::Protocol(what));
        }
        if woken {
            self.serve();
        }
    }

    fn they_have(&mut self, conn: Conn, piece: Option<Piece>) -> Result<(), &'static str> {
        let piece = piece.ok_or("a piece that does not exist")?;
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        peer.have_told = true;
        if !peer.have.set(piece) {
            return Ok(());
        }
        if peer.requests.iter().any(|r| r.live && r.block.piece == piece) {
            // It can send what it promised from now on.
            peer.progress = self.now;
        }
        if peer.control.is_none() {
            // It need not be told of a piece that it has.
            peer.haves.retain(|p| *p != piece);
        }
        self.picker.appeared(piece, peer.is_far);
        peer.fetching.retain(|(p, _)| *p != piece);
        if !self.pieces.have().has(piece) {
            peer.useful += 1;
            peer.exhausted = false;
            self.woo(conn);
            self.rethink(piece);
            self.pump(conn);
            self.welcome();
        }
        self.leave_if_redundant(conn);
        Ok(())
    }

    /// aria2 sends a bitfield in the middle, too, where that is shorter than the HAVEs it owes; nothing is taken back by it.
    fn they_have_these(&mut self, conn: Conn, bits: Option<Bitfield>) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get(&conn) else { return Ok(()) };
        if !peer.have_told {
            return self.they_have_all(conn, bits);
        }
        let bits = bits.ok_or("a bitfield of the wrong length")?;
        let news = self.config.geometry.all().filter(|p| bits.has(*p) && !peer.have.has(*p));
        let news: Vec<Piece> = news.collect();
        news.into_iter().try_for_each(|piece| self.they_have(conn, Some(piece)))
    }

    fn they_have_all(&mut self, conn: Conn, bits: Option<Bitfield>) -> Result<(), &'static str> {
        let bits = bits.ok_or("a bitfield of the wrong length")?;
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if peer.have_told {
            return Err("have-all or have-none that is not the first message");
        }
        peer.have_told = true;
        for piece in self.config.geometry.all().filter(|p| bits.has(*p)) {
            self.picker.appeared(piece, peer.is_far);
            peer.useful += u32::from(!self.pieces.have().has(piece));
        }
        peer.have = bits;
        peer.exhausted = false;
        self.woo(conn);
        self.pump(conn);
        self.leave_if_redundant(conn);
        Ok(())
    }

    fn they_lost(&mut self, conn: Conn, piece: Option<Piece>) -> Result<(), &'static str> {
        let piece = piece.ok_or("a piece that does not exist")?;
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        if peer.have.clear(piece) {
            self.picker.vanished(piece, peer.is_far);
            if !self.pieces.have().has(piece) {
                peer.useful = peer.useful.saturating_sub(1);
                self.give_up_piece(conn, piece);
                self.woo(conn);
                self.wake_pickers();
            }
        }
        Ok(())
    }

    /// Says whether we are interested, where that has changed. In a ring that changes twice a piece, and nobody there
    /// decides anything by it: two packets less, of some five.
    pub(super) fn woo(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let (wants, ours) = (peer.useful > 0, peer.control.is_some() && !self.pieces.is_complete());
        if wants == peer.wooed || !wants && ours && self.ring().is_some() {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.wooed = wants;
            let message = if wants { OwnedMessage::Interested } else { OwnedMessage::NotInterested };
            self.send(conn, message);
        }
    }

    fn extended(&mut self, conn: Conn, hello: &ExtHandshake) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if let Some(reqq) = hello.reqq {
            peer.reqq = reqq.max(1);
        }
        if let Some(id) = hello.control {
            peer.control = Some(id).filter(|id| *id != 0);
        }
        peer.upload_only |= hello.upload_only == Some(true);
        peer.rack = hello.rack.or(peer.rack);
        let remote = peer.remote;
        let listens = hello.port.map(|port| SocketAddrV4::new(*remote.ip(), port));
        self.note_listens(conn, listens);
        self.place(conn);
        self.serve();
        self.leave_if_redundant(conn);
    }

    /// Two complete peers have nothing to tell each other (BEP 21); the master's links stay.
    pub(super) fn leave_if_redundant(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let told = peer.have_told && peer.is_complete();
        if told && self.pieces.is_complete() && !peer.is_master {
            self.close(conn, CloseReason::Redundant);
        }
    }
}
