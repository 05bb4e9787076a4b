//! Which piece a link fetches next: rarest first with random ties, started ones before new ones, never in order.
//! Decides by what peers have; never how many requests are under way.

use crate::bitfield::Bitfield;
use crate::limits::MAX_OWNERS;
use crate::metainfo::{Geometry, Piece};
use crate::pieces::{OpenPiece, Pieces, Take};
use crate::rng::Rng;
use crate::swarm::Conn;
use alloc::vec::Vec;

/// How many linked peers have each piece.
#[derive(Debug)]
pub(crate) struct Picker {
    copies: Vec<u16>,
    /// And how many of those that are near.
    near: Vec<u16>,
}

impl Picker {
    pub(crate) fn new(geometry: &Geometry) -> Picker {
        let none = alloc::vec![0; geometry.pieces() as usize];
        Picker { copies: none.clone(), near: none }
    }

    pub(crate) fn appeared(&mut self, piece: Piece, is_far: bool) {
        self.count(piece, is_far, |n| n.saturating_add(1));
    }

    pub(crate) fn vanished(&mut self, piece: Piece, is_far: bool) {
        self.count(piece, is_far, |n| n.saturating_sub(1));
    }

    fn count(&mut self, piece: Piece, is_far: bool, step: impl Fn(u16) -> u16) {
        let at = piece.index() as usize;
        let near = self.near.get_mut(at).filter(|_| !is_far);
        for n in self.copies.get_mut(at).into_iter().chain(near) {
            *n = step(*n);
        }
    }

    /// Somebody near has it.
    pub(crate) fn is_near(&self, piece: Piece) -> bool {
        self.near.get(piece.index() as usize).is_some_and(|n| *n > 0)
    }

    /// No linked peer has it.
    pub(crate) fn is_nowhere(&self, piece: Piece) -> bool {
        self.copies.get(piece.index() as usize) == Some(&0)
    }

    /// The next piece for a link, of those that `fits` lets pass; `may_solo` tells whether it is one
    /// to fetch a suspected piece alone.
    pub(crate) fn choose(
        &self,
        pieces: &Pieces,
        fits: impl Fn(Piece) -> bool,
        conn: Conn,
        may_solo: impl Fn(Piece, &OpenPiece) -> bool,
        rng: &mut Rng,
    ) -> Option<(Piece, Take)> {
        if let Some(piece) = self.started(pieces, &fits, &may_solo) {
            return Some((piece, Take::First));
        }
        if let Some(piece) = self.rarest(pieces, &fits, rng) {
            return Some((piece, Take::First));
        }
        endgame(pieces, &fits, conn).map(|piece| (piece, Take::Shared))
    }

    /// Of an open piece that has just become less rare: is there a rarer one to ask the same peer for?
    pub(crate) fn is_better_left(&self, pieces: &Pieces, theirs: &Bitfield, piece: Piece) -> bool {
        let copies = |p: &Piece| self.copies.get(p.index() as usize).copied().unwrap_or(0);
        let now = copies(&piece);
        pieces.wanted().iter().any(|p| copies(p) < now && theirs.has(*p))
    }

    /// A piece that somebody began and left: the fullest, so that it can be passed on soonest.
    fn started(
        &self,
        pieces: &Pieces,
        fits: impl Fn(Piece) -> bool,
        may_solo: impl Fn(Piece, &OpenPiece) -> bool,
    ) -> Option<Piece> {
        pieces
            .opened()
            .filter(|(p, o)| o.owners.is_empty() && fits(*p) && (!o.solo || may_solo(*p, o)))
            .max_by_key(|(_, o)| o.stored())
            .map(|(p, _)| p)
    }

    fn rarest(&self, pieces: &Pieces, fits: impl Fn(Piece) -> bool, rng: &mut Rng) -> Option<Piece> {
        let mut best = None;
        let mut fewest = u16::MAX;
        let mut ties = 0;
        for &piece in pieces.wanted().iter().filter(|p| fits(**p)) {
            let copies = self.copies.get(piece.index() as usize).copied().unwrap_or(0);
            if copies < fewest || best.is_none() {
                (best, fewest, ties) = (Some(piece), copies, 1);
            } else if copies == fewest {
                ties += 1;
                if rng.below(ties) == 0 {
                    best = Some(piece);
                }
            }
        }
        best
    }
}

/// When everything is asked for somewhere: help with the piece that has most left, two links a piece at most.
fn endgame(pieces: &Pieces, fits: impl Fn(Piece) -> bool, conn: Conn) -> Option<Piece> {
    pieces
        .opened()
        .filter(|(p, o)| fits(*p) && !o.solo && o.owners.len() < MAX_OWNERS && !o.owners.contains(&conn))
        .max_by_key(|(_, o)| o.missing())
        .map(|(p, _)| p)
}

#[cfg(test)]
mod tests;
