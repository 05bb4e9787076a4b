//! What of the torrent is there: verified, being fetched, or wanted; and who delivered what is being fetched.
//! Decides when a piece is whole and who may write a block; never which piece comes next.

use crate::PeerId;
use crate::bitfield::Bitfield;
use crate::metainfo::{BLOCK, Block, Geometry, Piece};
use crate::swarm::Conn;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddrV4;

/// Whom a false piece is blamed on; outlives the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) addr: SocketAddrV4,
    pub(crate) peer_id: PeerId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    /// One writer a block: nobody else's copy is let in until this one is whole or its link has gone.
    Receiving(Conn),
    Stored,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    state: State,
    /// Links with a request under way; two only at the end of a download.
    askers: [Option<Conn>; 2],
}

const EMPTY: Slot = Slot { state: State::Missing, askers: [None, None] };

/// A piece of which something is here or asked for.
#[derive(Debug)]
pub(crate) struct OpenPiece {
    slots: Vec<Slot>,
    stored: u32,
    /// Below this every block has been asked for (a hint that only moves back when a request is taken back).
    low: usize,
    pub(crate) owners: Vec<Conn>,
    pub(crate) sources: Vec<Who>,
    /// After a false piece of several senders: fetched again from one link alone, a suspect if possible.
    pub(crate) solo: bool,
    pub(crate) suspects: Vec<Who>,
    /// A link that was to fetch it alone has let it go: from now on anybody may, or a suspect could hold it for ever.
    pub(crate) let_go: bool,
}

impl OpenPiece {
    fn is_whole(&self) -> bool {
        self.stored as usize == self.slots.len()
    }

    /// Blocks that are not here yet.
    pub(crate) fn missing(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX) - self.stored
    }

    /// Nothing of it has come or is coming.
    pub(crate) fn is_untouched(&self) -> bool {
        self.stored == 0 && self.slots.iter().all(|s| s.state == State::Missing)
    }

    pub(crate) fn stored(&self) -> u32 {
        self.stored
    }
}

/// How a link takes blocks of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Upwards, blocks that nobody was asked for.
    First,
    /// Downwards, also what one other link was asked for: the two meet in the middle.
    Shared,
}

/// What storing a block led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredBlock {
    pub(crate) whole: bool,
    /// Another link that was asked for the same block.
    pub(crate) other: Option<Conn>,
}

#[derive(Debug)]
pub(crate) struct Pieces {
    geometry: Geometry,
    have: Bitfield,
    left: u64,
    open: BTreeMap<Piece, OpenPiece>,
    /// Pieces that are neither here nor open, in no order; `place` is each one's index or `NOWHERE`.
    wanted: Vec<Piece>,
    place: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Pieces {
    pub(crate) fn new(geometry: Geometry, have: Bitfield) -> Pieces {
        let mut pieces = Pieces {
            geometry,
            left: 0,
            open: BTreeMap::new(),
            wanted: Vec::new(),
            place: alloc::vec![NOWHERE; geometry.pieces() as usize],
            have,
        };
        for piece in geometry.all().filter(|p| !pieces.have.has(*p)).collect::<Vec<_>>() {
            pieces.left += u64::from(geometry.piece_size(piece));
            pieces.want(piece);
        }
        pieces
    }

    pub(crate) fn have(&self) -> &Bitfield {
        &self.have
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.have.is_all()
    }

    /// Bytes of pieces that are not verified.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn wanted(&self) -> &[Piece] {
        &self.wanted
    }

    pub(crate) fn opened(&self) -> impl Iterator<Item = (Piece, &OpenPiece)> {
        self.open.iter().filter(|(_, o)| !o.is_whole()).map(|(p, o)| (*p, o))
    }

    pub(crate) fn get(&self, piece: Piece) -> Option<&OpenPiece> {
        self.open.get(&piece)
    }

    /// Pieces without a verdict that this link fetches or has sent something of.
    pub(crate) fn unverified(&self, conn: Conn, who: Who) -> usize {
        self.open.values().filter(|o| o.owners.contains(&conn) || o.sources.contains(&who)).count()
    }

    fn want(&mut self, piece: Piece) {
        if let Some(place) = self.place.get_mut(piece.index() as usize)
            && *place == NOWHERE
        {
            *place = u32::try_from(self.wanted.len()).unwrap_or(NOWHERE);
            self.wanted.push(piece);
        }
    }

    fn unwant(&mut self, piece: Piece) {
        let Some(place) = self.place.get_mut(piece.index() as usize) else { return };
        let at = core::mem::replace(place, NOWHERE);
        if at == NOWHERE {
            return;
        }
        self.wanted.swap_remove(at as usize);
        if let Some(moved) = self.wanted.get(at as usize)
            && let Some(place) = self.place.get_mut(moved.index() as usize)
        {
            *place = at;
        }
    }

    fn open(&mut self, piece: Piece) -> Option<&mut OpenPiece> {
        if self.have.has(piece) {
            return None;
        }
        self.unwant(piece);
        let blocks = self.geometry.blocks(piece) as usize;
        Some(self.open.entry(piece).or_insert_with(|| OpenPiece {
            slots: alloc::vec![EMPTY; blocks],
            stored: 0,
            low: 0,
            owners: Vec::new(),
            sources: Vec::new(),
            solo: false,
            suspects: Vec::new(),
            let_go: false,
        }))
    }

    /// The link fetches this piece from now on.
    pub(crate) fn own(&mut self, piece: Piece, conn: Conn) {
        if let Some(open) = self.open(piece)
            && !open.owners.contains(&conn)
        {
            open.owners.push(conn);
        }
    }

    /// The link no longer fetches it. A piece of which nothing is left is wanted again.
    pub(crate) fn disown(&mut self, piece: Piece, conn: Conn) {
        let Some(open) = self.open.get_mut(&piece) else { return };
        open.owners.retain(|c| *c != conn);
        for slot in &mut open.slots {
            forget(slot, conn);
        }
        open.low = 0;
        if open.solo && open.owners.is_empty() && !open.is_whole() {
            open.let_go = true;
            open.reset();
        }
        self.settle(piece);
    }

    fn settle(&mut self, piece: Piece) {
        let idle = |o: &OpenPiece| o.owners.is_empty() && !o.solo && o.is_untouched();
        if self.open.get(&piece).is_some_and(idle) {
            self.open.remove(&piece);
            self.want(piece);
        }
    }

    /// Takes the next block of an open piece to ask `conn` for.
    pub(crate) fn ask(&mut self, piece: Piece, conn: Conn, take: Take) -> Option<Block> {
        let open = self.open.get_mut(&piece)?;
        let free = |s: &Slot| s.state == State::Missing && s.askers == [None, None];
        let n = match take {
            Take::First => {
                let n = open.slots.iter().skip(open.low).position(free);
                open.low = n.map_or(open.slots.len(), |n| n + open.low);
                open.low
            }
            Take::Shared => {
                let other = |s: &Slot| {
                    s.state == State::Missing && s.askers.contains(&None) && !s.askers.contains(&Some(conn))
                };
                let twice = || open.slots.iter().rposition(other).filter(|_| self.wanted.is_empty());
                open.slots.iter().rposition(free).or_else(twice)?
            }
        };
        let slot = open.slots.get_mut(n)?;
        *slot.askers.iter_mut().find(|a| a.is_none())? = Some(conn);
        self.geometry.block(piece, u32::try_from(n).ok()?)
    }

    /// Some block that is not here, without taking it: what a stalled link is tried with.
    pub(crate) fn probe(&self, piece: Piece) -> Option<Block> {
        let n = match self.open.get(&piece) {
            Some(open) if open.solo => return None,
            Some(open) => open.slots.iter().rposition(|s| s.state == State::Missing)?,
            None if self.have.has(piece) => return None,
            None => 0,
        };
        self.geometry.block(piece, u32::try_from(n).ok()?)
    }

    /// The request will not be answered.
    pub(crate) fn unask(&mut self, block: Block, conn: Conn) {
        if let Some(open) = self.open.get_mut(&block.piece)
            && let Some(slot) = open.slots.get_mut((block.offset / BLOCK) as usize)
        {
            for asker in slot.askers.iter_mut().filter(|a| **a == Some(conn)) {
                *asker = None;
            }
            open.low = open.low.min((block.offset / BLOCK) as usize);
        }
    }

    /// May this link write the block now? Then it is the only one.
    pub(crate) fn begin(&mut self, block: Block, conn: Conn) -> bool {
        let Some(open) = self.open(block.piece) else { return false };
        if open.solo && !open.owners.contains(&conn) {
            return false;
        }
        match open.slots.get_mut((block.offset / BLOCK) as usize) {
            Some(slot) if slot.state == State::Missing => {
                slot.state = State::Receiving(conn);
                true
            }
            _ => false,
        }
    }

    /// The block is in its place.
    pub(crate) fn store(&mut self, block: Block, conn: Conn, who: Who) -> Option<StoredBlock> {
        let open = self.open.get_mut(&block.piece)?;
        let slot = open.slots.get_mut((block.offset / BLOCK) as usize)?;
        if slot.state != State::Receiving(conn) {
            return None;
        }
        slot.state = State::Stored;
        let other = slot.askers.iter().flatten().copied().find(|c| *c != conn);
        slot.askers = [None, None];
        open.stored += 1;
        if !open.sources.contains(&who) {
            open.sources.push(who);
        }
        Some(StoredBlock { whole: open.is_whole(), other })
    }

    /// The link went away in the middle of this block.
    pub(crate) fn abort(&mut self, block: Block, conn: Conn) {
        if let Some(open) = self.open.get_mut(&block.piece)
            && let Some(slot) = open.slots.get_mut((block.offset / BLOCK) as usize)
            && slot.state == State::Receiving(conn)
        {
            slot.state = State::Missing;
            open.low = 0;
        }
        self.settle(block.piece);
    }

    /// The hash is right: the piece is ours. Gives what is known of its senders.
    pub(crate) fn verified(&mut self, piece: Piece) -> Option<OpenPiece> {
        if !self.open.get(&piece)?.is_whole() || !self.have.set(piece) {
            return None;
        }
        self.left = self.left.saturating_sub(u64::from(self.geometry.piece_size(piece)));
        self.open.remove(&piece)
    }

    /// The hash is wrong: everything is fetched again. Gives the senders, and whether one link alone was asked.
    pub(crate) fn failed(&mut self, piece: Piece) -> Option<(Vec<Who>, Vec<Conn>)> {
        let open = self.open.get_mut(&piece).filter(|o| o.is_whole())?;
        let sources = core::mem::take(&mut open.sources);
        let owners = core::mem::take(&mut open.owners);
        for who in &sources {
            if !open.suspects.contains(who) {
                open.suspects.push(*who);
            }
        }
        open.solo = open.suspects.len() > 1;
        open.let_go = false;
        open.reset();
        self.settle(piece);
        Some((sources, owners))
    }
}

impl OpenPiece {
    fn reset(&mut self) {
        self.slots.fill(EMPTY);
        (self.stored, self.low) = (0, 0);
        self.sources.clear();
    }
}

fn forget(slot: &mut Slot, conn: Conn) {
    for asker in slot.askers.iter_mut().filter(|a| **a == Some(conn)) {
        *asker = None;
    }
    if slot.state == State::Receiving(conn) {
        slot.state = State::Missing;
    }
}

#[cfg(test)]
mod tests;
