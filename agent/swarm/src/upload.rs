//! Who is served next: one peer's piece is finished before another's begins, the poorest receiver first.
//! Decides the order of answers; never refuses one (nobody is choked).

mod meter;

use crate::Time;
use crate::limits::{ACTIVE_UPLOADS_MAX, UPLOAD_STALL};
use crate::metainfo::{Block, Geometry, Piece};
use crate::peers::Peers;
use crate::swarm::Conn;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;
use meter::Meter;

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

    fn first(&self, piece: Piece) -> Option<Block> {
        self.groups.iter().find(|(p, _)| *p == piece).and_then(|(_, blocks)| blocks.front()).copied()
    }

    fn take(&mut self, piece: Piece) -> Option<Block> {
        let g = self.groups.iter().position(|(p, _)| *p == piece)?;
        let block = self.groups.get_mut(g)?.1.pop_front()?;
        self.tidy(g);
        Some(block)
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.groups.iter().map(|(p, _)| *p)
    }
}

/// How long an unfinished turn waits for more requests: longer than any round trip.
const TURN_KEPT: Duration = Duration::from_secs(1);

/// An extra turn shows in the uplink's rate after this.
const EXTRA_PAUSE: Duration = Duration::from_millis(10);

/// A peer that is being sent a piece.
#[derive(Debug)]
struct Active {
    conn: Conn,
    piece: Piece,
    /// Bytes of the piece sent in this turn.
    sent: u32,
    /// The last time that it took something.
    moved: Time,
}

/// The turns of one torrent's uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    geometry: Geometry,
    slots: usize,
    active: Vec<Active>,
    /// Bytes sent of each piece: the least-sent is the one that the swarm lacks most.
    sent: Vec<u64>,
    meter: Meter,
    /// No further turn beside the usual ones before this.
    extra_at: Time,
}

/// What the scheduler says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Send(Conn, Block),
    /// Nothing can be sent before a link has room, or before this time.
    Wait(Option<Time>),
}

impl Uploads {
    pub(crate) fn new(geometry: Geometry, slots: usize) -> Uploads {
        Uploads {
            geometry,
            slots: slots.max(1),
            active: Vec::new(),
            sent: alloc::vec![0; geometry.pieces() as usize],
            meter: Meter::new(),
            extra_at: Time(0),
        }
    }

    pub(crate) fn gone(&mut self, conn: Conn) {
        self.active.retain(|a| a.conn != conn);
    }

    /// The next block to send, taken from its queue.
    pub(crate) fn next(&mut self, now: Time, peers: &mut Peers) -> Turn {
        // An unfinished turn is kept while its peer may still ask for the rest of the piece.
        self.active.retain(|a| {
            let waits = peers.get(&a.conn).is_some_and(|p| p.queue.first(a.piece).is_some());
            let done = a.sent >= self.geometry.piece_size(a.piece);
            waits || (!done && now.since(a.moved) < TURN_KEPT)
        });
        if let Some(at) = self
            .active
            .iter()
            .position(|a| peers.get(&a.conn).is_some_and(|p| p.room > 0 && p.queue.first(a.piece).is_some()))
        {
            return self.send(now, at, peers);
        }
        let Some((conn, piece)) = self.neediest(peers) else { return Turn::Wait(None) };
        // A turn counts while it moves, also when its requests are all answered: its link is still full of them.
        let busy = self.active.iter().filter(|a| now.since(a.moved) < UPLOAD_STALL).count();
        // Slow receivers must not leave the uplink idle; but where it is full, one more only slows the others.
        let extra = busy < ACTIVE_UPLOADS_MAX && now >= self.extra_at && self.meter.is_spare(now);
        if busy >= self.slots && !extra {
            return Turn::Wait(Some(now + EXTRA_PAUSE));
        }
        if busy >= self.slots {
            self.extra_at = now + EXTRA_PAUSE;
        }
        self.active.retain(|a| a.conn != conn);
        self.active.push(Active { conn, piece, sent: 0, moved: now });
        self.send(now, self.active.len() - 1, peers)
    }

    fn send(&mut self, now: Time, at: usize, peers: &mut Peers) -> Turn {
        let Some(active) = self.active.get_mut(at) else { return Turn::Wait(None) };
        let block = peers.get_mut(&active.conn).and_then(|p| p.queue.take(active.piece));
        let Some(block) = block else { return Turn::Wait(None) };
        active.moved = now;
        self.meter.count(now, block.length);
        active.sent = active.sent.saturating_add(block.length);
        if let Some(sent) = self.sent.get_mut(block.piece.index() as usize) {
            *sent += u64::from(block.length);
        }
        Turn::Send(active.conn, block)
    }

    /// Of those who wait, have room and are not being served: the piece that was sent least, to who has least.
    fn neediest(&self, peers: &Peers) -> Option<(Conn, Piece)> {
        let sent = |p: Piece| self.sent.get(p.index() as usize).copied().unwrap_or(0);
        peers
            .iter()
            .filter(|(_, p)| !p.queue.is_empty() && p.room > 0)
            .filter(|(c, p)| {
                // A peer in service is a candidate again only when the piece of its turn has run dry.
                let turn = self.active.iter().find(|a| a.conn == **c);
                turn.is_none_or(|a| p.queue.first(a.piece).is_none())
            })
            .filter_map(|(c, p)| {
                p.queue.pieces().map(|piece| (sent(piece), piece)).min().map(|best| (c, p, best))
            })
            .min_by_key(|(c, p, (sent, _))| (*sent, p.wealth(), **c))
            .map(|(c, _, (_, piece))| (*c, piece))
    }
}

#[cfg(test)]
mod tests;
