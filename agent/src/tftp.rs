//! TFTP client: small files from the master (RFC 1350 with RFC 2347, 2348, 2349 and 7440).
//!
//! Decides when to ask again. Never trusts the server with memory or time: each file has a limit and a deadline.

mod transfer;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use crate::clock;
use transfer::{Answer, Transfer};

/// The well-known port (RFC 1350, 4).
const PORT: u16 = 69;
/// First wait for an answer, and the longest: a socket-activated server needs a moment for its first one.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(2);
/// The largest UDP payload of an Ethernet frame: block size plus header stay below it.
const MAX_DATAGRAM: usize = 1472;
/// Datagrams that are taken before the clock is looked at again: somebody who floods us must not stop it.
const MAX_BURST: usize = 64;

/// Why a file did not come.
#[derive(Debug)]
pub(crate) enum Error {
    /// The server has no such file (error code 1).
    NotFound,
    /// Any other ERROR packet.
    Refused {
        code: u16,
        message: String,
    },
    /// Larger than what the caller can use.
    TooLarge {
        limit: usize,
    },
    /// Nobody answered, or the answers stopped.
    Silent {
        bytes: usize,
    },
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => write!(f, "the master has no such file"),
            Self::Refused { code, message } => write!(f, "the master refused it: {message} (code {code})"),
            Self::TooLarge { limit } => write!(f, "it is larger than the {limit} bytes that it may have"),
            Self::Silent { bytes: 0 } => write!(f, "no answer"),
            Self::Silent { bytes } => write!(f, "no more answers after {bytes} bytes"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a file of the master into memory. `waiting` hears of bytes so far and seconds left, about twice a second.
pub(crate) fn fetch(
    master: Ipv4Addr,
    name: &str,
    limit: usize,
    deadline: Duration,
    waiting: &mut dyn FnMut(usize, u64),
) -> Result<Vec<u8>, Error> {
    let server = SocketAddrV4::new(master, PORT);
    match attempt(server, Transfer::new(name, limit, true), deadline, waiting) {
        // RFC 2347: code 8 refuses the options, not the file. A server that is that strict serves without them.
        Err(Error::Refused { code: 8, .. }) => {
            attempt(server, Transfer::new(name, limit, false), deadline, waiting)
        }
        other => other,
    }
}

fn attempt(
    mut server: SocketAddrV4,
    mut transfer: Transfer,
    deadline: Duration,
    waiting: &mut dyn FnMut(usize, u64),
) -> Result<Vec<u8>, Error> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_nonblocking(true)?;
    let well_known = server;
    let mut wait = RETRY_FIRST;
    send(&socket, transfer.last_packet(), server)?;
    let mut retry_at = clock::now() + wait;
    let mut datagram = [0; MAX_DATAGRAM + 1];
    loop {
        let now = clock::now();
        if now >= deadline {
            // The server need not wait for us: an ERROR ends its side (RFC 1350, 7).
            send(&socket, &transfer::error_packet(0, "gave up"), server)?;
            return Err(Error::Silent { bytes: transfer.bytes() });
        }
        if now >= retry_at {
            send(&socket, transfer.last_packet(), server)?;
            wait = (wait * 2).min(RETRY_MOST);
            retry_at = now + wait;
        }
        waiting(transfer.bytes(), deadline.saturating_sub(now).as_secs());
        clock::wait_readable(&[socket.as_fd()], retry_at.min(deadline));
        for _ in 0..MAX_BURST {
            let Some((length, from)) = receive(&socket, &mut datagram)? else { break };
            if from.ip() != server.ip() {
                continue;
            }
            if server != well_known && from != server {
                // RFC 1350, 4: a packet of another transfer is told so and disturbs nothing.
                send(&socket, &transfer::error_packet(5, "unknown transfer"), from)?;
                continue;
            }
            let taken = transfer.take(datagram.get(..length).unwrap_or_default());
            if let Some(refusal) = transfer.refusal() {
                // The server need not go on sending what is not taken.
                send(&socket, refusal, from)?;
            }
            match taken? {
                Answer::Ignore => continue,
                Answer::Wait => {}
                Answer::Send => send(&socket, transfer.last_packet(), from)?,
                Answer::Finished => {
                    send(&socket, transfer.last_packet(), from)?;
                    return Ok(transfer.into_content());
                }
            }
            server = from;
            wait = RETRY_FIRST;
            retry_at = clock::now() + wait;
        }
    }
}

/// A full send queue or an unreachable master is what the retry is for.
fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddrV4) -> Result<(), Error> {
    match socket.send_to(packet, to) {
        Ok(_) => Ok(()),
        Err(error) if is_passing(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> Result<Option<(usize, SocketAddrV4)>, Error> {
    match socket.recv_from(datagram) {
        Ok((length, SocketAddr::V4(from))) => Ok(Some((length, from))),
        Ok(_) => Ok(None),
        Err(error) if is_passing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    ) || error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}

#[cfg(test)]
mod tests;
