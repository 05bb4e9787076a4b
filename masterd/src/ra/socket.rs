//! The raw ICMPv6 socket on one interface.
//! Decides nothing; says what an interface lacks.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, recvmsg,
    setsockopt, socket, sockopt,
};

use super::packet::{ADVERTISEMENT, SOLICITATION};
use crate::sys;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// Any port will do to ask the kernel for a source address; 9 is discard's, and nothing is sent.
const DISCARD: u16 = 9;

/// What is in the way of answering on an interface. Each may pass by itself.
#[derive(Debug)]
pub(super) enum Obstacle {
    NoInterface,
    /// IPv6 is off, the link is down, or its address is still being checked for duplicates.
    NoAddress,
    /// Not root, and CAP_NET_RAW is missing: this does not pass.
    NotPermitted,
    System(io::Error),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface => f.write_str("it does not exist"),
            Self::NoAddress => {
                f.write_str("it has no IPv6 link-local address (the link is down, or IPv6 is off)")
            }
            Self::NotPermitted => f.write_str(
                "raw sockets need CAP_NET_RAW: start it by systemd (boottorrent-ra.service) or as root",
            ),
            Self::System(e) => e.fmt(f),
        }
    }
}

impl From<Errno> for Obstacle {
    fn from(e: Errno) -> Self {
        match e {
            Errno::ENODEV | Errno::ENXIO => Self::NoInterface,
            Errno::EADDRNOTAVAIL | Errno::ENETUNREACH | Errno::ENETDOWN => Self::NoAddress,
            Errno::EPERM | Errno::EACCES => Self::NotPermitted,
            e => Self::System(e.into()),
        }
    }
}

impl From<io::Error> for Obstacle {
    fn from(e: io::Error) -> Self {
        match e.raw_os_error() {
            Some(errno) => Errno::from_raw(errno).into(),
            None => Self::System(e),
        }
    }
}

/// A packet of a neighbour.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) from: Ipv6Addr,
    pub(super) hop_limit: Option<u8>,
    pub(super) length: usize,
}

#[derive(Debug)]
pub(super) struct RaSocket {
    /// std's type for what it does with any datagram socket: groups, addresses with a scope.
    socket: UdpSocket,
    interface: String,
    index: u32,
}

impl RaSocket {
    pub(super) fn open(interface: &str) -> Result<Self, Obstacle> {
        let index = if_nametoindex(interface)?;
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
        sys::pass_icmp6(fd.as_fd(), &[SOLICITATION, ADVERTISEMENT])?;
        setsockopt(&fd, sockopt::BindToDevice, &interface.into())?;
        setsockopt(&fd, sockopt::Ipv6RecvHopLimit, &true)?;
        // Neighbours refuse what has crossed a router (RFC 4861 section 6.1.2).
        setsockopt(&fd, sockopt::Ipv6Ttl, &255)?;
        setsockopt(&fd, sockopt::Ipv6MulticastHops, &255)?;
        let socket = UdpSocket::from(fd);
        socket.set_multicast_loop_v6(false)?;
        socket.join_multicast_v6(&ALL_ROUTERS, index)?;
        let socket = Self { socket, interface: interface.to_owned(), index };
        socket.source()?;
        Ok(socket)
    }

    /// The link-local address that answers will come from. It is asked of the routing table and not of netlink, so that
    /// the sandbox can do without either netlink or /proc.
    fn source(&self) -> Result<Ipv6Addr, Obstacle> {
        let probe = UdpSocket::bind(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0))?;
        probe.connect(SocketAddrV6::new(ALL_NODES, DISCARD, 0, self.index))?;
        match probe.local_addr()?.ip() {
            std::net::IpAddr::V6(address) if address.is_unicast_link_local() => Ok(address),
            _ => Err(Obstacle::NoAddress),
        }
    }

    /// Whether this is still the interface of that name, with an address.
    pub(super) fn check(&self) -> Result<(), Obstacle> {
        if if_nametoindex(self.interface.as_str())? != self.index {
            return Err(Obstacle::NoInterface);
        }
        self.source().map(drop)
    }

    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<Option<Arrival>, Obstacle> {
        let mut control = nix::cmsg_space!(i32);
        let mut into = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut into,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        );
        let message = match received {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let Some(from) = message.address else { return Ok(None) };
        let mut arrival = Arrival { from: from.ip(), hop_limit: None, length: message.bytes };
        for part in message.cmsgs()? {
            if let ControlMessageOwned::Ipv6HopLimit(limit) = part {
                arrival.hop_limit = u8::try_from(limit).ok();
            }
        }
        Ok(Some(arrival))
    }

    /// To one neighbour, or to all nodes of the link.
    pub(super) fn send(&self, to: Option<Ipv6Addr>, packet: &[u8]) -> Result<(), Obstacle> {
        let to = SocketAddrV6::new(to.unwrap_or(ALL_NODES), 0, 0, self.index);
        self.socket.send_to(packet, to)?;
        Ok(())
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
