//! Who is served next: one peer's piece is finished before another's begins, the poorest receiver first.
//! Our own nodes ask for a piece when they are offered a turn; the others ask when they like, and their requests wait.
//! Decides the order of answers; never refuses one (nobody is choked).

mod queue;

use crate::PeerId;
use crate::Time;
use crate::bitfield::Bitfield;
use crate::limits::{
    ACTIVE_UPLOADS_MAX, FULL_KEPT, OFFER_AGAIN, OFFER_FRESH, OFFER_KEPT, RING_MAX, SOCKET_LEAD, UPLOAD_LEAD,
    UPLOAD_LEAD_MIN, UPLOAD_STALL,
};
use crate::metainfo::{Block, Geometry, Piece};
use crate::meter::Meter;
use crate::peers::{Peer, Peers};
use crate::rng::Rng;
use crate::swarm::Conn;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
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
    pub(crate) have: &'a Bitfield,
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
    meter: Meter,
    /// No further turn beside the usual ones before this.
    extra_at: Time,
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
    pub(crate) fn new(geometry: Geometry, slots: usize) -> Uploads {
        Uploads {
            geometry,
            slots: slots.max(1),
            active: Vec::new(),
            given: alloc::vec![0; geometry.pieces() as usize],
            given_to: alloc::vec![None; geometry.pieces() as usize],
            meter: Meter::new(),
            extra_at: Time(0),
        }
    }

    pub(crate) fn gone(&mut self, conn: Conn) {
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

    /// The answer to an offer is no.
    pub(crate) fn passed(&mut self, conn: Conn) {
        if let Some(at) = self.active.iter().position(|a| a.conn == conn && a.piece.is_none()) {
            self.withdraw(at);
        }
    }

    /// What is to be done next; a block is taken from its queue.
    pub(crate) fn next(&mut self, now: Time, peers: &mut Peers, sender: Sender<'_>, rng: &mut Rng) -> Turn {
        self.tidy(now, peers);
        let ready = |a: &Active| {
            let peer = peers.get(&a.conn).filter(|p| p.room > 0);
            a.piece.is_some_and(|piece| peer.is_some_and(|p| p.queue.first(piece).is_some()))
        };
        if let Some(at) = self.active.iter().position(ready) {
            return self.send(now, at, peers);
        }
        // A turn counts while it moves, also when its requests are all answered: its link is still full of them.
        let fresh = |a: &Active| if a.piece.is_some() { UPLOAD_STALL } else { OFFER_FRESH };
        let busy = self.active.iter().filter(|a| now.since(a.moved) < fresh(a));
        let (mut receivers, mut ahead) = (BTreeSet::new(), 0);
        for turn in busy {
            receivers.insert(turn.conn);
            ahead += u64::from(self.size(turn).saturating_sub(turn.sent));
        }
        let turns = receivers.len();
        let enough = turns > 0 && (ahead > self.lead() || turns >= self.slots);
        // Slow receivers must not leave the uplink idle; but where it is full, one more only slows the others.
        let extra = turns < ACTIVE_UPLOADS_MAX && now >= self.extra_at && self.meter.is_spare(now);
        if enough && !extra {
            return Turn::Wait(Some(now + EXTRA_PAUSE));
        }
        let Some((conn, piece)) = self.neediest(now, peers, sender, rng) else {
            let full = peers.values().any(|p| p.interested && p.full.is_some()).then_some(now + FULL_KEPT);
            let due = |a: &Active| {
                let due = [OFFER_FRESH, OFFER_KEPT].map(|kept| a.moved + kept);
                due.into_iter().find(|t| a.piece.is_none() && *t > now)
            };
            let again = peers
                .values()
                .filter(|p| p.interested)
                .filter_map(|p| Some(p.mute?.1 + OFFER_AGAIN))
                .filter(|t| *t > now);
            return Turn::Wait(self.active.iter().filter_map(due).chain(again).chain(full).min());
        };
        if enough {
            self.extra_at = now + EXTRA_PAUSE;
        }
        if let Some(piece) = piece {
            self.count(Some(piece), true);
            self.active.push(Active { conn, piece: Some(piece), hint: None, sent: 0, moved: now });
            return self.send(now, self.active.len() - 1, peers);
        }
        if let Some(peer) = peers.get_mut(&conn) {
            peer.ready = false;
        }
        let hint = self.least_given(peers.get(&conn), sender, rng);
        self.count(hint, true);
        self.active.push(Active { conn, piece: None, hint, sent: 0, moved: now });
        Turn::Offer(conn, hint)
    }

    /// Ends turns that are done, and offers that nobody answers.
    fn tidy(&mut self, now: Time, peers: &mut Peers) {
        let mut at = 0;
        while let Some(turn) = self.active.get(at) {
            let quiet = now.since(turn.moved);
            let waits = |p: Piece| peers.get(&turn.conn).is_some_and(|peer| peer.queue.first(p).is_some());
            // An unfinished turn is kept while its peer may still ask for the rest of the piece.
            let keep = match turn.piece {
                Some(piece) => waits(piece) || (turn.sent < self.size(turn) && quiet < TURN_KEPT),
                None => quiet < OFFER_KEPT,
            };
            if keep {
                at += 1;
                continue;
            }
            if turn.piece.is_none()
                && let Some(peer) = peers.get_mut(&turn.conn)
            {
                let first = peer.mute.map_or(turn.moved, |(first, _)| first);
                peer.mute = Some((first, turn.moved));
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
        if let Some(to) = self.given_to.get_mut(block.piece.index() as usize) {
            *to = Some(active.conn);
        }
        Turn::Send(active.conn, block)
    }

    /// Who is served or offered a turn next: who waits for an answer, has room and is not being served, with the piece
    /// that was given least; and of our own nodes those who lack something, fewest turns and fewest pieces first.
    fn neediest(
        &self,
        now: Time,
        peers: &Peers,
        sender: Sender<'_>,
        rng: &mut Rng,
    ) -> Option<(Conn, Option<Piece>)> {
        let waiting = peers.iter().filter(|(_, p)| !p.queue.is_empty() && p.room > 0).filter_map(|(c, p)| {
            // A peer in service is a candidate again only when the piece of its turn has run dry.
            let in_turn = |piece: Piece| self.active.iter().any(|a| a.conn == *c && a.piece == Some(piece));
            let given = |piece: Piece| self.given.get(piece.index() as usize).copied().unwrap_or(0);
            let served = p.queue.pieces().any(in_turn);
            let best = p.queue.pieces().map(|piece| (given(piece), piece)).min().filter(|_| !served)?;
            Some((best, p.wealth(), *c))
        });
        let waiting = waiting.min_by_key(|((given, _), wealth, c)| (*given, *wealth, *c));
        let next = successor(peers, sender);
        let open = |p: &Peer| {
            p.control.is_some()
                && p.interested
                && p.mute.is_none_or(|(_, last)| now.since(last) >= OFFER_AGAIN)
                && p.full.is_none_or(|t| now.since(t) >= FULL_KEPT)
        };
        let turns = |c: Conn| self.active.iter().filter(|a| a.conn == c).count();
        // One unanswered offer a link: the answer says whether a second is of use.
        let unanswered = |c: Conn| self.active.iter().any(|a| a.conn == c && a.piece.is_none());
        // Whoever is far and says that it is ready needs what nobody near it has.
        let class = |c: Conn, p: &Peer| (!(p.is_far && p.ready), Some(c) != next, turns(c), !p.ready);
        let able = || peers.iter().filter(|(c, p)| open(p) && !unanswered(**c)).map(|(c, p)| (*c, p));
        let best = able().map(|(c, p)| class(c, p)).min();
        let best: Vec<(Conn, &Peer)> = able().filter(|(c, p)| Some(class(*c, p)) == best).collect();
        // The poorer of two: if all went for the poorest, one would be taken and the others lose a round trip each.
        let count = u32::try_from(best.len()).unwrap_or(u32::MAX);
        let mut any = || best.get(rng.below(count) as usize).map(|(c, p)| (turns(*c), p.wealth(), *c));
        let offer = any().min(any());
        match (waiting, offer) {
            (Some(((_, piece), wealth, c)), Some((turns, other, _))) if turns > 0 || wealth <= other => {
                Some((c, Some(piece)))
            }
            (_, Some((_, _, c))) => Some((c, None)),
            (Some(((_, piece), _, c)), None) => Some((c, Some(piece))),
            (None, None) => None,
        }
    }

    /// A source names what it has given least of what the peer lacks; others leave the choice to who knows more.
    fn least_given(&self, peer: Option<&Peer>, sender: Sender<'_>, rng: &mut Rng) -> Option<Piece> {
        let peer = peer.filter(|_| sender.have.is_all())?;
        let mut best = None;
        let (mut least, mut ties) = (u32::MAX, 0);
        for piece in self.geometry.all().filter(|p| !peer.have.has(*p)) {
            let given = self.given.get(piece.index() as usize).copied().unwrap_or(0);
            ties = if given < least { 1 } else { ties + u32::from(given == least) };
            // In random order: what is next to each other goes to different peers at different times.
            if given < least || (given == least && rng.below(ties) == 0) {
                (least, best) = (given, Some(piece));
            }
        }
        best
    }
}

/// A few nodes pass pieces round a ring, by peer id: each has one sender that has what it lacks, so nobody waits for
/// anybody. (With rarest-first alone ten nodes that are level with each other lack variety: 1.04 of the bound.) Who is
/// done, or has more links than that, serves the poorest.
fn successor(peers: &Peers, sender: Sender<'_>) -> Option<Conn> {
    if sender.have.is_all() {
        return None;
    }
    let others = || peers.iter().filter(|(_, p)| p.control.is_some() && !p.is_complete() && !p.is_far);
    if others().count() >= RING_MAX || peers.values().any(|p| p.is_far && p.control.is_some()) {
        return None;
    }
    others().min_by_key(|(_, p)| (p.peer_id < Some(sender.id), p.peer_id)).map(|(c, _)| *c)
}

#[cfg(test)]
mod tests;
