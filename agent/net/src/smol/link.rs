//! One TCP link on a smoltcp socket. Decides how much is moved at a time; never what it means.

use super::limits::SEND_PARTS;
use crate::driver::pace::Pace;
use crate::storage::Part;
use crate::stream::{Hangup, Inbound, Outbound};
use crate::verify::{Content, Landing};
use boottorrent_swarm::Time;
use boottorrent_swarm::swarm::{Conn, Swarm};
use boottorrent_swarm::wire::Handshake;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use std::net::SocketAddrV4;

/// How far a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Our SYN is under way.
    Dialling,
    /// Dialled us, and has not said which torrent.
    Greeting,
    /// The core knows it.
    Member,
}

pub(super) struct Link {
    pub(super) conn: Conn,
    pub(super) peer: SocketAddrV4,
    pub(super) handle: SocketHandle,
    pub(super) stage: Stage,
    /// The end of [`Stage::Dialling`] or [`Stage::Greeting`].
    pub(super) deadline: Option<Time>,
    pub(super) dirty: bool,
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    pace: Pace,
}

impl Link {
    pub(super) fn new(conn: Conn, handle: SocketHandle, peer: SocketAddrV4, stage: Stage) -> Link {
        let (inbound, outbound, pace) = (Inbound::new(conn), Outbound::default(), Pace::new());
        Link { conn, peer, handle, stage, deadline: None, dirty: false, inbound, outbound, pace }
    }

    pub(super) fn join(&mut self, content: &Content) {
        self.stage = Stage::Member;
        self.deadline = None;
        self.inbound.set_geometry(&content.geometry);
    }

    /// Reads until the handshake is whole; its frame is the last thing taken from the stream here.
    pub(super) fn greet(&mut self, socket: &mut tcp::Socket<'_>) -> Result<Option<Handshake>, Hangup> {
        while socket.can_recv() {
            let mut bytes = self.inbound.take_partial();
            take(socket, |more| bytes.extend_from_slice(more))?;
            let handshake = self.inbound.greet(&bytes)?;
            if handshake.is_some() {
                return Ok(handshake);
            }
        }
        if socket.may_recv() { Ok(None) } else { Err(Hangup::End) }
    }

    /// Reads what the socket has, and what came behind the handshake.
    pub(super) fn receive(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        now: Time,
        swarm: &mut Swarm,
        landing: &mut Landing,
    ) -> Result<(), Hangup> {
        while socket.can_recv() {
            take(socket, |bytes| self.inbound.go_on(now, swarm, landing, bytes))??;
        }
        if socket.may_recv() { Ok(()) } else { Err(Hangup::End) }
    }

    pub(super) fn room(&self) -> u32 {
        self.pace.queue().saturating_sub(self.outbound.queued())
    }

    /// Bytes that may go into the socket's buffer now: no more there than in the link's own queue, which follows its rate,
    /// since they count those on the way, too, and smoltcp hands all of them to the card at once, for want of TCP small
    /// queues. Eight nodes at 100 Mbit/s took 1.39 of TCP's bound with whole buffers of 64 KiB; with half a queue every
    /// second room fell to half its rate.
    fn share(&self, socket: &tcp::Socket<'_>) -> usize {
        let most = socket.send_capacity().min(self.pace.queue() as usize);
        if socket.may_send() { most.saturating_sub(socket.send_queue()) } else { 0 }
    }

    /// Whether something waits that [`Link::flush`] can move.
    pub(super) fn can_flush(&self, socket: &tcp::Socket<'_>) -> bool {
        self.outbound.queued() > 0 && self.share(socket) > 0
    }

    /// Moves what waits into the socket's buffer, as far as it may; bytes moved.
    pub(super) fn flush(
        &mut self,
        now: Time,
        socket: &mut tcp::Socket<'_>,
        content: &Content,
    ) -> Result<usize, Hangup> {
        let mut total = 0;
        while self.can_flush(socket) {
            let room = self.share(socket);
            let mut done = 0;
            for part in self.outbound.parts(SEND_PARTS, u64::MAX) {
                let length = match part {
                    Part::Bytes(bytes) => bytes.len(),
                    Part::Stored { length, .. } => length as usize,
                };
                let here = length.min(room - done);
                match part {
                    Part::Bytes(bytes) => put(socket, &bytes[..here]),
                    Part::Stored { at, .. } => content
                        .store
                        .digest(at, here as u64, &mut |bytes| put(socket, bytes))
                        .map_err(Hangup::Store)?,
                }
                done += here;
            }
            if done == 0 {
                break;
            }
            self.outbound.advance(done);
            total += done;
        }
        if total > 0 {
            self.pace.sent(now, total);
        }
        Ok(total)
    }
}

/// Hands what is next in the socket's buffer to `f`: a part of it where the ring comes round.
fn take<R>(socket: &mut tcp::Socket<'_>, f: impl FnOnce(&[u8]) -> R) -> Result<R, Hangup> {
    socket.recv(|bytes| (bytes.len(), f(bytes))).map_err(|_| Hangup::End)
}

/// The caller has asked for the room.
fn put(socket: &mut tcp::Socket<'_>, bytes: &[u8]) {
    let _ = socket.send_slice(bytes);
}
