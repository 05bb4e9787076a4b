//! One TCP link: what was received of the current frame or block, and what waits to be sent. Decides where bytes go;
//! never what they mean.

use super::limits::{LINK_QUEUE, NOTSENT_LOWAT, READ_BUFFER, READ_TURN, SEND_PARTS, SEND_TURN};
use crate::storage::{self, Part, SendError};
use crate::verify::Content;
use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::Block;
use boottorrent_swarm::swarm::{Admit, Conn, Input, Swarm};
use boottorrent_swarm::wire::{Decoder, Frame, PIECE_HEADER, WireError, emit_piece_header};
use nix::sys::epoll::EpollFlags;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::AsFd;

/// Why a link is over, seen from this side of the core.
#[derive(Debug)]
pub(super) enum Hangup {
    /// The peer closed, or the connection broke: which of them is of no use to anybody.
    End,
    Wire(WireError),
    /// The core asked for it while a block was admitted.
    Refused,
    /// Our own bytes can't be vouched for.
    Store(storage::Error),
}

impl From<io::Error> for Hangup {
    fn from(_: io::Error) -> Hangup {
        Hangup::End
    }
}

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

/// What the next bytes of the stream are.
enum Intake {
    Frames,
    /// The rest of a block, to be kept or to be thrown away.
    Payload {
        block: Block,
        done: u32,
        keep: bool,
    },
}

enum Segment {
    Bytes(Vec<u8>),
    Block { header: [u8; PIECE_HEADER], at: u64, length: u32 },
}

impl Segment {
    fn length(&self) -> usize {
        match self {
            Segment::Bytes(bytes) => bytes.len(),
            Segment::Block { length, .. } => PIECE_HEADER + *length as usize,
        }
    }
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
    /// Bytes written in this turn of the loop.
    pub(super) sent_in_turn: u64,
    socket: TcpStream,
    decoder: Decoder,
    intake: Intake,
    /// A frame whose end has not come yet.
    partial: Vec<u8>,
    queue: VecDeque<Segment>,
    /// Bytes of the first segment that are sent.
    sent: usize,
    queued: usize,
}

impl Link {
    pub(super) fn new(conn: Conn, socket: TcpStream, peer: SocketAddrV4, stage: Stage) -> Link {
        // Neither is needed for correctness, and a socket that dies here is seen by the first read.
        let _ = socket.set_nodelay(true);
        let _ = crate::sys::set_notsent_lowat(&socket, NOTSENT_LOWAT);
        Link {
            conn,
            peer,
            stage,
            torrent: None,
            deadline: None,
            interest: EpollFlags::empty(),
            dirty: false,
            sent_in_turn: 0,
            socket,
            decoder: Decoder::new(),
            intake: Intake::Frames,
            partial: Vec::new(),
            queue: VecDeque::new(),
            sent: 0,
            queued: 0,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(super) fn join(&mut self, torrent: u32, content: &Content) {
        self.stage = Stage::Member;
        self.torrent = Some(torrent);
        self.deadline = None;
        self.decoder.set_geometry(&content.geometry);
    }

    /// Reads until the handshake is whole; its frame is the last thing taken from the stream here.
    pub(super) fn greet(
        &mut self,
        scratch: &mut [u8],
    ) -> Result<Option<boottorrent_swarm::wire::Handshake>, Hangup> {
        let length = self.fill(scratch)?;
        let Some(bytes) = length.map(|n| &scratch[..n]) else { return Ok(None) };
        let frame = self.decoder.next(bytes).map_err(Hangup::Wire)?;
        let (taken, handshake) = match frame {
            Some((taken, Frame::Handshake(handshake))) => (taken, Some(handshake)),
            _ => (0, None),
        };
        self.partial.extend_from_slice(&bytes[taken..]);
        Ok(handshake)
    }

    /// Moves the partial frame to the head of `scratch` and reads behind it. None: nothing new has come.
    fn fill(&mut self, scratch: &mut [u8]) -> Result<Option<usize>, Hangup> {
        let kept = self.partial.len();
        scratch[..kept].copy_from_slice(&self.partial);
        match self.socket.read(&mut scratch[kept..]) {
            Ok(0) => Err(Hangup::End),
            Ok(n) => {
                self.partial.clear();
                Ok(Some(kept + n))
            }
            Err(e) if is_later(&e) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// What came behind the handshake in the same read.
    pub(super) fn catch_up(&mut self, now: Time, swarm: &mut Swarm, content: &Content) -> Result<(), Hangup> {
        let bytes = std::mem::take(&mut self.partial);
        self.frames(now, swarm, content, &bytes)
    }

    /// Reads what the socket has, a turn's worth at most.
    pub(super) fn receive(
        &mut self,
        now: Time,
        swarm: &mut Swarm,
        content: &Content,
        scratch: &mut [u8],
    ) -> Result<(), Hangup> {
        let mut turn = 0;
        while turn < READ_TURN {
            let Some(length) = self.fill(scratch)? else { return Ok(()) };
            self.frames(now, swarm, content, &scratch[..length])?;
            if length < READ_BUFFER {
                // The socket is drained: the question "is there more?" would cost a call and mostly answer no.
                return Ok(());
            }
            turn += length;
        }
        Ok(())
    }

    /// `done` bytes of the block are there.
    fn took(&mut self, now: Time, swarm: &mut Swarm, block: Block, done: u32, keep: bool) {
        if done < block.length {
            self.intake = Intake::Payload { block, done, keep };
            return;
        }
        self.intake = Intake::Frames;
        self.decoder.payload_done();
        let conn = self.conn;
        swarm.handle(now, if keep { Input::Block { conn, block } } else { Input::Discarded { conn, block } });
    }

    /// Takes every whole frame in `bytes`, and of a block what is there; keeps the rest.
    fn frames(
        &mut self,
        now: Time,
        swarm: &mut Swarm,
        content: &Content,
        bytes: &[u8],
    ) -> Result<(), Hangup> {
        let conn = self.conn;
        let mut bytes = bytes;
        loop {
            if let Intake::Payload { block, done, keep } = self.intake {
                let taken = self.payload(content, block, done, keep, bytes)?;
                bytes = &bytes[taken..];
                self.took(now, swarm, block, done + taken as u32, keep);
            }
            let Some((taken, frame)) = self.decoder.next(bytes).map_err(Hangup::Wire)? else { break };
            bytes = &bytes[taken..];
            match frame {
                Frame::Handshake(handshake) => swarm.handle(now, Input::Handshake { conn, handshake }),
                Frame::Message(message) => swarm.handle(now, Input::Message { conn, message }),
                Frame::Payload { index, begin, length } => {
                    let (block, keep) = match swarm.admit_block(conn, index, begin, length) {
                        Admit::Store(block) => (block, true),
                        Admit::Discard(block) => (block, false),
                        Admit::Close => return Err(Hangup::Refused),
                    };
                    self.intake = Intake::Payload { block, done: 0, keep };
                }
            }
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Puts what is there of a block to its place, or nowhere; the number of bytes.
    fn payload(
        &self,
        content: &Content,
        block: Block,
        done: u32,
        keep: bool,
        bytes: &[u8],
    ) -> Result<usize, Hangup> {
        let here = bytes.len().min((block.length - done) as usize);
        if keep && here > 0 {
            let at = content.geometry.piece_offset(block.piece) + u64::from(block.offset + done);
            content.store.write(at, &bytes[..here]).map_err(Hangup::Store)?;
        }
        Ok(here)
    }

    /// Queues bytes of the protocol.
    pub(super) fn push(&mut self, emit: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.queue.back(), Some(Segment::Bytes(_))) {
            self.queue.push_back(Segment::Bytes(Vec::new()));
        }
        if let Some(Segment::Bytes(bytes)) = self.queue.back_mut() {
            let before = bytes.len();
            emit(bytes);
            self.queued += bytes.len() - before;
        }
    }

    /// Queues a block; its bytes are read when they are sent.
    pub(super) fn push_block(&mut self, block: Block, content: &Content) {
        let mut header = [0; PIECE_HEADER];
        emit_piece_header(block, &mut header);
        let at = content.geometry.piece_offset(block.piece) + u64::from(block.offset);
        let segment = Segment::Block { header, at, length: block.length };
        self.queued += segment.length();
        self.queue.push_back(segment);
    }

    pub(super) fn room(&self) -> u32 {
        LINK_QUEUE.saturating_sub(u32::try_from(self.queued).unwrap_or(u32::MAX))
    }

    pub(super) fn has_output(&self) -> bool {
        self.queued > 0
    }

    /// Whether this turn's share is used up.
    pub(super) fn sated(&self) -> bool {
        self.sent_in_turn >= SEND_TURN
    }

    /// Writes what the socket takes; bytes written. Less than was queued: the socket is full.
    pub(super) fn flush(&mut self, content: &Content, scratch: &mut Vec<u8>) -> Result<usize, Hangup> {
        let mut total = 0;
        while self.queued > 0 && !self.sated() {
            let mut parts = Vec::with_capacity(SEND_PARTS + 1);
            let mut skip = self.sent;
            for segment in self.queue.iter().take(SEND_PARTS / 2) {
                match segment {
                    Segment::Bytes(bytes) => parts.push(Part::Bytes(&bytes[skip..])),
                    Segment::Block { header, at, length } => {
                        if skip < PIECE_HEADER {
                            parts.push(Part::Bytes(&header[skip..]));
                        }
                        let past = skip.saturating_sub(PIECE_HEADER) as u64;
                        parts.push(Part::Stored { at: at + past, length: u64::from(*length) - past });
                    }
                }
                skip = 0;
            }
            match content.store.send(self.socket.as_fd(), &parts, scratch) {
                Ok(0) => return Err(Hangup::End),
                Ok(n) => {
                    self.advance(n);
                    total += n;
                }
                Err(SendError::Socket(e)) if is_later(&e) => break,
                Err(SendError::Socket(e)) => return Err(e.into()),
                Err(SendError::Store(e)) => return Err(Hangup::Store(e)),
            }
        }
        Ok(total)
    }

    fn advance(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes);
        self.sent_in_turn += bytes as u64;
        self.sent += bytes;
        while let Some(first) = self.queue.front() {
            if self.sent < first.length() {
                break;
            }
            self.sent -= first.length();
            self.queue.pop_front();
        }
    }
}

/// Not an error: the kernel has nothing more, or was interrupted and will be asked again.
fn is_later(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
