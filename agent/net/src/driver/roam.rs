//! Our own address has changed under us. Decides that every link goes: each is bound to the old one, and would only be
//! missed after minutes of silence.

use super::{Driver, TorrentId};
use crate::stream::Hangup;
use boottorrent_swarm::swarm::Conn;
use std::net::{Ipv4Addr, SocketAddrV4};

impl Driver {
    /// Dials, announces and looks around from this address from now on; peers with so many of its bits are near.
    pub fn moved(&mut self, torrent: TorrentId, to: Ipv4Addr, near_prefix: u8) {
        let now = self.clock.now();
        let own = self.listeners.port().map(|port| SocketAddrV4::new(to, port));
        if let Some(seat) = self.seats.get_mut(&torrent.0) {
            seat.swarm.moved(own, near_prefix);
        }
        let of_torrent = self.links.values().filter(|link| link.torrent == Some(torrent.0));
        let conns: Vec<Conn> = of_torrent.map(|link| link.conn).collect();
        for conn in conns {
            self.hang_up(conn, Hangup::End, now);
        }
        if self.seats.get(&torrent.0).is_some_and(|seat| seat.local) {
            // Closing the sockets takes the old ones out of epoll and group.
            self.local = None;
            self.find_locally(torrent, to);
        }
        self.perform(torrent.0, now);
    }
}
