//! Links come and go. Decides which of two links to the same peer stays, and what is said first on each.

use super::{CloseReason, Conn, Output, PeerStat, Swarm};
use crate::fair::who_gives_way;
use crate::limits::{MAX_BACKLOG, MAX_DEPARTED, QUEUE, SIMULTANEOUS};
use crate::peers::Peer;
use crate::pieces::Who;
use crate::wire::{EXT_CONTROL, ExtHandshake, Handshake, OwnedMessage};
use crate::{InfoHash, PeerId};
use alloc::vec::Vec;
use core::net::SocketAddrV4;

/// One peer's figures.
pub(super) fn stat(peer: &Peer) -> PeerStat {
    PeerStat {
        addr: peer.listens.unwrap_or(peer.remote),
        peer_id: peer.peer_id,
        is_master: peer.is_master,
        connected: true,
        complete: peer.is_complete(),
        bytes_in: peer.bytes_in,
        bytes_out: peer.bytes_out,
        duplicates: peer.duplicates,
    }
}

impl Swarm {
    pub(super) fn connected(&mut self, conn: Conn, remote: SocketAddrV4, outgoing: bool) {
        if self.peers.contains_key(&conn) {
            return;
        }
        let mut peer = Peer::new(self.now, remote, outgoing, &self.config.geometry);
        peer.is_far = self.is_far(&peer);
        peer.is_master = outgoing && self.book.is_master(remote);
        self.peers.insert(conn, peer);
        if self.stopped {
            return self.close(conn, CloseReason::Stopped);
        }
        if outgoing {
            self.book.linked(self.now, remote);
            self.shake(conn);
        }
    }

    fn shake(&mut self, conn: Conn) {
        let handshake = Handshake::new(self.config.info_hash, self.config.peer_id);
        self.push(Output::Handshake { conn, handshake });
    }

    pub(super) fn dial_failed(&mut self, addr: SocketAddrV4) {
        self.book.failed(self.now, addr);
    }

    pub(super) fn handshake(&mut self, conn: Conn, shake: Handshake) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.peer_id.is_some() {
            return self.close(conn, CloseReason::Protocol("a second handshake"));
        }
        peer.last_in = self.now;
        let (outgoing, listens) = (peer.outgoing, peer.listens.unwrap_or(peer.remote));
        if let Err(reason) = self.admit(conn, shake.info_hash, shake.peer_id) {
            if matches!(reason, CloseReason::Ourselves | CloseReason::WrongTorrent) && outgoing {
                self.book.leave(listens);
            }
            return self.close(conn, reason);
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.peer_id = Some(shake.peer_id);
            peer.fast = shake.fast();
            peer.extended = shake.extended();
        }
        if outgoing {
            self.book.proven(listens);
        } else {
            self.shake(conn);
        }
        self.introduce(conn);
    }

    /// May this peer stay? Closes the other link where this one replaces it.
    fn admit(&mut self, conn: Conn, info_hash: InfoHash, peer_id: PeerId) -> Result<(), CloseReason> {
        let Some(peer) = self.peers.get(&conn) else { return Err(CloseReason::Stopped) };
        if info_hash != self.config.info_hash {
            return Err(CloseReason::WrongTorrent);
        }
        if peer_id == self.config.peer_id {
            return Err(CloseReason::Ourselves);
        }
        if self.book.is_banned(Who { addr: peer.listens.unwrap_or(peer.remote), peer_id }) {
            return Err(CloseReason::FalsePiece);
        }
        let (outgoing, is_master) = (peer.outgoing, peer.is_master);
        // From another host it is somebody else under the same id, who must not push the first one out.
        let host = peer.remote.ip();
        let is_twin = |p: &Peer| p.peer_id == Some(peer_id) && p.remote.ip() == host;
        let twin = self.peers.iter().find(|(c, p)| **c != conn && is_twin(p));
        if let Some((&twin, old)) = twin {
            // Dialled at the same moment from both ends: both keep the one that the smaller id opened. Otherwise the
            // older one is what a rebooted peer has left behind, since nobody dials a peer that it is linked to.
            let simultaneous = old.outgoing != outgoing && self.now.since(old.since) < SIMULTANEOUS;
            if simultaneous && outgoing != (self.config.peer_id < peer_id) {
                let listens = old.listens;
                self.note_listens(twin, peer_address(self.peers.get(&conn)).or(listens));
                return Err(CloseReason::Duplicate);
            }
            let address = peer_address(self.peers.get(&twin));
            self.close(twin, CloseReason::Duplicate);
            self.note_listens(conn, address);
        } else if self.shaken() >= self.config.max_peers as usize && !is_master {
            let host = *host;
            let strangers = self.peers.iter().filter(|(_, p)| p.peer_id.is_some() && !p.is_master);
            let links = strangers.map(|(conn, p)| (*p.remote.ip(), *conn));
            let other = who_gives_way(links, host).ok_or(CloseReason::TooManyPeers)?;
            self.close(other, CloseReason::TooManyPeers);
        }
        Ok(())
    }

    /// Links with a finished handshake.
    pub(super) fn shaken(&self) -> usize {
        self.peers.values().filter(|p| p.peer_id.is_some()).count()
    }

    /// The peer of an incoming link turns out to listen there: it need not be dialled.
    pub(super) fn note_listens(&mut self, conn: Conn, addr: Option<SocketAddrV4>) {
        let (Some(addr), Some(peer)) = (addr, self.peers.get_mut(&conn)) else { return };
        if peer.listens.is_none() {
            peer.listens = Some(addr);
            peer.is_master |= self.book.is_master(addr);
            self.book.linked(self.now, addr);
        }
    }

    /// Pieces first (BEP 6), then extensions, then the unchoking that is never taken back.
    fn introduce(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let have = self.pieces.have();
        let pieces = match (peer.fast, have.count()) {
            (true, 0) => Some(OwnedMessage::HaveNone),
            (true, _) if have.is_all() => Some(OwnedMessage::HaveAll),
            (false, 0) => None,
            _ => Some(OwnedMessage::Bitfield(have.as_bytes().to_vec())),
        };
        let extended = peer.extended.then(|| self.extended_handshake());
        let messages = [pieces, extended.map(OwnedMessage::Extended), Some(OwnedMessage::Unchoke)];
        messages.into_iter().flatten().for_each(|message| self.send(conn, message));
    }

    pub(super) fn extended_handshake(&self) -> ExtHandshake {
        ExtHandshake {
            reqq: Some(QUEUE),
            port: self.config.listen_port,
            upload_only: Some(self.pieces.is_complete()),
            control: Some(EXT_CONTROL),
            rack: self.whereabouts(),
        }
    }

    /// Something in our extended handshake has changed: those who have had one get another (BEP 10).
    pub(super) fn greet_again(&mut self) -> Vec<Conn> {
        let links: Vec<Conn> = self.peers.iter().filter(|(_, p)| p.extended).map(|(c, _)| *c).collect();
        for conn in &links {
            let hello = self.extended_handshake();
            self.send(*conn, OwnedMessage::Extended(hello));
        }
        links
    }

    /// Sends a control message; these do not wait for room, so a peer that never reads is dropped.
    pub(super) fn send(&mut self, conn: Conn, message: OwnedMessage) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.last_out = self.now;
        peer.room -= i64::from(message.wire_size());
        let backlog = peer.room < -MAX_BACKLOG;
        self.push(Output::Send { conn, message });
        if backlog {
            self.close(conn, CloseReason::Backlog);
        }
    }

    /// Ends a link from our side.
    pub(super) fn close(&mut self, conn: Conn, reason: CloseReason) {
        if self.peers.contains_key(&conn) {
            self.push(Output::Close { conn, reason });
            self.closed(conn);
        }
    }

    /// The link is gone: whatever it fetched goes back, whatever it waited for is forgotten.
    pub(super) fn closed(&mut self, conn: Conn) {
        let Some(peer) = self.peers.remove(&conn) else { return };
        self.uploads.gone(conn);
        for request in &peer.requests {
            self.pieces.unask(request.block, conn);
            if request.arriving {
                self.pieces.abort(request.block, conn);
            }
        }
        for (piece, _) in &peer.claims {
            self.pieces.disown(*piece, conn);
        }
        for piece in self.config.geometry.all().filter(|p| peer.have.has(*p)) {
            self.picker.vanished(piece, peer.is_far);
        }
        self.uploads.lost(conn, |piece| self.picker.is_nowhere(piece));
        if let Some(addr) = peer.listens {
            let twin = self.peers.values().any(|p| p.listens == Some(addr));
            if !twin {
                self.book.failed(self.now, addr);
            }
        }
        self.remember(&peer);
        self.wake_pickers();
    }

    fn remember(&mut self, peer: &Peer) {
        if peer.bytes_in + peer.bytes_out + peer.duplicates == 0 {
            return;
        }
        let gone = PeerStat { connected: false, ..stat(peer) };
        let same = |s: &&mut PeerStat| s.peer_id == gone.peer_id && s.addr.ip() == gone.addr.ip();
        if let Some(old) = self.departed.iter_mut().find(same) {
            old.bytes_in += gone.bytes_in;
            old.bytes_out += gone.bytes_out;
            old.duplicates += gone.duplicates;
            old.complete = gone.complete;
        } else if self.departed.len() < MAX_DEPARTED {
            self.departed.push(gone);
        }
    }

    /// Never again: the peer sent a false piece.
    pub(super) fn ban(&mut self, who: Who) {
        self.book.ban(who);
        let links: Vec<Conn> = self
            .peers
            .iter()
            .filter(|(_, p)| p.who().is_some_and(|w| self.book.is_banned(w)))
            .map(|(c, _)| *c)
            .collect();
        links.into_iter().for_each(|conn| self.close(conn, CloseReason::FalsePiece));
    }

    pub(super) fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        let links: Vec<Conn> = self.peers.keys().copied().collect();
        links.into_iter().for_each(|conn| self.close(conn, CloseReason::Stopped));
        self.announce(crate::announce::Event::Stopped);
    }
}

fn peer_address(peer: Option<&Peer>) -> Option<SocketAddrV4> {
    peer.and_then(|p| p.listens)
}
