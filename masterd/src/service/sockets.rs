//! Sockets: those that the service manager hands over, and those that a daemon in the foreground opens itself.
//! It decides whether a socket is of the needed kind; it never closes one that another name asks for.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, getsockopt, listen, setsockopt,
    socket, sockopt,
};

use super::ServiceError;
use crate::sys;

/// A boot storm dials all at once; the kernel clamps this to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// A socket from the service manager and its `FileDescriptorName=`.
#[derive(Debug)]
pub(super) struct Inherited {
    name: String,
    fd: OwnedFd,
}

impl Inherited {
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name == name
    }
}

/// All sockets that were handed over. May be asked once in a process's life.
pub(super) fn inherited() -> Result<Vec<Inherited>, ServiceError> {
    let list = sd_notify::listen_fds_with_names().map_err(|source| ServiceError::System {
        what: "cannot take the sockets of the service manager",
        source,
    })?;
    Ok(list.map(|(fd, name)| Inherited { name, fd: sys::inherited_fd(fd) }).collect())
}

pub(super) fn take_datagram(list: &mut Vec<Inherited>, name: &str) -> Result<Vec<UdpSocket>, ServiceError> {
    take(list, name, SockType::Datagram)?
        .into_iter()
        .map(|fd| {
            let socket = UdpSocket::from(fd);
            socket.set_nonblocking(true).map_err(|e| unusable(name, &e))?;
            Ok(socket)
        })
        .collect()
}

pub(super) fn take_listener(list: &mut Vec<Inherited>, name: &str) -> Result<Vec<TcpListener>, ServiceError> {
    take(list, name, SockType::Stream)?
        .into_iter()
        .map(|fd| {
            let socket = TcpListener::from(fd);
            socket.set_nonblocking(true).map_err(|e| unusable(name, &e))?;
            Ok(socket)
        })
        .collect()
}

/// Takes the sockets of this name and kind; those of the other kind stay for who asks for them (a socket unit gives all
/// of its sockets one name).
fn take(list: &mut Vec<Inherited>, name: &str, kind: SockType) -> Result<Vec<OwnedFd>, ServiceError> {
    let mut ours = Vec::new();
    let mut wrong = None;
    for inherited in std::mem::take(list) {
        if !inherited.is_named(name) {
            list.push(inherited);
            continue;
        }
        let actual = getsockopt(&inherited.fd, sockopt::SockType).map_err(|e| unusable(name, &e.into()))?;
        if actual == kind {
            ours.push(inherited.fd);
        } else {
            wrong = Some(format!("is of type {actual:?}, not {kind:?}"));
            list.push(inherited);
        }
    }
    if ours.is_empty() && !list.is_empty() {
        let names: Vec<_> = list.iter().map(|i| i.name.as_str()).collect();
        let what = wrong.unwrap_or_else(|| format!("is missing (it gave {})", names.join(", ")));
        return Err(ServiceError::Inherited { name: name.to_owned(), what });
    }
    Ok(ours)
}

pub(super) fn open_datagram(at: SocketAddr, interface: Option<&str>) -> Result<UdpSocket, ServiceError> {
    // No SO_REUSEADDR: for UDP it would let two servers share a port, each getting some of the packets.
    open(at, SockType::Datagram, interface).map(UdpSocket::from)
}

pub(super) fn open_listener(at: SocketAddr, interface: Option<&str>) -> Result<TcpListener, ServiceError> {
    let fd = open(at, SockType::Stream, interface)?;
    let backlog = Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN);
    listen(&fd, backlog).map_err(|e| cannot_listen(at, "TCP", e.into()))?;
    Ok(TcpListener::from(fd))
}

fn open(at: SocketAddr, kind: SockType, interface: Option<&str>) -> Result<OwnedFd, ServiceError> {
    let word = if kind == SockType::Stream { "TCP" } else { "UDP" };
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fail = |e: nix::errno::Errno| cannot_listen(at, word, e.into());
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None).map_err(fail)?;
    if kind == SockType::Stream {
        setsockopt(&fd, sockopt::ReuseAddr, &true).map_err(fail)?;
    }
    if let Some(name) = interface {
        setsockopt(&fd, sockopt::BindToDevice, &name.into())
            .map_err(|e| ServiceError::Interface { name: name.to_owned(), source: e.into() })?;
    }
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd.as_fd()), &SockaddrStorage::from(at)).map_err(fail)?;
    Ok(fd)
}

fn cannot_listen(address: SocketAddr, kind: &'static str, source: io::Error) -> ServiceError {
    ServiceError::Listen { address, kind, source }
}

fn unusable(name: &str, error: &io::Error) -> ServiceError {
    ServiceError::Inherited { name: name.to_owned(), what: format!("is not usable ({error})") }
}
