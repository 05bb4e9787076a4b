//! What one peer has asked for and not been sent. Decides nothing but the order within a piece.

use crate::metainfo::{Block, Piece};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// One peer's unanswered requests, by piece.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    groups: Vec<(Piece, VecDeque<Block>)>,
    len: u32,
}

impl Queue {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, block: Block) {
        self.len += 1;
        match self.groups.iter_mut().find(|(p, _)| *p == block.piece) {
            Some((_, blocks)) => blocks.push_back(block),
            None => self.groups.push((block.piece, VecDeque::from([block]))),
        }
    }

    /// Takes a request back; `false` if it is not there (answered already).
    pub(crate) fn cancel(&mut self, block: Block) -> bool {
        let Some(g) = self.groups.iter().position(|(p, _)| *p == block.piece) else { return false };
        let Some((_, blocks)) = self.groups.get_mut(g) else { return false };
        let Some(at) = blocks.iter().position(|b| *b == block) else { return false };
        blocks.remove(at);
        self.tidy(g);
        true
    }

    fn tidy(&mut self, group: usize) {
        self.len -= 1;
        if self.groups.get(group).is_some_and(|(_, blocks)| blocks.is_empty()) {
            self.groups.remove(group);
        }
    }

    pub(super) fn first(&self, piece: Piece) -> Option<Block> {
        self.groups.iter().find(|(p, _)| *p == piece).and_then(|(_, blocks)| blocks.front()).copied()
    }

    pub(super) fn take(&mut self, piece: Piece) -> Option<Block> {
        let g = self.groups.iter().position(|(p, _)| *p == piece)?;
        let block = self.groups.get_mut(g)?.1.pop_front()?;
        self.tidy(g);
        Some(block)
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.groups.iter().map(|(p, _)| *p)
    }
}
