//! What a peer did not want a moment ago, or was sent and has not reported yet. Forgets by itself after a while; never
//! decides what that is good for. On a fast link it holds thousands of pieces, so neither question nor entry walks them.

use crate::Time;
use crate::limits::DECLINED_KEPT;
use crate::metainfo::Piece;
use alloc::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub(crate) struct Declined {
    since: BTreeMap<Piece, Time>,
    /// The same, oldest first; of a piece that was declined again, its older entries too.
    aging: VecDeque<(Piece, Time)>,
}

impl Declined {
    pub(crate) fn has(&self, now: Time, piece: Piece) -> bool {
        self.since.get(&piece).is_some_and(|t| now.since(*t) < DECLINED_KEPT)
    }

    /// When the first of them is forgotten.
    pub(crate) fn until(&self, now: Time) -> Option<Time> {
        let current = self.aging.iter().filter(|(piece, t)| self.since.get(piece) == Some(t));
        current.map(|(_, t)| *t + DECLINED_KEPT).find(|at| *at > now)
    }

    pub(crate) fn add(&mut self, now: Time, piece: Piece) {
        while let Some((old, t)) = self.aging.front().copied().filter(|(_, t)| now.since(*t) >= DECLINED_KEPT)
        {
            self.aging.pop_front();
            if self.since.get(&old) == Some(&t) {
                self.since.remove(&old);
            }
        }
        if self.since.insert(piece, now) != Some(now) {
            self.aging.push_back((piece, now));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.since.clear();
        self.aging.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metainfo::Geometry;

    #[test]
    fn a_piece_is_remembered_from_its_last_refusal_and_no_longer() {
        let geometry = Geometry::new(1 << 14, 1 << 20).unwrap();
        let piece = |n| geometry.piece(n).unwrap();
        let mut declined = Declined::default();
        let half = Time(0) + DECLINED_KEPT / 2;
        declined.add(Time(0), piece(1));
        declined.add(Time(0), piece(2));
        declined.add(half, piece(1));
        let end = Time(0) + DECLINED_KEPT;
        assert!(declined.has(half, piece(2)) && !declined.has(end, piece(2)), "not asked for again");
        assert_eq!((declined.until(half), declined.until(end)), (Some(end), Some(half + DECLINED_KEPT)));
        declined.add(end, piece(3));
        assert!(declined.has(end, piece(1)), "its older entry was dropped, not itself");
        assert_eq!((declined.since.len(), declined.aging.len()), (2, 2));
        assert!(!declined.has(half + DECLINED_KEPT, piece(1)));
        declined.clear();
        assert!(!declined.has(end, piece(3)));
    }
}
