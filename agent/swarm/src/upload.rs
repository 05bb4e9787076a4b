//! Who is served next: one peer's piece is finished before another's begins, the poorest receiver first.
//! Our own nodes ask for a piece when they are offered a turn; the others ask when they like, and their requests wait.
//! Decides the order of answers; never refuses one (nobody is choked).

mod queue;

use crate::PeerId;
use crate::Time;
use crate::bitfield::Bitfield;
use crate::limits::{
    ACTIVE_UPLOADS_MAX, FULL_KEPT, OFFER_AGAIN, OFFER_FRESH, OFFER_KEPT, RING_LAG, RING_PASSES,
    RING_PATIENCE, SOCKET_LEAD, UPLOAD_LEAD, UPLOAD_LEAD_MIN, UPLOAD_STALL,
};
use crate::metainfo::{Block, Geometry, Piece};
use crate::meter::Meter;
use crate::peers::{Peer, Peers};
use crate::pieces::Pieces;
use crate::ring::Ring;
use crate::rng::Rng;
use crate::swarm::Conn;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;
pub(crate) use queue::Queue;

/// How long an unfinished turn waits for more requests: longer than any round trip.
const TURN_KEPT: Duration = Duration::from_secs(1);

/// An extra turn shows in the uplink's rate after this.
const EXTRA_PAUSE: Duration = Duration::from_millis(10);

/// A peer that is being sent a piece, or has been offered one.
#[derive(Debug)]
struct Active {
    conn: Conn,
    /// Nothing before an offer is answered.
    piece: Option<Piece>,
    /// What the offer named.
    hint: Option<Piece>,
    /// Bytes of the piece sent in this turn.
    sent: u32,
    /// The last time that it took something.
    moved: Time,
}

/// Whose uploads these are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) id: PeerId,
    pub(crate) pieces: &'a Pieces,
    /// Who still downloads, as far as anybody knows.
    pub(crate) crowd: u32,
}

/// The turns of one torrent's uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    geometry: Geometry,
    slots: usize,
    active: Vec<Active>,
    /// Turns given for each piece: a source gives every piece once before any twice.
    given: Vec<u32>,
    /// Who had the last of them.
    given_to: Vec<Option<Conn>>,
    /// Pieces in the order in which they were begun here, or had from the beginning: so they go on in the ring.
    order: Vec<Piece>,
    /// The same, each of them once.
    ordered: Bitfield,
    /// Who could not be offered anything in the ring, or took nothing of it, and since when.
    held: BTreeMap<Conn, Time>,
    /// Who has passed how many offers and taken nothing since.
    unwilling: BTreeMap<Conn, u32>,
    /// Who is next there, and how much of the order it has.
    mark: Option<(Conn, usize)>,
    meter: Meter,
    /// No further turn beside the usual ones before this.
    extra_at: Time,
}

/// A candidate for an offer: its turns, what it has, who it is; and the piece to name.
type Offer = ((usize, (u32, u64), Conn), Option<Piece>);

/// What the neediest gets.
enum Next {
    /// It has asked for this.
    Piece(Piece),
    /// It is asked whether it wants this, or something.
    Offer(Option<Piece>),
}

/// What the scheduler says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Send(Conn, Block),
    /// Offer a turn, for this piece or any.
    Offer(Conn, Option<Piece>),
    /// Nothing can be sent before a link has room, or before this time.
    Wait(Option<Time>),
}

impl Uploads {
    pub(crate) fn new(geometry: Geometry, slots: usize, have: &Bitfield) -> Uploads {
        Uploads {
            geometry,
            slots: slots.max(1),
            active: Vec::new(),
            given: alloc::vec![0; geometry.pieces() as usize],
            given_to: alloc::vec![None; geometry.pieces() as usize],
            order: geometry.all().filter(|p| have.has(*p)).collect(),
            ordered: have.clone(),
            held: BTreeMap::new(),
            unwilling: BTreeMap::new(),
            mark: None,
            meter: Meter::new(),
            extra_at: Time(0),
        }
    }

    pub(crate) fn gone(&mut self, conn: Conn) {
        self.held.remove(&conn);
        self.unwilling.remove(&conn);
        while let Some(at) = self.active.iter().position(|a| a.conn == conn) {
            self.withdraw(at);
        }
    }

    /// Nothing is to be had from this peer any longer: what was given to it last, and nobody says that he has, is as good
    /// as not given.
    pub(crate) fn lost(&mut self, conn: Conn, nobody_has: impl Fn(Piece) -> bool) {
        for piece in self.geometry.all() {
            let at = piece.index() as usize;
            if self.given_to.get(at) == Some(&Some(conn)) {
                if let Some(to) = self.given_to.get_mut(at) {
                    *to = None;
                }
                if let Some(n) = self.given.get_mut(at).filter(|_| nobody_has(piece)) {
                    *n = 0;
                }
            }
        }
    }

    fn count(&mut self, piece: Option<Piece>, up: bool) {
        let given = piece.and_then(|p| self.given.get_mut(p.index() as usize));
        if let Some(n) = given {
            *n = if up { n.saturating_add(1) } else { n.saturating_sub(1) };
        }
    }

    /// Ends a turn; one that sent nothing does not count as given.
    fn withdraw(&mut self, at: usize) {
        let turn = self.active.swap_remove(at);
        if turn.sent == 0 {
            self.count(turn.piece.or(turn.hint), false);
        }
    }

    /// A piece is being fetched from now on.
    pub(crate) fn begun(&mut self, piece: Piece) {
        if self.ordered.set(piece) {
            self.order.push(piece);
        }
    }

    /// A request has come: it may be the answer to an offer.
    pub(crate) fn asked(&mut self, now: Time, conn: Conn, piece: Piece) {
        if self.active.iter().any(|a| a.conn == conn && a.piece == Some(piece)) {
            return;
        }
        let Some(turn) = self.active.iter_mut().find(|a| a.conn == conn && a.piece.is_none()) else { return };
        turn.piece = Some(piece);
        turn.moved = now;
        let hint = turn.hint;
        if hint != Some(piece) {
            self.count(hint, false);
            self.count(Some(piece), true);
        }
    }

    /// The answer to an offer is no; gives the piece that it named.
    pub(crate) fn passed(&mut self, conn: Conn) -> Option<Piece> {
        let at = self.active.iter().position(|a| a.conn == conn && a.piece.is_none())?;
        let hint = self.active.get(at).and_then(|a| a.hint);
        self.withdraw(at);
        *self.unwilling.entry(conn).or_default() += 1;
        hint
    }

    /// What is to be done next; a block is taken from its queue.
    pub(crate) fn next(&mut self, now: Time, peers: &mut Peers, sender: Sender<'_>, rng: &mut Rng) -> Turn {
        self.tidy(now, peers);
        let ready = |a: &Active| {
            let peer = peers.get(&a.conn).filter(|p| p.room > 0);
            let piece = a.piece.filter(|p| sender.pieces.have().has(*p));
            piece.is_some_and(|piece| peer.is_some_and(|p| p.queue.first(piece).is_some()))
        };
        if let Some(at) = self.active.iter().position(ready) {
            return self.send(now, at, peers);
        }
        // A turn counts while it moves, also when its requests are all answered: its link is still full of them.
        let fresh = |a: &Active| if a.piece.is_some() { UPLOAD_STALL } else { OFFER_FRESH };
        let busy = || self.active.iter().filter(|a| now.since(a.moved) < fresh(a));
        let (mut turns, mut ahead) = (0, 0);
        for turn in busy() {
            // Receivers, not their turns.
            let first = busy().find(|a| a.conn == turn.conn);
            turns += usize::from(first.is_some_and(|first| core::ptr::eq(first, turn)));
            ahead += u64::from(self.size(turn).saturating_sub(turn.sent));
        }
        let enough = turns > 0 && (ahead > self.lead() || turns >= self.slots);
        // Slow receivers must not leave the uplink idle; but where it is full, one more only slows the others.
        let extra = turns < ACTIVE_UPLOADS_MAX && now >= self.extra_at && self.meter.is_spare(now);
        if enough && !extra {
            return Turn::Wait(Some(now + EXTRA_PAUSE));
        }
        let Some((conn, next)) = self.neediest(now, peers, sender, rng) else {
            let full = peers.values().any(|p| p.interested && p.full.is_some()).then_some(now + FULL_KEPT);
            let due = |a: &Active| match a.piece {
                // What is not asked to its end may be offered to somebody again.
                Some(_) => Some(a.moved + TURN_KEPT).filter(|t| *t > now),
                None => [OFFER_FRESH, OFFER_KEPT].map(|kept| a.moved + kept).into_iter().find(|t| *t > now),
            };
            let again = peers.values().filter_map(|p| Some(p.mute?.1 + OFFER_AGAIN));
            let patience = self.held.values().map(|t| *t + RING_PATIENCE);
            let later = again.chain(patience).filter(|t| *t > now);
            let wake = self.active.iter().filter_map(due).chain(later).chain(full).min();
            // Whoever has lost its link in the middle lacks what it was sent there, and does not ask for it.
            let interested = peers.values().filter(|p| p.interested);
            let again = || interested.filter_map(|p| p.declined.until(now)).min();
            return Turn::Wait(wake.or_else(again));
        };
        if enough {
            self.extra_at = now + EXTRA_PAUSE;
        }
        let hint = match next {
            Next::Piece(piece) => {
                self.count(Some(piece), true);
                self.active.push(Active { conn, piece: Some(piece), hint: None, sent: 0, moved: now });
                return self.send(now, self.active.len() - 1, peers);
            }
            Next::Offer(hint) => hint,
        };
        if let Some(peer) = peers.get_mut(&conn) {
            peer.ready = false;
        }
        self.count(hint, true);
        self.active.push(Active { conn, piece: None, hint, sent: 0, moved: now });
        Turn::Offer(conn, hint)
    }

    /// Ends turns that are done, and offers that nobody answers.
    fn tidy(&mut self, now: Time, peers: &mut Peers) {
        let mut at = 0;
        while let Some(turn) = self.active.get(at) {
            let (quiet, size) = (now.since(turn.moved), self.size(turn));
            let waits = |p: Piece| peers.get(&turn.conn).is_some_and(|peer| peer.queue.first(p).is_some());
            // An unfinished turn is kept while its peer may still ask for the rest of the piece.
            let keep = match turn.piece {
                Some(piece) => turn.sent < size && quiet < TURN_KEPT || waits(piece),
                None => quiet < OFFER_KEPT,
            };
            if keep {
                at += 1;
                continue;
            }
            if let Some(peer) = peers.get_mut(&turn.conn) {
                match turn.piece {
                    // Until its HAVE comes, if it has all of it.
                    Some(piece) if turn.sent >= size => peer.declined.add(now, piece),
                    Some(_) => {}
                    // It may have asked for a piece of an older turn instead.
                    None if peer.last_in > turn.moved => {}
                    None => {
                        let first = peer.mute.map_or(turn.moved, |(first, _)| first);
                        peer.mute = Some((first, turn.moved));
                    }
                }
            }
            self.withdraw(at);
        }
    }

    fn size(&self, turn: &Active) -> u32 {
        turn.piece.map_or(self.geometry.piece_length(), |p| self.geometry.piece_size(p))
    }

    /// Bytes that should be asked of us ahead of what has gone into sockets.
    fn lead(&self) -> u64 {
        let rate = self.meter.best();
        if rate == 0 {
            return u64::from(self.geometry.piece_length());
        }
        let micros = u64::try_from(UPLOAD_LEAD.as_micros()).unwrap_or(u64::MAX);
        let ahead = (rate / 1000).saturating_mul(micros / 1000);
        ahead.saturating_sub(SOCKET_LEAD).max(UPLOAD_LEAD_MIN)
    }

    fn send(&mut self, now: Time, at: usize, peers: &mut Peers) -> Turn {
        let Some(active) = self.active.get_mut(at) else { return Turn::Wait(None) };
        let block = peers.get_mut(&active.conn).zip(active.piece).and_then(|(p, piece)| p.queue.take(piece));
        let Some(block) = block else { return Turn::Wait(None) };
        active.moved = now;
        self.meter.count(now, block.length);
        active.sent = active.sent.saturating_add(block.length);
        self.held.remove(&active.conn);
        self.unwilling.remove(&active.conn);
        if let Some(to) = self.given_to.get_mut(block.piece.index() as usize) {
            *to = Some(active.conn);
        }
        Turn::Send(active.conn, block)
    }

    /// Who is served or offered a turn next: who waits for an answer, has room and is not being served, with the piece
    /// that was given least; and of our own nodes the next in the ring, or where there is none the poorest.
    fn neediest(
        &mut self,
        now: Time,
        peers: &Peers,
        sender: Sender<'_>,
        rng: &mut Rng,
    ) -> Option<(Conn, Next)> {
        let waiting = self.waiting(peers, sender);
        let ring = Ring::new(peers, sender.id, sender.crowd);
        let offer = match &ring {
            Some(ring) => self.next_in_ring(now, peers, sender, ring, rng),
            None => self.poorest(now, peers, sender, rng),
        };
        match (waiting, offer) {
            (Some((_, mine, conn, piece)), Some(((turns, theirs, _), _)))
                if turns > 0 && ring.is_none() || mine <= theirs =>
            {
                Some((conn, Next::Piece(piece)))
            }
            (_, Some(((.., conn), hint))) => Some((conn, Next::Offer(hint))),
            (Some((.., conn, piece)), None) => Some((conn, Next::Piece(piece))),
            (None, None) => None,
        }
    }

    /// Who has asked for something that we have without being offered it.
    fn waiting(&self, peers: &Peers, sender: Sender<'_>) -> Option<(u32, (u32, u64), Conn, Piece)> {
        let given = |piece: Piece| self.given.get(piece.index() as usize).copied().unwrap_or(0);
        let waiting = peers.iter().filter(|(_, p)| !p.queue.is_empty() && p.room > 0).filter_map(|(c, p)| {
            // A peer in service is a candidate again only when the piece of its turn has run dry.
            let in_turn = |piece: Piece| self.active.iter().any(|a| a.conn == *c && a.piece == Some(piece));
            let mut here = p.queue.pieces().filter(|piece| sender.pieces.have().has(*piece)).peekable();
            here.peek()?;
            if p.queue.pieces().any(in_turn) {
                return None;
            }
            let (given, piece) = here.map(|piece| (given(piece), piece)).min()?;
            Some((given, p.wealth(), *c, piece))
        });
        waiting.min()
    }

    fn turns(&self, conn: Conn) -> usize {
        self.active.iter().filter(|a| a.conn == conn).count()
    }

    /// An offer may go there.
    fn is_able(&self, now: Time, conn: Conn, peer: &Peer) -> bool {
        peer.control.is_some()
            // One unanswered offer a link: the answer says whether a second is of use.
            && self.active.iter().all(|a| a.conn != conn || a.piece.is_some())
            && peer.mute.is_none_or(|(_, last)| now.since(last) >= OFFER_AGAIN)
            && peer.full.is_none_or(|t| now.since(t) >= FULL_KEPT)
    }

    /// The one behind us while it takes what it is given, though it may need a moment; otherwise the one behind that. The
    /// last of the ring, whom nobody waits for, feeds whoever is far behind: the one before it may have no link to it.
    fn next_in_ring(
        &mut self,
        now: Time,
        peers: &Peers,
        sender: Sender<'_>,
        ring: &Ring,
        rng: &mut Rng,
    ) -> Option<Offer> {
        let ours = sender.pieces.have().count();
        let lag = |p: &Peer| ours.saturating_sub(p.have.count());
        let first = ring.next(peers, None);
        let is_level = first.and_then(|conn| peers.get(&conn)).is_some_and(|p| lag(p) == 0);
        // The first of them is enough nearly always.
        let order = core::iter::successors(first, |conn| ring.next(peers, peers.get(conn)));
        let mut nodes = order.map_while(|conn| Some((conn, peers.get(&conn)?)));
        if sender.pieces.is_complete() || !is_level {
            return nodes.find_map(|node| self.in_ring(now, node, sender, rng))?;
        }
        let mut nodes: Vec<(Conn, &Peer)> = nodes.collect();
        nodes.sort_by_key(|(_, p)| Reverse(Some(lag(p)).filter(|lag| *lag > RING_LAG)));
        nodes.into_iter().find_map(|node| self.in_ring(now, node, sender, rng))?
    }

    /// What this one can be offered; `Some(None)`: it is waited for.
    fn in_ring(
        &mut self,
        now: Time,
        (conn, peer): (Conn, &Peer),
        sender: Sender<'_>,
        rng: &mut Rng,
    ) -> Option<Option<Offer>> {
        if self.is_able(now, conn, peer)
            && let Some(piece) = self.pass_on(now, conn, peer, sender, rng)
        {
            // Who has left an offer unanswered, or passed too many, is offered more, but not waited for again.
            let passed = self.unwilling.get(&conn).copied().unwrap_or(0);
            if peer.mute.is_none() && passed < RING_PASSES {
                self.held.remove(&conn);
            }
            return Some(Some(((self.turns(conn), peer.wealth(), conn), Some(piece))));
        }
        let since = *self.held.entry(conn).or_insert(now);
        (now.since(since) < RING_PATIENCE).then_some(None)
    }

    /// What goes on to this one next: in the order in which it came to us, and before it is whole, so that it goes on as
    /// soon as it is. A source gives what it has given least.
    fn pass_on(
        &mut self,
        now: Time,
        conn: Conn,
        peer: &Peer,
        sender: Sender<'_>,
        rng: &mut Rng,
    ) -> Option<Piece> {
        let is_given =
            |p: Piece, active: &[Active]| active.iter().any(|a| a.conn == conn && a.piece == Some(p));
        let is_free = |p: Piece, active: &[Active]| {
            !peer.have.has(p) && !peer.declined.has(now, p) && !is_given(p, active)
        };
        if sender.pieces.is_complete() {
            return self.least_given(|p| is_free(p, &self.active), rng);
        }
        let start = self.mark.filter(|(c, _)| *c == conn).map_or(0, |(_, at)| at);
        let has = |p: &Piece| peer.have.has(*p);
        let start = start + self.order.iter().skip(start).take_while(|p| has(p)).count();
        self.mark = Some((conn, start));
        // Who is far behind gets the newest first, since those behind it wait for these; the rest comes from everybody.
        let lag = sender.pieces.have().count().saturating_sub(peer.have.count());
        if lag > RING_LAG {
            let whole = |p: &Piece| sender.pieces.have().has(*p) && is_free(*p, &self.active);
            return self.order.iter().skip(start).rev().copied().find(whole);
        }
        let mut free = self.order.iter().skip(start).copied().filter(|p| is_free(*p, &self.active));
        let begun = |p: &Piece| sender.pieces.get(*p).is_some_and(|o| o.stored() > 0);
        let whole = free.clone().find(|p| sender.pieces.have().has(*p));
        whole.or_else(|| free.find(begun))
    }

    /// Of those who lack something, fewest turns and fewest pieces first.
    fn poorest(&self, now: Time, peers: &Peers, sender: Sender<'_>, rng: &mut Rng) -> Option<Offer> {
        // Whoever is far and says that it is ready needs what nobody near it has.
        let class = |turns: usize, p: &Peer| (!(p.is_far && p.ready), turns, !p.ready);
        let (mut least, mut best) = ((true, usize::MAX, true), Vec::new());
        for (conn, peer) in peers.iter().filter(|(_, p)| p.interested) {
            let turns = self.turns(*conn);
            let class = class(turns, peer);
            if class > least || !self.is_able(now, *conn, peer) {
                continue;
            }
            if class < least {
                least = class;
                best.clear();
            }
            best.push((turns, peer.wealth(), *conn));
        }
        // The poorer of two: if all went for the poorest, one would be taken and the others lose a round trip each.
        let count = u32::try_from(best.len()).unwrap_or(u32::MAX);
        let mut any = || best.get(rng.below(count) as usize).copied();
        let one = any().min(any())?;
        // A source names what it has given least; others leave the choice to who knows more.
        let peer = peers.get(&one.2).filter(|_| sender.pieces.is_complete());
        Some((one, peer.and_then(|peer| self.least_given(|p| !peer.have.has(p), rng))))
    }

    fn least_given(&self, is_free: impl Fn(Piece) -> bool, rng: &mut Rng) -> Option<Piece> {
        let mut best = None;
        let (mut least, mut ties) = (u32::MAX, 0);
        for piece in self.geometry.all() {
            let given = self.given.get(piece.index() as usize).copied().unwrap_or(0);
            if given > least || !is_free(piece) {
                continue;
            }
            ties = if given < least { 1 } else { ties + u32::from(given == least) };
            // In random order: what is next to each other goes to different peers at different times.
            if given < least || (given == least && rng.below(ties) == 0) {
                (least, best) = (given, Some(piece));
            }
        }
        best
    }
}

#[cfg(test)]
mod tests;
