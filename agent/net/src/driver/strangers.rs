//! Links before they belong to a core: dials under way, and connections that have not said which torrent they want.
//! Decides by info-hash and deadline only.

use super::accept::tcp_socket;
use super::limits::{ACCEPT_REST, ADDRESS_SHARE, DIAL_TIMEOUT, GREET_TIMEOUT};
use super::link::{Link, Stage};
use super::{Driver, Event, LISTENER};
use crate::stream::Hangup;
use boottorrent_swarm::Time;
use boottorrent_swarm::fair::who_gives_way;
use boottorrent_swarm::swarm::{Conn, Input};
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{SockaddrIn, bind, connect};
use std::io;
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

impl Driver {
    /// A number that no link has.
    fn new_conn(&mut self) -> Conn {
        loop {
            self.next_conn = self.next_conn.wrapping_add(1);
            if !self.links.contains_key(&self.next_conn) {
                return self.next_conn;
            }
        }
    }

    fn enter(&mut self, mut link: Link, stays: Duration, now: Time, writable: bool) {
        let conn = link.conn;
        let deadline = now + stays;
        link.deadline = Some(deadline);
        self.deadlines.insert((deadline, conn));
        if let Some(seat) = link.torrent.and_then(|t| self.seats.get_mut(&t)) {
            seat.links += 1;
        }
        self.links.insert(conn, link);
        self.watch(conn, writable);
    }

    pub(super) fn dial(&mut self, torrent: u32, peer: SocketAddrV4, now: Time) {
        let begun = if self.has_room(peer, now) { self.begin_dial(peer) } else { Err(Errno::EMFILE.into()) };
        match begun {
            Ok(socket) => {
                let mut link = Link::new(self.new_conn(), socket, peer, Stage::Dialling);
                link.torrent = Some(torrent);
                self.enter(link, DIAL_TIMEOUT, now, true);
            }
            Err(_) => self.dial_failed(torrent, peer, now),
        }
    }

    fn begin_dial(&self, peer: SocketAddrV4) -> io::Result<TcpStream> {
        let socket = tcp_socket()?;
        if !self.source.is_unspecified() {
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(self.source, 0)))?;
        }
        match connect(socket.as_raw_fd(), &SockaddrIn::from(peer)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
            Err(e) => Err(e.into()),
        }
    }

    fn dial_failed(&mut self, torrent: u32, peer: SocketAddrV4, now: Time) {
        if let Some(seat) = self.seats.get_mut(&torrent) {
            seat.swarm.handle(now, Input::DialFailed { peer });
        }
    }

    /// connect(2) has ended, one way or the other.
    pub(super) fn dialled(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let (peer, Some(torrent)) = (link.peer, link.torrent) else { return };
        let refused = link.socket().take_error().map_or(true, |e| e.is_some());
        // A socket can be reported ready without being connected only when it is in error.
        if refused || link.socket().peer_addr().is_err() {
            self.hang_up(conn, Hangup::End, now);
        } else if let Some(seat) = self.seats.get_mut(&torrent) {
            if let Some(at) = link.deadline {
                self.deadlines.remove(&(at, conn));
            }
            link.join(torrent, &seat.landing.content);
            seat.swarm.handle(now, Input::Connected { conn, peer, outgoing: true });
            seat.swarm.handle(now, Input::Room { conn, bytes: link.room() });
            self.watch(conn, false);
        }
        self.perform(torrent, now);
    }

    pub(super) fn accept(&mut self, listener: usize, now: Time) {
        let accepted = self.listeners.accept(listener, now);
        for (socket, peer) in accepted.links {
            // Beyond the bound a stranger is dropped at once: it tries others sooner than from a full backlog.
            if !self.has_room(peer, now) {
                let detail = format!("{peer}: {} links are enough", self.max_links);
                self.tell(Event::Warning("link refused", detail));
            } else if self.takes_too_many(peer) {
                let detail = format!("{peer}: one address has {} links", self.max_links / ADDRESS_SHARE);
                self.tell(Event::Warning("link refused", detail));
            } else {
                let link = Link::new(self.new_conn(), socket, peer, Stage::Greeting);
                self.enter(link, GREET_TIMEOUT, now, false);
            }
        }
        if accepted.exhausted {
            self.tell(Event::Warning("no descriptors left", "connections wait; raise LimitNOFILE=".into()));
            for listener in self.listeners.iter() {
                let _ = self.epoll.delete(listener.as_fd());
            }
        }
    }

    /// Where all links are taken, whoever has most of them gives one up for one that has fewer.
    fn has_room(&mut self, peer: SocketAddrV4, now: Time) -> bool {
        if self.links.len() < self.max_links {
            return true;
        }
        let links = self.links.iter().filter(|(_, link)| link.stage != Stage::Dialling);
        let links = links.map(|(conn, link)| (*link.peer.ip(), *conn));
        let Some(conn) = who_gives_way(links, *peer.ip()) else { return false };
        let torrent = self.links.get(&conn).and_then(|link| link.torrent);
        self.hang_up(conn, Hangup::End, now);
        if let Some(torrent) = torrent {
            self.perform(torrent, now);
        }
        self.links.len() < self.max_links
    }

    /// Nobody is counted before so many links are there at all.
    fn takes_too_many(&self, peer: SocketAddrV4) -> bool {
        let share = self.max_links / ADDRESS_SHARE;
        self.links.len() >= share && self.links.values().filter(|l| l.peer.ip() == peer.ip()).count() >= share
    }

    /// Ends the rest that a lack of descriptors forced upon the listeners.
    pub(super) fn accept_again(&mut self, now: Time) {
        if self.listeners.rests_until.is_none_or(|at| at > now) {
            return;
        }
        self.listeners.rests_until = None;
        let mut trouble = None;
        for (n, listener) in (0..).zip(self.listeners.iter()) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER | n);
            match self.epoll.add(listener.as_fd(), event) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(e) => trouble = Some(e),
            }
        }
        if let Some(e) = trouble {
            self.listeners.rests_until = Some(now + ACCEPT_REST);
            self.tell(Event::Warning("listening rests", format!("cannot watch the listener: {e}")));
        }
    }

    /// A stranger has sent something.
    pub(super) fn greeted(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let handshake = match link.greet(&mut self.read_buffer) {
            Ok(Some(handshake)) => handshake,
            Ok(None) => return,
            // Foreign clients try an encrypted handshake first and come back with a plain one: nothing to warn of.
            Err(_) => return self.forget(conn),
        };
        let peer = link.peer;
        let Some(&torrent) = self.by_hash.get(&handshake.info_hash) else {
            self.forget(conn);
            let detail = format!("{peer}: {}", handshake.info_hash);
            return self.tell(Event::Warning("peer for an unknown torrent", detail));
        };
        let Some(seat) = self.seats.get_mut(&torrent) else { return };
        if let Some(at) = link.deadline {
            self.deadlines.remove(&(at, conn));
        }
        seat.links += 1;
        link.join(torrent, &seat.landing.content);
        seat.swarm.handle(now, Input::Connected { conn, peer, outgoing: false });
        seat.swarm.handle(now, Input::Handshake { conn, handshake });
        seat.swarm.handle(now, Input::Room { conn, bytes: link.room() });
        if let Err(hangup) = link.inbound.go_on(now, &mut seat.swarm, &mut seat.landing, &[]) {
            self.hang_up(conn, hangup, now);
        }
        self.perform(torrent, now);
    }

    /// A dial or a greeting took too long.
    pub(super) fn too_late(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get(&conn) else { return };
        let (torrent, stage) = (link.torrent, link.stage);
        if stage == Stage::Member {
            return;
        }
        self.hang_up(conn, Hangup::End, now);
        if let Some(torrent) = torrent {
            self.perform(torrent, now);
        }
    }
}
