//! Cuts a link's byte stream into frames, without copying and without holding bytes.
//! Decides where a frame ends; never reads ahead into a piece's payload, which is the driver's.

use crate::metainfo::{BLOCK, Geometry};
use crate::wire::handshake::PROTOCOL;
use crate::wire::message::PIECE;
use crate::wire::{Handshake, Message, PIECE_HEADER, WireError};

/// Bytes of a message that need no geometry to be plausible: extended messages of foreign clients stay far below.
const MAX_FRAME: u32 = 64 * 1024;

/// One step of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    Handshake(Handshake),
    Message(Message<'a>),
    /// The header of a piece message: the next `length` bytes of the stream are the driver's to read, and
    /// [`Decoder::payload_done`] says when it has.
    Payload {
        index: u32,
        begin: u32,
        length: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Handshake,
    Messages,
    Payload,
}

/// The reading half of one link.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    max_frame: u32,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// Waits for a handshake first.
    #[must_use]
    pub fn new() -> Decoder {
        Decoder { state: State::Handshake, max_frame: MAX_FRAME }
    }

    /// Lets a bitfield of this torrent through where that is longer than any other message.
    pub fn set_geometry(&mut self, geometry: &Geometry) {
        self.max_frame = MAX_FRAME.max(geometry.pieces().div_ceil(8).saturating_add(1));
    }

    /// Bytes that a buffer must be able to hold for the longest frame.
    #[must_use]
    pub fn needs(&self) -> usize {
        self.max_frame as usize + 4
    }

    /// The driver has read the payload that the last [`Frame::Payload`] announced.
    pub fn payload_done(&mut self) {
        if self.state == State::Payload {
            self.state = State::Messages;
        }
    }

    /// The next frame at the head of `buf` and the bytes it takes, or `None` where more bytes are needed, and
    /// between a piece's header and [`Decoder::payload_done`].
    ///
    /// # Errors
    /// The link is to be closed: at the first byte that is not BitTorrent's, or at a frame that cannot be.
    pub fn next<'a>(&mut self, buf: &'a [u8]) -> Result<Option<(usize, Frame<'a>)>, WireError> {
        match self.state {
            State::Handshake => self.handshake(buf),
            State::Messages => self.message(buf),
            State::Payload => Ok(None),
        }
    }

    fn handshake<'a>(&mut self, buf: &'a [u8]) -> Result<Option<(usize, Frame<'a>)>, WireError> {
        if buf.iter().zip(&PROTOCOL).any(|(got, want)| got != want) {
            return Err(WireError::NotBitTorrent);
        }
        let Some(bytes) = buf.first_chunk() else { return Ok(None) };
        let handshake = Handshake::parse(bytes).ok_or(WireError::NotBitTorrent)?;
        self.state = State::Messages;
        Ok(Some((Handshake::LENGTH, Frame::Handshake(handshake))))
    }

    fn message<'a>(&mut self, buf: &'a [u8]) -> Result<Option<(usize, Frame<'a>)>, WireError> {
        let Some((length, rest)) = buf.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        if length == 0 {
            return Ok(Some((4, Frame::Message(Message::KeepAlive))));
        }
        if length > self.max_frame {
            return Err(WireError::TooLong(length));
        }
        let Some((&id, body)) = rest.split_first() else { return Ok(None) };
        if id == PIECE {
            return self.piece(buf, length);
        }
        let Some(body) = body.get(..length as usize - 1) else { return Ok(None) };
        Ok(Some((length as usize + 4, Frame::Message(Message::parse(id, body)?))))
    }

    fn piece<'a>(&mut self, buf: &'a [u8], length: u32) -> Result<Option<(usize, Frame<'a>)>, WireError> {
        // We ask for blocks of 16 KiB, so nothing longer was asked for; an empty one never is.
        let payload = length.saturating_sub(9);
        if payload == 0 || payload > BLOCK {
            return Err(WireError::Length { id: PIECE, length });
        }
        let Some(&[_, _, _, _, _, i0, i1, i2, i3, b0, b1, b2, b3]) = buf.first_chunk::<PIECE_HEADER>() else {
            return Ok(None);
        };
        self.state = State::Payload;
        let index = u32::from_be_bytes([i0, i1, i2, i3]);
        let begin = u32::from_be_bytes([b0, b1, b2, b3]);
        Ok(Some((PIECE_HEADER, Frame::Payload { index, begin, length: payload })))
    }
}
