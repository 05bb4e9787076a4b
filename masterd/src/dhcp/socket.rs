//! Datagrams with the interface that they came in by, so that a broadcast goes out the same way. It decides nothing
//! about their content.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};

/// A thousand nodes that send three messages of one page each, twice over.
const RECEIVE_BUFFER: usize = 16 << 20;
/// No client sends more in one datagram: an Ethernet frame, and room to see that it was longer.
pub(super) const MAX_DATAGRAM: usize = 2048;

#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
}

/// A datagram that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    pub(super) length: usize,
    pub(super) from: SocketAddrV4,
    pub(super) interface: i32,
}

impl Socket {
    /// `inherited`: the socket unit has set the receive buffer, which we could only lower.
    pub(super) fn new(socket: UdpSocket, inherited: bool) -> io::Result<Self> {
        socket.set_broadcast(true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        if !inherited && setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            // Without the capability the kernel gives what net.core.rmem_max allows.
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        Ok(Self { socket })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next datagram, or `None` if none waits.
    pub(super) fn receive(&self, buffer: &mut [u8; MAX_DATAGRAM]) -> io::Result<Option<Datagram>> {
        let mut control = nix::cmsg_space!(in_pktinfo);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            match recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                Ok(message) => message,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
                Err(e) => return Err(e.into()),
            };
        let mut interface = 0;
        for control in message.cmsgs()? {
            if let ControlMessageOwned::Ipv4PacketInfo(info) = control {
                interface = info.ipi_ifindex;
            }
        }
        let from = message
            .address
            .map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), |a| SocketAddrV4::new(a.ip(), a.port()));
        Ok(Some(Datagram { length: message.bytes, from, interface }))
    }

    /// Sends from the server's address; a broadcast leaves by `interface`, anything else by its route.
    pub(super) fn send(
        &self,
        packet: &[u8],
        to: SocketAddrV4,
        interface: i32,
        server: Ipv4Addr,
    ) -> io::Result<()> {
        let info = in_pktinfo {
            ipi_ifindex: if to.ip().is_broadcast() { interface } else { 0 },
            ipi_spec_dst: in_addr { s_addr: u32::from_ne_bytes(server.octets()) },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let parts = [IoSlice::new(packet)];
        sendmsg(self.socket.as_raw_fd(), &parts, &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
        Ok(())
    }
}
