//! One TCP link on a kernel socket. Decides how much is read and written at a time; never what it means.

use super::limits::{AWAITED_MAX, READ_BUFFER, READ_TURN, SEND_PARTS, SEND_TURN};
use super::pace::Pace;
use crate::storage::SendError;
use crate::stream::{Hangup, Inbound, Outbound};
use crate::verify::{Content, Landing};
use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::Block;
use boottorrent_swarm::swarm::{Conn, Swarm};
use boottorrent_swarm::wire::Handshake;
use nix::sys::epoll::EpollFlags;
use std::io::{self, Read};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsFd;

/// How far a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// connect(2) is under way.
    Dialling,
    /// Dialled us, and has not said which torrent.
    Greeting,
    /// The core of a torrent knows it.
    Member,
}

pub(super) struct Link {
    pub(super) conn: Conn,
    pub(super) peer: SocketAddrV4,
    pub(super) stage: Stage,
    pub(super) torrent: Option<u32>,
    /// The end of [`Stage::Dialling`] or [`Stage::Greeting`].
    pub(super) deadline: Option<Time>,
    /// What epoll was told.
    pub(super) interest: EpollFlags,
    pub(super) dirty: bool,
    /// Waits for the bound on uploads.
    pub(super) held: bool,
    /// Bytes written in this turn of the loop.
    pub(super) sent_in_turn: u64,
    socket: TcpStream,
    pub(super) inbound: Inbound,
    outbound: Outbound,
    pace: Pace,
    /// Bytes that must have come before epoll says so.
    awaited: u32,
}

impl Link {
    pub(super) fn new(conn: Conn, socket: TcpStream, peer: SocketAddrV4, stage: Stage) -> Link {
        // Neither is needed for correctness, and a socket that dies here is seen by the first read.
        let _ = socket.set_nodelay(true);
        let pace = Pace::new();
        let _ = crate::sys::set_notsent_lowat(socket.as_fd(), pace.queue());
        Link {
            conn,
            peer,
            stage,
            torrent: None,
            deadline: None,
            interest: EpollFlags::empty(),
            dirty: false,
            held: false,
            sent_in_turn: 0,
            socket,
            inbound: Inbound::new(conn),
            outbound: Outbound::default(),
            pace,
            awaited: 1,
        }
    }

    /// Bytes of messages that wait, and of no block.
    pub(super) fn ahead(&self) -> u64 {
        self.outbound.ahead()
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn join(&mut self, torrent: u32, content: &Content) {
        self.stage = Stage::Member;
        self.torrent = Some(torrent);
        self.deadline = None;
        self.inbound.set_geometry(&content.geometry);
    }

    /// Reads until the handshake is whole; its frame is the last thing taken from the stream here.
    pub(super) fn greet(&mut self, scratch: &mut [u8]) -> Result<Option<Handshake>, Hangup> {
        let Some(length) = self.fill(scratch)? else { return Ok(None) };
        self.inbound.greet(&scratch[..length])
    }

    /// Moves the partial frame to the head of `scratch` and reads behind it. None: nothing new has come.
    fn fill(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, Hangup> {
        let kept = self.inbound.partial().len();
        scratch[..kept].copy_from_slice(self.inbound.partial());
        match self.socket.read(&mut scratch[kept..]) {
            Ok(0) => Err(Hangup::End),
            Ok(n) => {
                self.inbound.drop_partial();
                Ok(Some(kept + n))
            }
            Err(e) if is_later(&e) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads what the socket has, a turn's worth at most.
    pub(super) fn receive(
        &mut self,
        now: Time,
        swarm: &mut Swarm,
        landing: &mut Landing,
        scratch: &mut [u8],
    ) -> Result<(), Hangup> {
        let mut turn = 0;
        while turn < READ_TURN {
            let Some(length) = self.fill(scratch)? else { break };
            self.inbound.frames(now, swarm, landing, &scratch[..length])?;
            if length < READ_BUFFER {
                // The socket is drained: the question "is there more?" would cost a call and mostly answer no.
                break;
            }
            turn += length;
        }
        self.await_block();
        Ok(())
    }

    /// Nobody has to wake up for each packet of a block: nothing else can come before its end.
    fn await_block(&mut self) {
        let awaited = self.inbound.missing().clamp(1, AWAITED_MAX);
        if std::mem::replace(&mut self.awaited, awaited) != awaited {
            // Refused, it costs wake-ups.
            let _ = crate::sys::set_rcvlowat(self.socket.as_fd(), awaited);
        }
    }

    /// Queues bytes of the protocol.
    pub(super) fn push(&mut self, emit: impl FnOnce(&mut Vec<u8>)) {
        self.outbound.push(emit);
    }

    /// Queues a block; its bytes are read when they are sent.
    pub(super) fn push_block(&mut self, block: Block, content: &Content) {
        self.outbound.push_block(block, content);
    }

    pub(super) fn room(&self) -> u32 {
        self.pace.queue().saturating_sub(self.outbound.queued())
    }

    pub(super) fn has_output(&self) -> bool {
        self.outbound.queued() > 0
    }

    /// Whether this turn's share is used up.
    pub(super) fn sated(&self) -> bool {
        self.sent_in_turn >= SEND_TURN
    }

    /// Writes what the socket takes, `most` bytes at most; bytes written. Less than was queued: the socket is full.
    pub(super) fn flush(
        &mut self,
        now: Time,
        content: &Content,
        scratch: &mut Vec<u8>,
        most: u64,
    ) -> Result<usize, Hangup> {
        let mut total = 0;
        while self.has_output() && !self.sated() && (total as u64) < most {
            let parts = self.outbound.parts(SEND_PARTS, most - total as u64);
            match content.store.send(self.socket.as_fd(), &parts, scratch) {
                Ok(0) => return Err(Hangup::End),
                Ok(n) => {
                    self.outbound.advance(n);
                    self.sent_in_turn += n as u64;
                    total += n;
                }
                Err(SendError::Socket(e)) if is_later(&e) => break,
                Err(SendError::Socket(e)) => return Err(e.into()),
                Err(SendError::Store(e)) => return Err(Hangup::Store(e)),
            }
        }
        if self.pace.sent(now, total) {
            let _ = crate::sys::set_notsent_lowat(self.socket.as_fd(), self.pace.queue());
        }
        Ok(total)
    }
}

/// Not an error: the kernel has nothing more, or was interrupted and will be asked again.
fn is_later(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
