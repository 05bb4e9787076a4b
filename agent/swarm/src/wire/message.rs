//! The messages of BEP 3, 6, 10 and 54, borrowed from a buffer or owned until they are sent.
//! Decides the layout; never whether an index exists.

use crate::wire::{Control, ExtHandshake, WireError};
use alloc::vec::Vec;

/// A range that a peer named; only [`crate::metainfo::Geometry::claim`] makes a block of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockClaim {
    pub index: u32,
    pub offset: u32,
    pub length: u32,
}

impl From<crate::metainfo::Block> for BlockClaim {
    fn from(b: crate::metainfo::Block) -> BlockClaim {
        BlockClaim { index: b.piece.index(), offset: b.offset, length: b.length }
    }
}

/// One message, without payload of pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    KeepAlive,
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bitfield(&'a [u8]),
    Request(BlockClaim),
    Cancel(BlockClaim),
    /// BEP 5's port: never used.
    Port(u16),
    Suggest(u32),
    HaveAll,
    HaveNone,
    Reject(BlockClaim),
    AllowedFast(u32),
    Extended(ExtHandshake),
    /// BEP 54: the peer has lost this piece.
    DontHave(u32),
    /// Our own nodes' extension, under the id that its receiver has chosen.
    Control {
        id: u8,
        control: Control,
    },
    /// An id, or an extended id, that we do not know: BEP 10 asks to ignore it.
    Unknown(u8),
}

/// What the core asks a driver to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnedMessage {
    KeepAlive,
    Unchoke,
    Interested,
    NotInterested,
    Have(u32),
    Bitfield(Vec<u8>),
    Request(BlockClaim),
    Cancel(BlockClaim),
    HaveAll,
    HaveNone,
    Reject(BlockClaim),
    Extended(ExtHandshake),
    Control { id: u8, control: Control },
}

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
/// The id of a piece message, whose payload never passes through here.
pub(crate) const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const PORT: u8 = 9;
const SUGGEST: u8 = 13;
const HAVE_ALL: u8 = 14;
const HAVE_NONE: u8 = 15;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;
const EXTENDED: u8 = 20;

/// Extended ids that we ask for in our extended handshake (BEP 10: each side chooses its own).
pub(crate) const EXT_HANDSHAKE: u8 = 0;
pub(crate) const EXT_DONTHAVE: u8 = 7;
pub(crate) const EXT_CONTROL: u8 = 8;

/// Bytes before the payload of a piece message: length, id, index, offset.
pub const PIECE_HEADER: usize = 13;

/// Writes what goes before a block's bytes.
pub fn emit_piece_header(block: crate::metainfo::Block, out: &mut [u8; PIECE_HEADER]) {
    let [l0, l1, l2, l3] = block.length.saturating_add(9).to_be_bytes();
    let [i0, i1, i2, i3] = block.piece.index().to_be_bytes();
    let [o0, o1, o2, o3] = block.offset.to_be_bytes();
    *out = [l0, l1, l2, l3, PIECE, i0, i1, i2, i3, o0, o1, o2, o3];
}

impl OwnedMessage {
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        match self {
            OwnedMessage::KeepAlive => Message::KeepAlive,
            OwnedMessage::Unchoke => Message::Unchoke,
            OwnedMessage::Interested => Message::Interested,
            OwnedMessage::NotInterested => Message::NotInterested,
            OwnedMessage::Have(i) => Message::Have(*i),
            OwnedMessage::Bitfield(b) => Message::Bitfield(b),
            OwnedMessage::Request(c) => Message::Request(*c),
            OwnedMessage::Cancel(c) => Message::Cancel(*c),
            OwnedMessage::HaveAll => Message::HaveAll,
            OwnedMessage::HaveNone => Message::HaveNone,
            OwnedMessage::Reject(c) => Message::Reject(*c),
            OwnedMessage::Extended(h) => Message::Extended(h.clone()),
            OwnedMessage::Control { id, control } => Message::Control { id: *id, control: *control },
        }
    }

    /// Appends the message as it goes over the wire.
    pub fn emit(&self, out: &mut Vec<u8>) {
        self.as_message().emit(out);
    }

    /// Bytes on the wire, close enough for accounting (an extended handshake counts as its bound).
    #[must_use]
    pub fn wire_size(&self) -> u32 {
        match self {
            OwnedMessage::KeepAlive => 4,
            OwnedMessage::Have(_) => 9,
            OwnedMessage::Bitfield(b) => u32::try_from(b.len()).unwrap_or(u32::MAX).saturating_add(5),
            OwnedMessage::Request(_) | OwnedMessage::Cancel(_) | OwnedMessage::Reject(_) => 17,
            OwnedMessage::Extended(_) => 128,
            OwnedMessage::Control { .. } => 11,
            _ => 5,
        }
    }
}

impl Message<'_> {
    /// Appends the message as it goes over the wire.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Message::KeepAlive => out.extend_from_slice(&[0; 4]),
            Message::Choke => bare(out, CHOKE),
            Message::Unchoke => bare(out, UNCHOKE),
            Message::Interested => bare(out, INTERESTED),
            Message::NotInterested => bare(out, NOT_INTERESTED),
            Message::Have(i) => frame(out, HAVE, &i.to_be_bytes()),
            Message::Bitfield(bits) => frame(out, BITFIELD, bits),
            Message::Request(c) => claim(out, REQUEST, *c),
            Message::Cancel(c) => claim(out, CANCEL, *c),
            Message::Port(p) => frame(out, PORT, &p.to_be_bytes()),
            Message::Suggest(i) => frame(out, SUGGEST, &i.to_be_bytes()),
            Message::HaveAll => bare(out, HAVE_ALL),
            Message::HaveNone => bare(out, HAVE_NONE),
            Message::Reject(c) => claim(out, REJECT, *c),
            Message::AllowedFast(i) => frame(out, ALLOWED_FAST, &i.to_be_bytes()),
            Message::Extended(h) => {
                let mut body = alloc::vec![EXT_HANDSHAKE];
                h.emit(&mut body);
                frame(out, EXTENDED, &body);
            }
            Message::DontHave(i) => {
                let [a, b, c, d] = i.to_be_bytes();
                frame(out, EXTENDED, &[EXT_DONTHAVE, a, b, c, d]);
            }
            Message::Control { id, control } => {
                let [a, b, c, d, e] = control.emit();
                frame(out, EXTENDED, &[*id, a, b, c, d, e]);
            }
            Message::Unknown(id) => bare(out, *id),
        }
    }

    /// Parses what follows the length: id and body. Not for piece messages.
    ///
    /// # Errors
    /// A body whose length does not fit its kind, or a malformed extended handshake.
    pub fn parse(id: u8, body: &[u8]) -> Result<Message<'_>, WireError> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(1);
        let wrong = WireError::Length { id, length };
        let number = || body.try_into().map(u32::from_be_bytes).map_err(|_| wrong);
        let empty = |m| if body.is_empty() { Ok(m) } else { Err(wrong) };
        Ok(match id {
            CHOKE => empty(Message::Choke)?,
            UNCHOKE => empty(Message::Unchoke)?,
            INTERESTED => empty(Message::Interested)?,
            NOT_INTERESTED => empty(Message::NotInterested)?,
            HAVE => Message::Have(number()?),
            BITFIELD => Message::Bitfield(body),
            REQUEST => Message::Request(parse_claim(body).ok_or(wrong)?),
            CANCEL => Message::Cancel(parse_claim(body).ok_or(wrong)?),
            PORT => Message::Port(u16::from_be_bytes(body.try_into().map_err(|_| wrong)?)),
            SUGGEST => Message::Suggest(number()?),
            HAVE_ALL => empty(Message::HaveAll)?,
            HAVE_NONE => empty(Message::HaveNone)?,
            REJECT => Message::Reject(parse_claim(body).ok_or(wrong)?),
            ALLOWED_FAST => Message::AllowedFast(number()?),
            EXTENDED => match body.split_first().ok_or(wrong)? {
                (&EXT_HANDSHAKE, rest) => {
                    Message::Extended(ExtHandshake::parse(rest).ok_or(WireError::Extended)?)
                }
                (&EXT_DONTHAVE, rest) => {
                    Message::DontHave(u32::from_be_bytes(rest.try_into().map_err(|_| wrong)?))
                }
                (&EXT_CONTROL, rest) => match Control::parse(rest) {
                    Some(control) => Message::Control { id: EXT_CONTROL, control },
                    None => Message::Unknown(id),
                },
                _ => Message::Unknown(id),
            },
            _ => Message::Unknown(id),
        })
    }
}

fn bare(out: &mut Vec<u8>, id: u8) {
    frame(out, id, &[]);
}

fn frame(out: &mut Vec<u8>, id: u8, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).saturating_add(1);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(id);
    out.extend_from_slice(body);
}

fn claim(out: &mut Vec<u8>, id: u8, c: BlockClaim) {
    let mut body = [0; 12];
    for (to, from) in body.as_chunks_mut::<4>().0.iter_mut().zip([c.index, c.offset, c.length]) {
        *to = from.to_be_bytes();
    }
    frame(out, id, &body);
}

fn parse_claim(body: &[u8]) -> Option<BlockClaim> {
    match body.as_chunks::<4>() {
        ([index, offset, length], []) => Some(BlockClaim {
            index: u32::from_be_bytes(*index),
            offset: u32::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
        }),
        _ => None,
    }
}
