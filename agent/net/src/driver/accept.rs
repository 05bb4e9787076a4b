//! Listening: connections accepted in bulk, and a rest when there are no descriptors left. Never reads from a connection.

use super::limits::{ACCEPT_REST, ACCEPT_TURN, BACKLOG};
use boottorrent_swarm::Time;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrIn, sockopt};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// A listener with the room's backlog.
///
/// # Errors
/// The address is in use, or not of this machine.
pub fn listen(at: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = tcp_socket()?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    socket::bind(fd, &SockaddrIn::from(at))?;
    socket::listen(&socket, socket::Backlog::new(BACKLOG).unwrap_or(socket::Backlog::MAXCONN))?;
    Ok(TcpListener::from(socket))
}

/// A non-blocking TCP socket.
pub(super) fn tcp_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket::socket(AddressFamily::Inet, SockType::Stream, flags, None)?)
}

/// The listeners of one driver.
pub(super) struct Listeners {
    all: Vec<TcpListener>,
    /// Accepting goes on at this time.
    pub(super) rests_until: Option<Time>,
}

/// What one turn of accepting brought.
#[derive(Default)]
pub(super) struct Accepted {
    pub(super) links: Vec<(TcpStream, SocketAddrV4)>,
    /// No descriptors left: the caller stops polling the listeners until then.
    pub(super) exhausted: bool,
}

impl Listeners {
    pub(super) fn new(all: Vec<TcpListener>) -> io::Result<Listeners> {
        all.iter().try_for_each(|l| l.set_nonblocking(true))?;
        Ok(Listeners { all, rests_until: None })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TcpListener> {
        self.all.iter()
    }

    /// The port that peers are told.
    pub(super) fn port(&self) -> Option<u16> {
        self.all.first().and_then(|l| l.local_addr().ok()).map(|a| a.port())
    }

    pub(super) fn accept(&mut self, index: usize, now: Time) -> Accepted {
        let mut accepted = Accepted::default();
        let Some(listener) = self.all.get(index) else { return accepted };
        while accepted.links.len() < ACCEPT_TURN {
            match listener.accept() {
                Ok((socket, SocketAddr::V4(peer))) => {
                    if socket.set_nonblocking(true).is_ok() {
                        accepted.links.push((socket, peer));
                    }
                }
                // An IPv6 listener was handed over; mapped addresses are not ours to speak to.
                Ok((_, SocketAddr::V6(_))) => {}
                Err(e) => {
                    let errno = e.raw_os_error().map(Errno::from_raw);
                    let none_left = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS];
                    accepted.exhausted = errno.is_some_and(|e| none_left.contains(&e));
                    // A connection that is already gone again (ECONNABORTED) is no reason to leave the others waiting.
                    if e.kind() == io::ErrorKind::ConnectionAborted {
                        continue;
                    }
                    break;
                }
            }
        }
        if accepted.exhausted {
            self.rests_until = Some(now + ACCEPT_REST);
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_connections_are_accepted_at_once() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        let mut listeners = Listeners::new(vec![listener]).unwrap();
        assert_eq!(listeners.port(), Some(at.port()));
        let peers: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(at).unwrap()).collect();
        let accepted = listeners.accept(0, Time(0));
        assert_eq!((accepted.links.len(), accepted.exhausted), (peers.len(), false));
        assert!(
            listeners.accept(0, Time(0)).links.is_empty() && listeners.accept(1, Time(0)).links.is_empty()
        );
    }
}
