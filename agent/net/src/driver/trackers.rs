//! The UDP socket that all torrents share for their announces. Decides nothing.

use super::limits::{TRACKER_DATAGRAM, TRACKER_TURN};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

/// The datagram socket of a driver.
pub(super) struct TrackerSocket(UdpSocket);

impl TrackerSocket {
    pub(super) fn new(source: Ipv4Addr) -> io::Result<TrackerSocket> {
        let socket = UdpSocket::bind((source, 0))?;
        socket.set_nonblocking(true)?;
        Ok(TrackerSocket(socket))
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.0
    }

    /// A full buffer or an unreachable net is a lost datagram: the client repeats it.
    pub(super) fn send(&self, to: SocketAddrV4, datagram: &[u8]) {
        let _ = self.0.send_to(datagram, to);
    }

    /// Hands every datagram that waits to `take`.
    pub(super) fn receive(&self, mut take: impl FnMut(SocketAddrV4, &[u8])) {
        let mut datagram = [0; TRACKER_DATAGRAM];
        for _ in 0..TRACKER_TURN {
            match self.0.recv_from(&mut datagram) {
                Ok((length, SocketAddr::V4(from))) => take(from, &datagram[..length]),
                Ok(_) => {}
                // An ICMP error of an earlier datagram: the client's own timer repeats it.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}
