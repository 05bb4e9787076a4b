//! A set of pieces, in the order of bits that BEP 3 sends.
//! Decides that spare bits are clear; never who has which set.

use crate::metainfo::{Geometry, Piece};
use alloc::vec::Vec;

/// One bit a piece of one geometry, the high bit of the first byte first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitfield {
    bits: Vec<u8>,
    pieces: u32,
    count: u32,
}

impl Bitfield {
    #[must_use]
    pub fn none(geometry: &Geometry) -> Bitfield {
        let pieces = geometry.pieces();
        Bitfield { bits: alloc::vec![0; pieces.div_ceil(8) as usize], pieces, count: 0 }
    }

    #[must_use]
    pub fn all(geometry: &Geometry) -> Bitfield {
        let mut all = Bitfield::none(geometry);
        all.bits.fill(0xff);
        if let Some(last) = all.bits.last_mut() {
            *last <<= all.pieces.wrapping_neg() % 8;
        }
        all.count = all.pieces;
        all
    }

    /// What a peer sent: the right number of bytes, spare bits clear (BEP 3: otherwise drop the link).
    #[must_use]
    pub fn parse(bytes: &[u8], geometry: &Geometry) -> Option<Bitfield> {
        let pieces = geometry.pieces();
        let spare = pieces.wrapping_neg() % 8;
        let last = *bytes.last()?;
        if bytes.len() != pieces.div_ceil(8) as usize || last.trailing_zeros() < spare {
            return None;
        }
        let count = bytes.iter().map(|b| b.count_ones()).sum();
        Some(Bitfield { bits: bytes.to_vec(), pieces, count })
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    #[must_use]
    pub fn has(&self, piece: Piece) -> bool {
        let (byte, mask) = place(piece);
        self.bits.get(byte).is_some_and(|b| b & mask != 0)
    }

    /// Adds a piece; `false` if it was there.
    pub fn set(&mut self, piece: Piece) -> bool {
        let (byte, mask) = place(piece);
        match self.bits.get_mut(byte) {
            Some(b) if *b & mask == 0 => {
                *b |= mask;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    /// Takes a piece out; `false` if it was not there.
    pub fn clear(&mut self, piece: Piece) -> bool {
        let (byte, mask) = place(piece);
        match self.bits.get_mut(byte) {
            Some(b) if *b & mask != 0 => {
                *b &= !mask;
                self.count -= 1;
                true
            }
            _ => false,
        }
    }

    /// Number of pieces in the set.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    #[must_use]
    pub fn is_all(&self) -> bool {
        self.count == self.pieces
    }
}

fn place(piece: Piece) -> (usize, u8) {
    (piece.index() as usize / 8, 0x80 >> (piece.index() % 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_bits_and_lengths_are_checked() {
        let g = Geometry::new(16384, 16384 * 11).unwrap();
        assert_eq!(Bitfield::all(&g).as_bytes(), [0xff, 0xe0]);
        assert!(Bitfield::parse(&[0xff, 0xe0], &g).unwrap().is_all());
        assert!(Bitfield::parse(&[0xff, 0xf0], &g).is_none(), "a spare bit is set");
        assert!(Bitfield::parse(&[0xff], &g).is_none());
        assert!(Bitfield::parse(&[0xff, 0, 0], &g).is_none());
        let eight = Geometry::new(16384, 16384 * 8).unwrap();
        assert_eq!(Bitfield::all(&eight).as_bytes(), [0xff]);
        assert!(Bitfield::parse(&[0xff], &eight).unwrap().is_all());
    }

    #[test]
    fn count_follows_the_bits() {
        let g = Geometry::new(16384, 16384 * 11).unwrap();
        let mut b = Bitfield::none(&g);
        let p = g.piece(9).unwrap();
        assert!(b.set(p) && !b.set(p) && b.has(p));
        assert_eq!((b.count(), b.as_bytes()), (1, &[0, 0x40][..]));
        assert!(b.clear(p) && !b.clear(p) && b.count() == 0);
    }
}
