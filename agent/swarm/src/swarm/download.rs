//! What we fetch: requests out, blocks in, pieces checked. Decides whom a false piece is blamed on.

use super::{Admit, CloseReason, Conn, Output, Swarm};
use crate::announce::Event;
use crate::limits::{CANCELLED_KEPT, MAX_SUSPICIONS, REJECT_PAUSE, UNPROVEN_PIECES};
use crate::metainfo::{Block, Piece};
use crate::peers::{Peer, Pending};
use crate::pieces::{OpenPiece, Take, Who};
use crate::wire::{BlockClaim, OwnedMessage};
use alloc::vec::Vec;

impl Swarm {
    /// Asked when the header of a piece message has been read, before its payload.
    pub fn admit_block(&mut self, conn: Conn, index: u32, begin: u32, length: u32) -> Admit {
        let Some(peer) = self.peers.get_mut(&conn) else { return Admit::Close };
        let Some(block) = self.config.geometry.claim(index, begin, length) else {
            self.close(conn, CloseReason::Protocol("a block outside the torrent"));
            return Admit::Close;
        };
        peer.last_in = self.now;
        let Some(request) = peer.find(block).and_then(|at| peer.requests.get_mut(at)) else {
            if peer.fast || peer.peer_id.is_none() {
                self.close(conn, CloseReason::Protocol("a block that was not asked for"));
                return Admit::Close;
            }
            // Without BEP 6 a block may have been under way when we cancelled it.
            return Admit::Discard(block);
        };
        if self.pieces.begin(block, conn) {
            request.arriving = true;
            // From here on the clock of a link that stops in the middle runs, choked or snubbed before or not.
            peer.waited(self.now);
            Admit::Store(block)
        } else {
            Admit::Discard(block)
        }
    }

    /// The block has been written.
    pub(super) fn block(&mut self, conn: Conn, block: Block) {
        let Some(request) = self.answered(conn, block) else { return };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(who) = peer.who() else { return };
        peer.bytes_in += u64::from(block.length);
        peer.since_calm.1 += u64::from(block.length);
        self.inflow.count(self.now, block.length);
        self.fed = self.now;
        peer.depth.grow(self.now, request.sent, block.length);
        if let Some(stored) = self.pieces.store(block, conn, who) {
            if let Some(other) = stored.other {
                self.cancel(other, block);
            }
            if stored.whole {
                self.fetched(block.piece);
            } else if self.pieces.get(block.piece).is_some_and(|o| o.stored() == 1) {
                // It may be offered to the next in the ring.
                self.serve();
            }
        }
        self.pump(conn);
        self.welcome();
    }

    pub(super) fn discarded(&mut self, conn: Conn, block: Block) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.duplicates += u64::from(block.length);
        }
        if self.answered(conn, block).is_some() {
            self.pieces.unask(block, conn);
        }
        self.pump(conn);
    }

    fn answered(&mut self, conn: Conn, block: Block) -> Option<Pending> {
        let peer = self.peers.get_mut(&conn)?;
        peer.last_in = self.now;
        let at = peer.find(block)?;
        peer.moved(self.now);
        peer.settle(at)
    }

    /// All blocks of a piece are here: nobody fetches it any longer, and it is hashed while it is hot.
    fn fetched(&mut self, piece: Piece) {
        let owners = self.pieces.get(piece).map(|o| o.owners.clone()).unwrap_or_default();
        for conn in owners {
            if let Some(peer) = self.peers.get_mut(&conn) {
                peer.claims.retain(|(p, _)| *p != piece);
            }
        }
        self.push(Output::Verify { piece });
    }

    /// Takes one request back. With BEP 6 an answer is still owed, so the request stays on the books.
    fn cancel(&mut self, conn: Conn, block: Block) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(at) = peer.find(block) else { return };
        match peer.requests.get_mut(at) {
            Some(request) if request.arriving || !request.live => return,
            Some(request) if peer.fast => {
                request.live = false;
                peer.live -= 1;
            }
            _ => {
                peer.settle(at);
            }
        }
        self.pieces.unask(block, conn);
        self.send(conn, OwnedMessage::Cancel(BlockClaim::from(block)));
        self.pump(conn);
    }

    pub(super) fn rejected(&mut self, conn: Conn, claim: BlockClaim) -> Result<(), &'static str> {
        let block = self.config.geometry.claim(claim.index, claim.offset, claim.length);
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        // Some clients answer a cancelled request twice, or late: that is no reason to lose them.
        let Some(at) = block.and_then(|b| peer.find(b)) else { return Ok(()) };
        let Some(request) = peer.settle(at) else { return Ok(()) };
        if request.arriving {
            return Err("a reject in the middle of its block");
        }
        self.pieces.unask(request.block, conn);
        if request.live {
            peer.depth.shrink(self.now);
            peer.paused_until = self.now + REJECT_PAUSE;
            self.disclaim(conn);
        } else {
            self.pump(conn);
        }
        Ok(())
    }

    /// The peer chokes us (only foreign ones do): what it does not owe an answer for is asked elsewhere.
    pub(super) fn choked(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.choking = true;
        if !peer.fast {
            // BEP 3: requests are dropped by a choke; one whose payload is arriving is not.
            let (keep, drop): (Vec<Pending>, Vec<Pending>) =
                peer.requests.drain(..).partition(|r| r.arriving);
            peer.requests.extend(keep);
            peer.live = u32::from(peer.requests.iter().any(|r| r.live));
            drop.into_iter().for_each(|r| self.pieces.unask(r.block, conn));
        }
        self.disclaim(conn);
    }

    /// The link fetches no piece any longer; others may.
    fn disclaim(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let arriving = peer.arriving();
        for (piece, take) in core::mem::take(&mut peer.claims) {
            if arriving.is_some_and(|b| b.piece == piece) {
                peer.claims.push((piece, take));
            } else {
                self.pieces.disown(piece, conn);
            }
        }
        self.wake_pickers();
    }

    /// Something is to be had again: links for which nothing was left look once more.
    pub(super) fn wake_pickers(&mut self) {
        let idle: Vec<Conn> = self
            .peers
            .iter_mut()
            .filter(|(_, p)| p.exhausted)
            .map(|(c, p)| (*c, p.exhausted = false).0)
            .collect();
        // One of ours that fetches a piece already goes on with it before anybody else is asked.
        let begun = self.peers.iter().filter(|(_, p)| p.control.is_some() && !p.claims.is_empty());
        let begun: Vec<Conn> = begun.map(|(c, _)| *c).collect();
        begun.into_iter().for_each(|conn| self.pump(conn));
        self.reconsider();
        idle.into_iter().for_each(|conn| self.pump(conn));
        self.welcome();
    }

    /// Asks for as much as the link should hold.
    pub(super) fn pump(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let nothing = peer.useful == 0 && peer.claims.is_empty();
        if peer.choking || nothing || self.now < peer.paused_until || self.stopped {
            return;
        }
        if peer.snubbed {
            return self.probe(conn);
        }
        let mut appetite = match peer.control {
            Some(_) => peer.credit(),
            None => peer.appetite(self.config.limits.depth_max),
        };
        let calm = peer.live == 0;
        let mut asked = false;
        while appetite > 0
            && let Some(block) = self.next_block(conn)
        {
            asked = true;
            appetite -= 1;
            self.request(conn, block, true);
        }
        if !asked {
            return;
        }
        // Not where nothing was asked: a link that stands still in mid-block would look alive for ever.
        if calm && let Some(peer) = self.peers.get_mut(&conn) {
            peer.progress = self.now;
            peer.since_calm = (self.now, 0);
            peer.depth.restart(self.now);
        }
        self.flush_haves(conn);
    }

    fn request(&mut self, conn: Conn, block: Block, live: bool) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.requests.push_back(Pending { block, sent: self.now, live, arriving: false });
        peer.live += u32::from(live);
        if live && peer.live == 1 {
            let owes = |c: &Conn| *c != conn && self.peers.get(c).is_some_and(|p| p.live > 0);
            self.owing.retain(owes);
            self.owing.push(conn);
        }
        self.send(conn, OwnedMessage::Request(BlockClaim::from(block)));
    }

    fn next_block(&mut self, conn: Conn) -> Option<Block> {
        let peer = self.peers.get_mut(&conn)?;
        for (piece, take) in &peer.claims {
            if let Some(block) = self.pieces.ask(*piece, conn, *take) {
                return Some(block);
            }
        }
        if peer.exhausted || peer.control.is_some() {
            return None;
        }
        loop {
            if self.is_on_trial(conn) {
                return None;
            }
            let Some((piece, take)) = self.choose(conn) else {
                self.peers.get_mut(&conn)?.exhausted = true;
                return None;
            };
            self.claim(conn, piece, take);
            if let Some(block) = self.pieces.ask(piece, conn, take) {
                return Some(block);
            }
        }
    }

    /// Nothing of it has been verified, and enough of it waits to be.
    fn is_on_trial(&self, conn: Conn) -> bool {
        let Some(peer) = self.peers.get(&conn).filter(|p| !p.proven) else { return false };
        let Some(who) = peer.who() else { return true };
        self.pieces.unverified(conn, who) >= UNPROVEN_PIECES
    }

    /// After each verdict: who was right is trusted from now on, and those who wait for theirs may be asked for more.
    fn judge(&mut self, right: &[Who]) {
        let mut waiting = Vec::new();
        for (conn, peer) in self.peers.iter_mut().filter(|(_, p)| p.control.is_none() && !p.proven) {
            peer.proven = peer.who().is_some_and(|who| right.contains(&who));
            waiting.push(*conn);
        }
        waiting.into_iter().for_each(|conn| self.pump(conn));
    }

    /// What to fetch from this link next.
    pub(super) fn choose(&mut self, conn: Conn) -> Option<(Piece, Take)> {
        let peer = self.peers.get(&conn)?;
        let who = peer.who()?;
        // A suspect goes first, since that proves it false; but only one that could be asked for the piece now: ours have to
        // offer it, and a liar need not.
        let able = |p: &Peer, piece| !p.choking && !p.snubbed && p.control.is_none() && p.have.has(piece);
        let may_solo = |piece, o: &OpenPiece| {
            let waits = |w: &Who| self.peers.values().any(|p| p.who().as_ref() == Some(w) && able(p, piece));
            o.let_go || o.suspects.contains(&who) || !o.suspects.iter().any(waits)
        };
        let spared = self.spared(peer);
        let fits = |p: Piece| peer.have.has(p) && !spared.has(&self.picker, p);
        self.picker.choose(&self.pieces, fits, conn, may_solo, &mut self.rng)
    }

    pub(super) fn claim(&mut self, conn: Conn, piece: Piece, take: Take) {
        self.pieces.own(piece, conn);
        if take == Take::First {
            self.uploads.begun(piece);
            if self.peers.get(&conn).is_some_and(|p| p.is_far) {
                self.tell_neighbours(piece);
            }
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.claims.push((piece, take));
        }
        // The last piece is asked for: from now on idle links may help others.
        self.look_again |= take == Take::First && self.pieces.wanted().is_empty();
    }

    /// The link does not fetch this piece any longer.
    pub(super) fn give_up_piece(&mut self, conn: Conn, piece: Piece) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.arriving().is_some_and(|block| block.piece == piece) {
            return;
        }
        peer.claims.retain(|(p, _)| *p != piece);
        let asked: Vec<Block> = peer.requests.iter().map(|r| r.block).filter(|b| b.piece == piece).collect();
        self.pieces.disown(piece, conn);
        asked.into_iter().for_each(|block| self.cancel(conn, block));
    }

    /// A piece that we wait for has appeared elsewhere: whoever has not begun to send it is asked for a rarer one.
    pub(super) fn rethink(&mut self, piece: Piece) {
        let Some(open) = self.pieces.get(piece).filter(|o| o.is_untouched() && !o.solo) else { return };
        for conn in open.owners.clone() {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            if peer.control.is_some() || !self.picker.is_better_left(&self.pieces, &peer.have, piece) {
                continue;
            }
            self.give_up_piece(conn, piece);
            self.look_again = true;
            self.pump(conn);
        }
    }

    /// A stalled peer is tried with one block that others may fetch too.
    fn probe(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get(&conn) else { return };
        if !peer.requests.is_empty() {
            return;
        }
        let wanted = self.pieces.wanted();
        let start = self.rng.below(u32::try_from(wanted.len()).unwrap_or(u32::MAX)) as usize;
        let fresh = wanted.iter().cycle().skip(start).take(wanted.len()).copied();
        let open = self.pieces.opened().map(|(p, _)| p);
        // One that is begun first: of pieces that are never finished none is verified, and who has proved nothing is asked for
        // few.
        let block = open.chain(fresh).filter(|p| peer.have.has(*p)).find_map(|p| self.pieces.probe(p));
        if let Some(block) = block {
            self.request(conn, block, false);
        }
    }

    /// A peer owes blocks and sends none: its pieces go to others, and it is tried with single blocks.
    pub(super) fn snub(&mut self, conn: Conn) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.snubbed = true;
        peer.depth.shrink(self.now);
        let blocks: Vec<Block> =
            peer.requests.iter().filter(|r| r.live && !r.arriving).map(|r| r.block).collect();
        for block in blocks {
            self.cancel(conn, block);
        }
        self.disclaim(conn);
    }

    /// Stands still in the middle of a block that others have. The link alone may write it: only closing frees it.
    pub(super) fn is_stuck(&self, conn: Conn) -> bool {
        let Some(peer) = self.peers.get(&conn) else { return false };
        let Some(block) = peer.arriving() else { return false };
        let elsewhere =
            |(c, p): (&Conn, &Peer)| *c != conn && !p.snubbed && !p.choking && p.have.has(block.piece);
        self.now.since(peer.progress) >= peer.patience() && self.peers.iter().any(elsewhere)
    }

    /// Not every client answers a cancelled request, as BEP 6 asks: such a one is forgotten after a while.
    pub(super) fn forget_cancelled(&mut self, conn: Conn) {
        let now = self.now;
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.requests.retain(|r| r.live || r.arriving || now.since(r.sent) < CANCELLED_KEPT);
        }
    }

    /// Owes an answer for too long.
    pub(super) fn is_stalled(&self, conn: Conn) -> bool {
        self.peers.get(&conn).is_some_and(|p| !p.snubbed && p.owes_for(self.now, p.patience()))
    }

    /// The driver has hashed a piece.
    pub(super) fn verified(&mut self, piece: Piece, ok: bool) {
        if !ok {
            return self.false_piece(piece);
        }
        let Some(done) = self.pieces.verified(piece) else { return };
        self.clear_suspects(&done.suspects, &done.sources);
        self.spread(piece);
        self.serve();
        self.judge(&done.sources);
        let useless: Vec<Conn> = self
            .peers
            .iter_mut()
            .filter(|(_, p)| p.have.has(piece))
            .filter_map(|(c, p)| {
                p.useful = p.useful.saturating_sub(1);
                (p.useful == 0).then_some(*c)
            })
            .collect();
        useless.into_iter().for_each(|conn| self.woo(conn));
        if self.pieces.is_complete() {
            self.push(Output::Complete);
            self.announce(Event::Completed);
            self.tell_complete();
        }
    }

    fn false_piece(&mut self, piece: Piece) {
        let Some((sources, owners)) = self.pieces.failed(piece) else { return };
        self.pieces_failed += 1;
        for conn in owners {
            if let Some(peer) = self.peers.get_mut(&conn) {
                peer.claims.retain(|(p, _)| *p != piece);
            }
        }
        if let [only] = sources.as_slice() {
            self.ban(*only);
        }
        self.wake_pickers();
        self.judge(&[]);
    }

    /// A suspected piece came out right from one link alone: that one is cleared. A single suspect that is left is
    /// proven false; several are held against each.
    fn clear_suspects(&mut self, suspects: &[Who], sources: &[Who]) {
        let left: Vec<Who> = suspects.iter().filter(|w| !sources.contains(w)).copied().collect();
        match left.as_slice() {
            [only] if sources.len() == 1 && suspects.len() > 1 => self.ban(*only),
            left => {
                for who in left {
                    if self.book.suspect(*who) >= MAX_SUSPICIONS {
                        self.ban(*who);
                    }
                }
            }
        }
    }
}
