//! The 68 bytes that open every link (BEP 3), with the reserved bits of BEP 6 and 10.
//! Decides nothing about who the peer is.

use crate::{InfoHash, PeerId};

/// Length and name of the protocol.
pub(crate) const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";
/// BEP 10.
const EXTENDED: (usize, u8) = (5, 0x10);
/// BEP 6.
const FAST: (usize, u8) = (7, 0x04);

/// What each side says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    pub reserved: [u8; 8],
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
}

impl Handshake {
    /// Bytes on the wire.
    pub const LENGTH: usize = 68;

    /// Ours: BEP 6 and 10, nothing else.
    #[must_use]
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Handshake {
        let mut reserved = [0; 8];
        for (byte, mask) in [EXTENDED, FAST] {
            if let Some(b) = reserved.get_mut(byte) {
                *b |= mask;
            }
        }
        Handshake { reserved, info_hash, peer_id }
    }

    /// The peer speaks the fast extension (BEP 6).
    #[must_use]
    pub fn fast(&self) -> bool {
        self.says(FAST)
    }

    /// The peer speaks the extension protocol (BEP 10).
    #[must_use]
    pub fn extended(&self) -> bool {
        self.says(EXTENDED)
    }

    fn says(&self, (byte, mask): (usize, u8)) -> bool {
        self.reserved.get(byte).is_some_and(|b| b & mask != 0)
    }

    #[must_use]
    pub fn emit(&self) -> [u8; Handshake::LENGTH] {
        let mut out = [0; Handshake::LENGTH];
        let parts = PROTOCOL.iter().chain(&self.reserved).chain(&self.info_hash.0).chain(&self.peer_id.0);
        for (to, from) in out.iter_mut().zip(parts) {
            *to = *from;
        }
        out
    }

    /// `None` where the first twenty bytes are another protocol's.
    #[must_use]
    pub fn parse(bytes: &[u8; Handshake::LENGTH]) -> Option<Handshake> {
        let rest = bytes.strip_prefix(&PROTOCOL)?;
        let (reserved, rest) = rest.split_first_chunk::<8>()?;
        let (info_hash, rest) = rest.split_first_chunk::<20>()?;
        let (peer_id, _) = rest.split_first_chunk::<20>()?;
        Some(Handshake { reserved: *reserved, info_hash: InfoHash(*info_hash), peer_id: PeerId(*peer_id) })
    }
}
