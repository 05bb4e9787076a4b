//! Connections before they belong to the core, and after: listening, dials under way, greetings, and the end of sockets.
//! Decides by info-hash and deadline only.

use super::limits::{DIAL_TIMEOUT, GREET_TIMEOUT, LEAVE_TIMEOUT, LISTENERS};
use super::link::{Link, Stage};
use super::{Driver, Event, ports};
use crate::stream::Hangup;
use boottorrent_swarm::Time;
use boottorrent_swarm::swarm::{Conn, Input};
use smoltcp::iface::SocketHandle;
use smoltcp::phy;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpEndpoint};
use std::net::SocketAddrV4;
use std::time::Duration;

impl<D: phy::Device> Driver<D> {
    /// A number that no link has.
    fn new_conn(&mut self) -> Conn {
        loop {
            self.next_conn = self.next_conn.wrapping_add(1);
            if !self.links.contains_key(&self.next_conn) {
                return self.next_conn;
            }
        }
    }

    fn socket(&self) -> tcp::Socket<'static> {
        let buffer = || tcp::SocketBuffer::new(vec![0; self.options.socket_buffer]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(tcp::CongestionControl::Cubic);
        socket
    }

    /// Whoever has dialled a listener becomes a stranger, and new listeners take the places, as long as there is room.
    pub(super) fn listen(&mut self, now: Time) {
        let Some(port) = self.options.port else { return };
        for n in (0..self.listeners.len()).rev() {
            let socket = self.sockets.get::<tcp::Socket<'_>>(self.listeners[n]);
            if socket.is_listening() {
                continue;
            }
            let peer = socket.remote_endpoint().map(peer_of);
            let handle = self.listeners.swap_remove(n);
            match peer {
                Some(peer) => self.enter(handle, peer, Stage::Greeting, GREET_TIMEOUT, now),
                None => drop(self.sockets.remove(handle)),
            }
        }
        // Beyond the bound smoltcp answers a SYN with a reset, and who dialled tries others.
        while self.listeners.len() < LISTENERS
            && self.sockets() + self.listeners.len() < self.options.max_links
        {
            let mut socket = self.socket();
            if socket.listen(port).is_err() {
                return;
            }
            self.listeners.push(self.sockets.add(socket));
        }
    }

    fn enter(&mut self, handle: SocketHandle, peer: SocketAddrV4, stage: Stage, stays: Duration, now: Time) {
        let mut link = Link::new(self.new_conn(), handle, peer, stage);
        let deadline = now + stays;
        link.deadline = Some(deadline);
        self.deadlines.insert((deadline, link.conn));
        self.links.insert(link.conn, link);
    }

    pub(super) fn dial(&mut self, peer: SocketAddrV4, now: Time) {
        self.next_port = ports::FIRST + (self.next_port - ports::FIRST + 1) % ports::COUNT;
        let (from, to) = (self.next_port, IpEndpoint::new(IpAddress::Ipv4(*peer.ip()), peer.port()));
        let mut socket = self.socket();
        let room = self.sockets() < self.options.max_links;
        if room && socket.connect(self.interface.context(), to, from).is_ok() {
            let handle = self.sockets.add(socket);
            self.enter(handle, peer, Stage::Dialling, DIAL_TIMEOUT, now);
        } else {
            self.swarm.handle(now, Input::DialFailed { peer });
        }
    }

    /// A dial may have ended, one way or the other.
    pub(super) fn dialled(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let socket = self.sockets.get::<tcp::Socket<'_>>(link.handle);
        let peer = link.peer;
        match socket.state() {
            tcp::State::SynSent | tcp::State::SynReceived => {}
            tcp::State::Closed => self.hang_up(conn, Hangup::End, now),
            _ => {
                link.deadline.take().map(|at| self.deadlines.remove(&(at, conn)));
                link.join(&self.landing.content);
                self.swarm.handle(now, Input::Connected { conn, peer, outgoing: true });
                self.swarm.handle(now, Input::Room { conn, bytes: link.room() });
            }
        }
    }

    /// A stranger may have said which torrent it wants.
    pub(super) fn greeted(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(link.handle);
        if socket.state() == tcp::State::SynReceived {
            return;
        }
        let handshake = match link.greet(socket) {
            Ok(Some(handshake)) => handshake,
            Ok(None) => return,
            // Foreign clients try an encrypted handshake first and come back with a plain one: nothing to warn of.
            Err(_) => return self.forget(conn, now),
        };
        let peer = link.peer;
        if handshake.info_hash != self.info_hash || self.withdrawn {
            self.forget(conn, now);
            let detail = format!("{peer}: {}", handshake.info_hash);
            return self.tell(Event::Warning("peer for an unknown torrent", detail));
        }
        link.deadline.take().map(|at| self.deadlines.remove(&(at, conn)));
        link.join(&self.landing.content);
        self.swarm.handle(now, Input::Connected { conn, peer, outgoing: false });
        self.swarm.handle(now, Input::Handshake { conn, handshake });
        self.swarm.handle(now, Input::Room { conn, bytes: link.room() });
        if let Err(hangup) = link.inbound.go_on(now, &mut self.swarm, &mut self.landing, &[]) {
            self.hang_up(conn, hangup, now);
        }
    }

    /// A dial or a greeting took too long.
    pub(super) fn too_late(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.get(&conn) else { return };
        if link.stage != Stage::Member {
            self.hang_up(conn, Hangup::End, now);
        }
    }

    /// Closes the link's socket, which may still pass its last bytes on.
    pub(super) fn forget(&mut self, conn: Conn, now: Time) {
        let Some(link) = self.links.remove(&conn) else { return };
        if let Some(at) = link.deadline {
            self.deadlines.remove(&(at, conn));
        }
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(link.handle);
        socket.close();
        self.leaving.push_back((now + LEAVE_TIMEOUT, link.handle));
    }

    /// Resets the sockets that take too long to close: their peers go on sending, or do not answer.
    pub(super) fn reset_late(&mut self, now: Time) {
        while let Some(&(at, handle)) = self.leaving.front()
            && at <= now
        {
            self.leaving.pop_front();
            self.sockets.get_mut::<tcp::Socket<'_>>(handle).abort();
            self.leaving.push_back((now + LEAVE_TIMEOUT, handle));
        }
    }

    /// Removes the sockets that are closed, once what had to leave them is with the device.
    pub(super) fn forget_gone(&mut self) {
        let sockets = &mut self.sockets;
        self.leaving.retain(|(_, handle)| {
            let open = sockets.get::<tcp::Socket<'_>>(*handle).is_open();
            if !open {
                sockets.remove(*handle);
            }
            open
        });
    }
}

fn peer_of(endpoint: IpEndpoint) -> SocketAddrV4 {
    let IpAddress::Ipv4(address) = endpoint.addr;
    SocketAddrV4::new(address, endpoint.port)
}
