//! Performs what the core asks for, and tells it what became of it. Decides nothing.

use super::link::Link;
use super::{Driver, Event};
use boottorrent_swarm::Time;
use boottorrent_swarm::announce::Announce;
use boottorrent_swarm::metainfo::Piece;
use boottorrent_swarm::swarm::{CloseReason, Conn, Input, Output};
use smoltcp::phy;
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{IpAddress, IpEndpoint};
use std::sync::Arc;

impl<D: phy::Device> Driver<D> {
    /// Performs outputs until there are none.
    pub(super) fn perform(&mut self, now: Time) {
        loop {
            let socket = self.sockets.get_mut::<udp::Socket<'_>>(self.tracker_socket);
            self.trackers.run(now, &mut self.swarm, |to, datagram| {
                // A full buffer is a lost datagram: the client repeats it.
                let _ = socket.send_slice(datagram, IpEndpoint::new(IpAddress::Ipv4(*to.ip()), to.port()));
            });
            let mut idle = true;
            while let Some(output) = self.swarm.poll() {
                idle = false;
                self.output(output, now);
            }
            while let Some(conn) = self.dirty.pop() {
                idle = false;
                self.flush(conn, now);
            }
            if idle {
                return;
            }
        }
    }

    fn output(&mut self, output: Output, now: Time) {
        match output {
            Output::Dial { peer } => self.dial(peer, now),
            Output::Handshake { conn, handshake } => {
                self.queue(conn, |link| link.outbound.push(|out| out.extend_from_slice(&handshake.emit())));
            }
            Output::Send { conn, message } => {
                self.queue(conn, |link| link.outbound.push(|out| message.emit(out)));
            }
            Output::SendBlock { conn, block } => {
                let content = Arc::clone(&self.landing.content);
                self.queue(conn, |link| link.outbound.push_block(block, &content));
            }
            Output::Close { conn, reason } => self.close(conn, reason, now),
            Output::Verify { piece } => self.verify(piece, now),
            Output::Announce { event, left, uploaded, downloaded } => {
                let announce = Announce {
                    info_hash: self.info_hash,
                    peer_id: self.options.peer_id,
                    downloaded,
                    left,
                    uploaded,
                    event,
                    address: None,
                    key: self.key,
                    want: None,
                    port: self.options.port.unwrap_or(0),
                };
                self.trackers.announce(now, announce);
                if self.trackers.is_empty() {
                    self.swarm.handle(now, Input::AnnounceFailed);
                }
            }
            // Only for who has asked the core to find peers locally, and this driver does not.
            Output::AnnounceLocal => {}
            Output::Complete => self.tell(Event::Complete),
        }
    }

    fn verify(&mut self, piece: Piece, now: Time) {
        match self.landing.take(piece).check(&self.landing.content) {
            Ok(ok) => {
                if !ok {
                    self.tell(Event::FalsePiece(piece.index()));
                }
                self.swarm.handle(now, Input::Verified { piece, ok });
            }
            Err(error) => self.withdraw(error, now),
        }
    }

    fn queue(&mut self, conn: Conn, push: impl FnOnce(&mut Link)) {
        // A link that has gone meanwhile: its end is told to the core already.
        let Some(link) = self.links.get_mut(&conn) else { return };
        push(link);
        self.mark(conn);
    }

    /// The link has something to send.
    pub(super) fn mark(&mut self, conn: Conn) {
        if let Some(link) = self.links.get_mut(&conn)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Moves what waits to the socket, and asks the core for more where there is room.
    fn flush(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.dirty = false;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(link.handle);
        match link.flush(now, socket, &self.landing.content) {
            Ok(0) => {}
            Ok(_) => {
                let bytes = link.room();
                self.swarm.handle(now, Input::Room { conn, bytes });
            }
            Err(hangup) => self.hang_up(conn, hangup, now),
        }
    }

    fn close(&mut self, conn: Conn, reason: CloseReason, now: Time) {
        let Some(link) = self.links.get(&conn) else { return };
        let peer = link.peer;
        if matches!(reason, CloseReason::Protocol(_) | CloseReason::FalsePiece | CloseReason::Backlog) {
            self.tell(Event::Warning("peer refused", format!("{peer}: {reason}")));
        }
        self.forget(conn, now);
    }
}
