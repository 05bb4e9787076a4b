//! Performs what the cores ask for, and tells them what became of it. Decides nothing but how long one link's turn is.

use super::link::{Link, Stage};
use super::{Driver, Event, TorrentId};
use crate::stream::Hangup;
use boottorrent_swarm::Time;
use boottorrent_swarm::announce::Announce;
use boottorrent_swarm::swarm::{CloseReason, Conn, Input, Output};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::sync::Arc;

impl Driver {
    /// Performs outputs until there are none.
    pub(super) fn perform(&mut self, torrent: u32, now: Time) {
        loop {
            let Some(seat) = self.seats.get_mut(&torrent) else { return };
            let socket = &self.tracker_socket;
            seat.trackers.run(now, &mut seat.swarm, |to, datagram| socket.send(to, datagram));
            let mut idle = true;
            while let Some(output) = self.seats.get_mut(&torrent).and_then(|s| s.swarm.poll()) {
                idle = false;
                self.output(torrent, output, now);
            }
            while let Some(conn) = self.dirty.pop() {
                idle = false;
                self.flush(conn, now);
            }
            if idle {
                return;
            }
        }
    }

    fn output(&mut self, torrent: u32, output: Output, now: Time) {
        match output {
            Output::Dial { peer } => self.dial(torrent, peer, now),
            Output::Handshake { conn, handshake } => {
                self.queue(conn, |link| link.push(|out| out.extend_from_slice(&handshake.emit())));
            }
            Output::Send { conn, message } => self.queue(conn, |link| link.push(|out| message.emit(out))),
            Output::SendBlock { conn, block } => {
                let Some(content) = self.seats.get(&torrent).map(|s| Arc::clone(&s.landing.content)) else {
                    return;
                };
                self.queue(conn, |link| link.push_block(block, &content));
            }
            Output::Close { conn, reason } => self.close(conn, reason),
            Output::Verify { piece } => {
                if let Some(seat) = self.seats.get_mut(&torrent)
                    && let Some(checked) = self.hasher.check(torrent, &mut seat.landing, piece, now)
                {
                    self.verdict(checked, now);
                }
            }
            Output::Announce { event, left, uploaded, downloaded } => {
                let Some(seat) = self.seats.get_mut(&torrent) else { return };
                let announce = Announce {
                    info_hash: seat.info_hash,
                    peer_id: self.peer_id,
                    downloaded,
                    left,
                    uploaded,
                    event,
                    address: None,
                    key: self.key,
                    want: None,
                    port: self.listeners.port().unwrap_or(0),
                };
                seat.trackers.announce(now, announce);
                if seat.trackers.is_empty() {
                    seat.swarm.handle(now, Input::AnnounceFailed);
                }
            }
            Output::AnnounceLocal => self.announce_locally(torrent),
            Output::Complete => self.tell(Event::Complete(TorrentId(torrent))),
        }
    }

    fn queue(&mut self, conn: Conn, push: impl FnOnce(&mut Link)) {
        // A link that has gone meanwhile: its end is told to the core already.
        let Some(link) = self.links.get_mut(&conn) else { return };
        push(link);
        self.mark(conn);
    }

    /// The link has something to send.
    pub(super) fn mark(&mut self, conn: Conn) {
        if let Some(link) = self.links.get_mut(&conn)
            && !link.dirty
        {
            link.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Writes what waits, and asks the core for more where there is room.
    fn flush(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.dirty = false;
        // What is bounded are blocks: a handshake or a request that waited for them would end the link.
        let ahead = link.ahead();
        if link.held && ahead == 0 {
            return;
        }
        let Some(torrent) = link.torrent else { return };
        let Some(seat) = self.seats.get_mut(&torrent) else { return };
        let fresh = link.sent_in_turn == 0;
        let most = match &mut self.bucket {
            Some(_) if link.held => ahead,
            Some(bucket) => bucket.allowance(now).max(ahead),
            None => u64::MAX,
        };
        match link.flush(now, &seat.landing.content, &mut self.send_buffer, most) {
            Ok(written) => {
                if let Some(bucket) = &mut self.bucket {
                    bucket.spend(written as u64);
                }
                if link.has_output() && written as u64 >= most {
                    if !std::mem::replace(&mut link.held, true) {
                        self.held.push_back(conn);
                    }
                    self.watch(conn, false);
                    if fresh && written > 0 {
                        self.fed.push(conn);
                    }
                    return;
                }
                if fresh && written > 0 {
                    self.fed.push(conn);
                }
                let blocked = link.has_output() || link.sated();
                let room = link.room();
                // A link that has had its turn asks again in the next one, when the others have had theirs.
                if written > 0 && !link.sated() {
                    seat.swarm.handle(now, Input::Room { conn, bytes: room });
                }
                self.watch(conn, blocked);
            }
            Err(hangup) => self.hang_up(conn, hangup, now),
        }
    }

    /// Tells epoll what the link waits for.
    pub(super) fn watch(&mut self, conn: Conn, writable: bool) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let mut wanted = EpollFlags::EPOLLIN;
        wanted.set(EpollFlags::EPOLLOUT, writable);
        if link.interest != wanted {
            let mut event = EpollEvent::new(wanted, super::LINK | u64::from(conn));
            let done = if link.interest.is_empty() {
                self.epoll.add(link.socket(), event)
            } else {
                self.epoll.modify(link.socket(), &mut event)
            };
            // Out of memory: the link would hang, so it goes.
            match done {
                Ok(()) => link.interest = wanted,
                Err(_) => {
                    let now = self.clock.now();
                    self.hang_up(conn, Hangup::End, now);
                }
            }
        }
    }

    /// Something is to be read, or there is room to write.
    pub(super) fn link_ready(&mut self, conn: Conn, flags: EpollFlags, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        match link.stage {
            Stage::Dialling => self.dialled(conn, now),
            Stage::Greeting => self.greeted(conn, now),
            Stage::Member => {
                let Some(torrent) = link.torrent else { return };
                if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                    let Some(seat) = self.seats.get_mut(&torrent) else { return };
                    let buffer = &mut self.read_buffer;
                    if let Err(hangup) = link.receive(now, &mut seat.swarm, &mut seat.landing, buffer) {
                        self.hang_up(conn, hangup, now);
                    }
                }
                if flags.contains(EpollFlags::EPOLLOUT) {
                    self.offer_room(conn, torrent, now);
                }
                self.perform(torrent, now);
            }
        }
    }

    /// The socket takes bytes again: ours first, then the core is asked for more.
    pub(super) fn offer_room(&mut self, conn: Conn, torrent: u32, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        if link.held {
            self.watch(conn, false);
        } else if link.has_output() {
            self.mark(conn);
        } else if let Some(seat) = self.seats.get_mut(&torrent) {
            seat.swarm.handle(now, Input::Room { conn, bytes: link.room() });
            self.watch(conn, false);
        }
    }

    /// The link is over by the peer's doing or the system's: the core is told, people only where it is odd.
    pub(super) fn hang_up(&mut self, conn: Conn, hangup: Hangup, now: Time) {
        let Some(link) = self.links.get(&conn) else { return };
        let (peer, torrent, dialled) = (link.peer, link.torrent, link.stage == Stage::Dialling);
        // The core's word, with its reason, is waiting to be performed.
        if matches!(hangup, Hangup::Refused) {
            return;
        }
        if let Hangup::Wire(error) = &hangup {
            self.tell(Event::Warning("malformed peer message", format!("{peer}: {error}")));
        }
        self.forget(conn);
        let Some(torrent) = torrent else { return };
        if let Some(seat) = self.seats.get_mut(&torrent) {
            let gone = if dialled { Input::DialFailed { peer } } else { Input::Closed { conn } };
            seat.swarm.handle(now, gone);
        }
        if let Hangup::Store(error) = hangup {
            self.withdraw(torrent, error, now);
        }
        self.let_go(torrent);
    }

    fn close(&mut self, conn: Conn, reason: CloseReason) {
        let Some(link) = self.links.get(&conn) else { return };
        let (peer, torrent) = (link.peer, link.torrent);
        if matches!(reason, CloseReason::Protocol(_) | CloseReason::FalsePiece | CloseReason::Backlog) {
            self.tell(Event::Warning("peer refused", format!("{peer}: {reason}")));
        }
        self.forget(conn);
        if let Some(torrent) = torrent {
            self.let_go(torrent);
        }
    }

    /// Closes the socket; epoll forgets it by itself.
    pub(super) fn forget(&mut self, conn: Conn) {
        let Some(link) = self.links.remove(&conn) else { return };
        if let Some(at) = link.deadline {
            self.deadlines.remove(&(at, conn));
        }
        if let Some(seat) = link.torrent.and_then(|t| self.seats.get_mut(&t)) {
            seat.links = seat.links.saturating_sub(1);
        }
    }
}
