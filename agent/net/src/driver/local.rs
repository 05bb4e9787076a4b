//! Peers on the local network without a tracker: multicast datagrams, out and in (BEP 14). Decides which interfaces take
//! part; when to send is the core's.

use super::limits::{LOCAL_DATAGRAM, LOCAL_TURN, MAX_INTERFACES};
use super::{Driver, Event, LOCAL, TorrentId, system};
use boottorrent_swarm::local::{GROUP, LocalAnnounce};
use boottorrent_swarm::swarm::Input;
use boottorrent_swarm::{InfoHash, Time};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

/// One socket that hears the group, and one an interface that speaks to it.
pub(super) struct LocalSockets {
    hears: UdpSocket,
    speak: Vec<UdpSocket>,
    /// Tells our own datagrams from others'.
    cookie: u32,
}

impl LocalSockets {
    /// `from`: the address of the interface to use; unspecified: all that can multicast.
    fn open(from: Ipv4Addr, cookie: u32) -> io::Result<LocalSockets> {
        let hears = listen()?;
        let mut speak = Vec::new();
        let addresses = if from.is_unspecified() { addresses()? } else { vec![from] };
        let mut trouble = None;
        for address in addresses {
            match speaker(&hears, address) {
                Ok(socket) => speak.push(socket),
                // One interface less.
                Err(e) => trouble = Some(e),
            }
        }
        match trouble.filter(|_| speak.is_empty()) {
            None => Ok(LocalSockets { hears, speak, cookie }),
            Some(e) => Err(e),
        }
    }

    fn send(&self, info_hash: InfoHash, port: u16) {
        let announce = LocalAnnounce { port, hashes: vec![info_hash], cookie: Some(self.cookie) };
        let mut datagram = Vec::new();
        announce.emit(&mut datagram);
        for socket in &self.speak {
            // An interface that is down loses a datagram, as the network may.
            let _ = socket.send_to(&datagram, GROUP);
        }
    }
}

/// Hears and speaks by the interface that has this address.
fn speaker(hears: &UdpSocket, address: Ipv4Addr) -> io::Result<UdpSocket> {
    match hears.join_multicast_v4(GROUP.ip(), &address) {
        // By another address of this interface.
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
        joined => joined?,
    }
    // Linux sends multicast by the interface that has the source's address; its TTL is 1.
    let socket = UdpSocket::bind((address, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Bound to the group, so that what is sent to one host never gets here; other clients of this host may do the same.
fn listen() -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket::socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    socket::bind(fd.as_raw_fd(), &SockaddrIn::from(GROUP))?;
    Ok(UdpSocket::from(fd))
}

fn addresses() -> io::Result<Vec<Ipv4Addr>> {
    let fit = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_MULTICAST;
    let all =
        getifaddrs()?.filter(|i| i.flags.contains(fit) && !i.flags.contains(InterfaceFlags::IFF_LOOPBACK));
    let addresses = all.filter_map(|i| i.address?.as_sockaddr_in().map(SockaddrIn::ip));
    Ok(addresses.take(MAX_INTERFACES).collect())
}

impl Driver {
    /// Looks for peers of this torrent on the network of `from` (unspecified: on all networks), too, while no tracker
    /// answers, and answers those who do. Must not be asked for private torrents (BEP 27). On loopback, or without a
    /// listener, there is nobody to be found, and nothing happens.
    pub fn find_locally(&mut self, torrent: TorrentId, from: Ipv4Addr) {
        if from.is_loopback() || self.listeners.port().is_none() {
            return;
        }
        if self.local.is_none() {
            match self.open_local(from) {
                Ok(sockets) => self.local = Some(sockets),
                Err(e) => return self.tell(Event::Warning("no local announces", e.to_string())),
            }
        }
        let now = self.clock.now();
        if let Some(seat) = self.seats.get_mut(&torrent.0) {
            seat.local = true;
            seat.swarm.find_locally();
            seat.swarm.handle(now, Input::Tick);
        }
        self.perform(torrent.0, now);
    }

    fn open_local(&self, from: Ipv4Addr) -> Result<LocalSockets, super::Error> {
        let sockets =
            LocalSockets::open(from, self.key).map_err(system("join the group of local announces"))?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LOCAL);
        self.epoll.add(sockets.hears.as_fd(), event).map_err(system("watch a descriptor"))?;
        Ok(sockets)
    }

    pub(super) fn announce_locally(&self, torrent: u32) {
        if let (Some(local), Some(seat)) = (&self.local, self.seats.get(&torrent))
            && let Some(port) = self.listeners.port()
        {
            local.send(seat.info_hash, port);
        }
    }

    /// Somebody has sent to the group.
    pub(super) fn local_announces(&mut self, now: Time) {
        let mut datagram = [0; LOCAL_DATAGRAM];
        for _ in 0..LOCAL_TURN {
            let Some(local) = &self.local else { return };
            let own = local.cookie;
            let (length, from) = match local.hears.recv_from(&mut datagram) {
                Ok((length, SocketAddr::V4(from))) => (length, from),
                Ok(_) => continue,
                Err(_) => return,
            };
            match LocalAnnounce::parse(&datagram[..length]) {
                Some(announce) if announce.cookie == Some(own) => {}
                Some(announce) => self.heard(now, *from.ip(), &announce),
                None => self.tell(Event::Warning("malformed local announce", from.to_string())),
            }
        }
    }

    fn heard(&mut self, now: Time, from: Ipv4Addr, announce: &LocalAnnounce) {
        let peer = SocketAddrV4::new(from, announce.port);
        for hash in &announce.hashes {
            let Some(&torrent) = self.by_hash.get(hash) else { continue };
            if let Some(seat) = self.seats.get_mut(&torrent).filter(|seat| seat.local) {
                seat.swarm.handle(now, Input::Local { peer });
                self.perform(torrent, now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_addresses_of_one_card_both_speak() {
        let hears = listen().unwrap();
        for last in [1, 2] {
            let speaks = speaker(&hears, Ipv4Addr::new(127, 0, 0, last)).unwrap();
            assert!(speaks.local_addr().unwrap().to_string().starts_with(&format!("127.0.0.{last}:")));
        }
    }
}
