//! What is not a link's traffic: verdicts of the hash thread, answers of trackers, timers, and torrents that leave.
//! Decides nothing about who gets what.

use super::{Driver, Event, Seat, TorrentId};
use crate::storage;
use crate::verify::Checked;
use boottorrent_swarm::Time;
use boottorrent_swarm::swarm::{Conn, Input};

impl Driver {
    pub(super) fn tracker_answers(&mut self, now: Time) {
        let seats = &mut self.seats;
        self.tracker_socket.receive(|from, bytes| {
            seats.values_mut().for_each(|s| s.trackers.datagram(now, from, bytes));
        });
        let all: Vec<u32> = self.seats.keys().copied().collect();
        all.into_iter().for_each(|id| self.perform(id, now));
    }

    pub(super) fn verdicts(&mut self, now: Time) {
        self.hasher.acknowledge();
        while let Some(checked) = self.hasher.next() {
            let torrent = checked.torrent;
            self.verdict(checked, now);
            self.perform(torrent, now);
        }
    }

    /// Tells the core; what follows from it is still to be performed.
    pub(super) fn verdict(&mut self, Checked { torrent, piece, result }: Checked, now: Time) {
        let Some(seat) = self.seats.get_mut(&torrent) else { return };
        match result {
            Ok(ok) => {
                seat.swarm.handle(now, Input::Verified { piece, ok });
                if !ok {
                    self.tell(Event::FalsePiece(TorrentId(torrent), piece.index()));
                }
            }
            Err(error) => self.withdraw(torrent, error, now),
        }
    }

    pub(super) fn timers(&mut self, now: Time) {
        let due = |s: &Seat| {
            let at = [s.swarm.wake_at(), s.trackers.wake_at()].into_iter().flatten().min();
            at.is_some_and(|at| at <= now)
        };
        let ready: Vec<u32> = self.seats.iter().filter(|(_, s)| due(s)).map(|(id, _)| *id).collect();
        for id in ready {
            if let Some(seat) = self.seats.get_mut(&id) {
                seat.swarm.handle(now, Input::Tick);
            }
            self.perform(id, now);
        }
        while let Some(&(at, conn)) = self.deadlines.first() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            self.too_late(conn, now);
        }
        self.accept_again(now);
        self.release(now);
        while let Some(conn) = self.fed.pop() {
            if let Some(link) = self.links.get_mut(&conn) {
                link.sent_in_turn = 0;
            }
        }
    }

    /// Lets links go on that waited for the bound on uploads, one after the other while it has something left.
    fn release(&mut self, now: Time) {
        // Who waits again does so behind the others, and has to wait for the next time.
        for _ in 0..self.held.len() {
            if self.bucket.as_mut().is_some_and(|bucket| bucket.allowance(now) == 0) {
                return;
            }
            let Some(conn) = self.held.pop_front() else { return };
            // A link that has gone meanwhile waits no more.
            let Some(link) = self.links.get_mut(&conn) else { continue };
            link.held = false;
            if let Some(torrent) = link.torrent {
                self.offer_room(conn, torrent, now);
                self.perform(torrent, now);
            }
        }
    }

    /// Gives up a torrent whose bytes are not what they were.
    pub(super) fn withdraw(&mut self, torrent: u32, error: storage::Error, now: Time) {
        if let Some(seat) = self.seats.get_mut(&torrent) {
            seat.swarm.handle(now, Input::Stop);
        }
        self.perform(torrent, now);
        let conns: Vec<Conn> =
            self.links.values().filter(|l| l.torrent == Some(torrent)).map(|l| l.conn).collect();
        conns.into_iter().for_each(|conn| self.forget(conn));
        if let Some(seat) = self.seats.remove(&torrent) {
            self.by_hash.remove(&seat.info_hash);
            self.tell(Event::Withdrawn(TorrentId(torrent), error));
        }
    }

    /// Removes a retired torrent that nobody uses any more.
    pub(super) fn let_go(&mut self, torrent: u32) {
        if self.seats.get(&torrent).is_some_and(|s| s.retiring && s.links == 0)
            && let Some(seat) = self.seats.remove(&torrent)
        {
            self.by_hash.remove(&seat.info_hash);
            self.tell(Event::Retired(TorrentId(torrent)));
        }
    }
}
