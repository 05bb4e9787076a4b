//! The peer wire protocol: BEP 3, 6, 10, 21 and 54 as types.
//! Decides what is well-formed; never what to answer, and never holds payload.

mod handshake;
mod message;
mod extended;
mod control;
mod decoder;

pub use control::Control;
pub use decoder::{Decoder, Frame};
pub use extended::ExtHandshake;
pub use handshake::Handshake;
pub(crate) use message::EXT_CONTROL;
pub use message::{BlockClaim, Message, OwnedMessage, PIECE_HEADER, emit_piece_header};

use core::fmt;

/// Why a link is closed for what it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    /// Not `\x13BitTorrent protocol`: another program, or one that wants MSE first and will try plain next.
    NotBitTorrent,
    /// A frame that is longer than anything this torrent can need.
    TooLong(u32),
    /// A known message whose length does not fit its kind.
    Length { id: u8, length: u32 },
    /// An extended handshake that is not a bencoded dictionary.
    Extended,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::NotBitTorrent => f.write_str("does not begin like BitTorrent"),
            WireError::TooLong(n) => write!(f, "a message of {n} bytes is too long"),
            WireError::Length { id, length } => write!(f, "message {id} with {length} bytes"),
            WireError::Extended => f.write_str("a malformed extended handshake"),
        }
    }
}

impl core::error::Error for WireError {}

#[cfg(test)]
mod tests;
