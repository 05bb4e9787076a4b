//! The two halves of a link's byte stream, whatever carries it: what was received of the current frame or block, and what
//! waits to be sent. Decides where bytes go; never what they mean.

use crate::storage::{self, Part};
use crate::verify::{Content, Landing};
use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::{Block, Geometry};
use boottorrent_swarm::swarm::{Admit, Conn, Input, Swarm};
use boottorrent_swarm::wire::{Decoder, Frame, Handshake, PIECE_HEADER, WireError, emit_piece_header};
use std::collections::VecDeque;
use std::io;

/// Why a link is over, seen from this side of the core.
#[derive(Debug)]
pub(crate) enum Hangup {
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

/// The reading half.
pub(crate) struct Inbound {
    conn: Conn,
    decoder: Decoder,
    intake: Intake,
    /// A frame whose end has not come yet.
    partial: Vec<u8>,
}

impl Inbound {
    pub(crate) fn new(conn: Conn) -> Inbound {
        Inbound { conn, decoder: Decoder::new(), intake: Intake::Frames, partial: Vec::new() }
    }

    pub(crate) fn set_geometry(&mut self, geometry: &Geometry) {
        self.decoder.set_geometry(geometry);
    }

    /// What waits for its end: it belongs in front of what comes next.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Bytes of the current block that have not come yet: nothing else can come before them.
    pub(crate) fn missing(&self) -> u32 {
        match &self.intake {
            Intake::Frames => 0,
            Intake::Payload { block, done, .. } => block.length - done,
        }
    }

    /// The caller has it now.
    pub(crate) fn drop_partial(&mut self) {
        self.partial.clear();
    }

    /// The same, given up to the caller.
    pub(crate) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Looks for the handshake at the head of `bytes`; what is behind it is kept.
    pub(crate) fn greet(&mut self, bytes: &[u8]) -> Result<Option<Handshake>, Hangup> {
        let frame = self.decoder.next(bytes).map_err(Hangup::Wire)?;
        let (taken, handshake) = match frame {
            Some((taken, Frame::Handshake(handshake))) => (taken, Some(handshake)),
            _ => (0, None),
        };
        self.partial.extend_from_slice(&bytes[taken..]);
        Ok(handshake)
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

    /// What has just come goes behind what waits for its end; nothing has: what came behind the handshake.
    pub(crate) fn go_on(
        &mut self,
        now: Time,
        swarm: &mut Swarm,
        landing: &mut Landing,
        bytes: &[u8],
    ) -> Result<(), Hangup> {
        if self.partial.is_empty() {
            return self.frames(now, swarm, landing, bytes);
        }
        let mut whole = self.take_partial();
        whole.extend_from_slice(bytes);
        self.frames(now, swarm, landing, &whole)
    }

    /// Takes every whole frame in `bytes`, and of a block what is there; keeps the rest.
    pub(crate) fn frames(
        &mut self,
        now: Time,
        swarm: &mut Swarm,
        landing: &mut Landing,
        bytes: &[u8],
    ) -> Result<(), Hangup> {
        let conn = self.conn;
        let mut bytes = bytes;
        loop {
            if let Intake::Payload { block, done, keep } = self.intake {
                let taken = payload(landing, block, done, keep, bytes)?;
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
}

/// Puts what is there of a block to its place, or nowhere; the number of bytes.
fn payload(
    landing: &mut Landing,
    block: Block,
    done: u32,
    keep: bool,
    bytes: &[u8],
) -> Result<usize, Hangup> {
    let here = bytes.len().min((block.length - done) as usize);
    if keep && here > 0 {
        landing.write(block, done, &bytes[..here]).map_err(Hangup::Store)?;
    }
    Ok(here)
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

/// The writing half.
#[derive(Default)]
pub(crate) struct Outbound {
    queue: VecDeque<Segment>,
    /// Bytes of the first segment that are sent.
    sent: usize,
    queued: usize,
}

impl Outbound {
    /// Queues bytes of the protocol, in front of the blocks that wait: who is to ask or to answer should not wait for them.
    pub(crate) fn push(&mut self, emit: impl FnOnce(&mut Vec<u8>)) {
        // What is on its way stays where it is.
        let begun = usize::from(self.sent > 0);
        let block = self.queue.iter().skip(begun).position(|s| matches!(s, Segment::Block { .. }));
        let place = block.map_or(self.queue.len(), |n| n + begun);
        let place = match place.checked_sub(1).map(|n| (n, self.queue.get(n))) {
            Some((n, Some(Segment::Bytes(_)))) => n,
            _ => {
                self.queue.insert(place, Segment::Bytes(Vec::new()));
                place
            }
        };
        if let Some(Segment::Bytes(bytes)) = self.queue.get_mut(place) {
            let before = bytes.len();
            emit(bytes);
            self.queued += bytes.len() - before;
        }
    }

    /// Queues a block; its bytes are read when they are sent.
    pub(crate) fn push_block(&mut self, block: Block, content: &Content) {
        let mut header = [0; PIECE_HEADER];
        emit_piece_header(block, &mut header);
        let at = content.geometry.piece_offset(block.piece) + u64::from(block.offset);
        let segment = Segment::Block { header, at, length: block.length };
        self.queued += segment.length();
        self.queue.push_back(segment);
    }

    /// Bytes that wait.
    pub(crate) fn queued(&self) -> u32 {
        u32::try_from(self.queued).unwrap_or(u32::MAX)
    }

    /// Bytes of messages before the next block.
    pub(crate) fn ahead(&self) -> u64 {
        let messages = self.queue.iter().map_while(|segment| match segment {
            Segment::Bytes(bytes) => Some(bytes.len()),
            Segment::Block { .. } => None,
        });
        messages.sum::<usize>().saturating_sub(self.sent) as u64
    }

    /// What is to be sent next, in order, in `most` parts or one more, and of `most_bytes` at most.
    pub(crate) fn parts(&self, most: usize, most_bytes: u64) -> Vec<Part<'_>> {
        let mut parts = Vec::with_capacity(most + 1);
        let mut skip = self.sent;
        let mut left = most_bytes;
        let mut cut = |length: u64| {
            let here = length.min(left);
            left -= here;
            here
        };
        for segment in self.queue.iter().take(most / 2) {
            match segment {
                Segment::Bytes(bytes) => {
                    let here = cut((bytes.len() - skip) as u64) as usize;
                    parts.push(Part::Bytes(&bytes[skip..skip + here]));
                }
                Segment::Block { header, at, length } => {
                    if skip < PIECE_HEADER {
                        let here = cut((PIECE_HEADER - skip) as u64) as usize;
                        parts.push(Part::Bytes(&header[skip..skip + here]));
                    }
                    let past = skip.saturating_sub(PIECE_HEADER) as u64;
                    let here = cut(u64::from(*length) - past);
                    parts.push(Part::Stored { at: at + past, length: here });
                }
            }
            skip = 0;
        }
        // What the bound leaves nothing of would be a part of no bytes.
        parts.retain(|part| !matches!(part, Part::Bytes([]) | Part::Stored { length: 0, .. }));
        parts
    }

    /// So many bytes are on their way.
    pub(crate) fn advance(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Error, Store};
    use crate::verify::Verifier;

    struct Nothing;

    impl Store for Nothing {
        fn write(&self, _: u64, _: &[u8]) -> Result<(), Error> {
            Err(Error::Outside)
        }

        fn digest(&self, _: u64, _: u64, _: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
            Err(Error::Outside)
        }
    }

    /// The parts as they would leave: lengths of blocks, and letters.
    fn order(out: &Outbound) -> String {
        let part = |part: Part<'_>| match part {
            Part::Bytes(bytes) if bytes.len() == PIECE_HEADER => "[".into(),
            Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Part::Stored { length, .. } => format!("{length}]"),
        };
        out.parts(24, u64::MAX).into_iter().map(part).collect()
    }

    #[test]
    fn messages_go_before_the_blocks_that_wait_and_never_into_one_that_has_begun() {
        let geometry = Geometry::new(1 << 15, 1 << 16).unwrap();
        let (store, verifier) = (Box::new(Nothing), Verifier::Sha256(vec![]));
        let content = Content { geometry, store, verifier };
        let piece = geometry.piece(1).unwrap();
        let mut out = Outbound::default();
        out.push(|b| b.extend(b"ab"));
        for offset in [0, 16384] {
            out.push_block(Block { piece, offset, length: 16384 }, &content);
        }
        out.push(|b| b.extend(b"cd"));
        assert_eq!((order(&out).as_str(), out.ahead()), ("abcd[16384][16384]", 4));
        out.advance(1);
        out.push(|b| b.push(b'e'));
        assert_eq!((order(&out).as_str(), out.ahead()), ("bcde[16384][16384]", 4));
        out.advance(4 + PIECE_HEADER + 384);
        out.push(|b| b.push(b'f'));
        out.push(|b| b.push(b'g'));
        assert_eq!((order(&out), out.queued()), ("16000]fg[16384]".into(), 16000 + 2 + 16397));
        assert_eq!(out.ahead(), 0, "a block has begun");
        out.advance(16000 + 2 + 16397);
        assert_eq!((order(&out), out.queued()), (String::new(), 0));
    }

    #[test]
    fn a_bound_cuts_in_the_middle_of_whatever_is_next() {
        let geometry = Geometry::new(1 << 15, 1 << 16).unwrap();
        let (store, verifier) = (Box::new(Nothing), Verifier::Sha256(vec![]));
        let content = Content { geometry, store, verifier };
        let mut out = Outbound::default();
        out.push(|b| b.extend(b"ab"));
        out.push_block(Block { piece: geometry.piece(0).unwrap(), offset: 0, length: 16384 }, &content);
        let whole = out.queued();
        for step in [1, 3, 9, 1000] {
            let bytes: u64 = (out.parts(24, step).iter())
                .map(|part| match part {
                    Part::Bytes(bytes) => bytes.len() as u64,
                    Part::Stored { length, .. } => *length,
                })
                .sum();
            assert_eq!(bytes, step);
            out.advance(bytes as usize);
        }
        assert_eq!(out.queued(), whole - 1013);
        assert_eq!(order(&out), "15386]");
    }
}
