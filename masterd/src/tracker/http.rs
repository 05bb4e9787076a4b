//! Announces and scrapes over HTTP (BEP 3, 23, 48), since not every client speaks UDP ones as it comes.
//! One request and one answer a connection; decides whose connection ends, never what the tracker says.

mod connection;
mod request;
mod answer;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use boottorrent_swarm::Time;
use nix::poll::PollFd;

use super::core::{Oddity, Tracker};
use super::limits::{HTTP_CONNECTIONS, HTTP_CONNECTIONS_OF_ONE_ADDRESS, HTTP_REQUEST_BYTES};
use crate::service::Warnings;
use connection::{Connection, Turn};
use request::{Refusal, Request};

/// Accepted in one turn, so that a flood of them does not keep datagrams waiting.
const ACCEPT_TURN: usize = 64;

/// What an exchange was odd for: its kind and detail.
type Odd = (&'static str, Option<Oddity>);

/// The answer to what a client has sent so far; `None` where the request goes on.
pub(super) fn exchange(
    now: Time,
    from: Ipv4Addr,
    input: &[u8],
    tracker: &mut Tracker,
) -> Option<(Vec<u8>, Option<Odd>)> {
    let request = match Request::parse(input) {
        Ok(None) if input.len() < HTTP_REQUEST_BYTES => return None,
        Ok(None) => Err(Refusal::TooLong),
        Ok(Some(request)) => Ok(request),
        Err(refusal) => Err(refusal),
    };
    Some(match request {
        Ok(request) => {
            let (output, odd) = answer::answer(now, from, &request, tracker);
            (output, odd.map(|odd| (odd.kind(), Some(odd))))
        }
        Err(refusal) => (answer::refusal(&refusal), Some((refusal.kind(), None))),
    })
}

/// The listeners and their connections, by age.
#[derive(Debug)]
pub(super) struct Http {
    listeners: Vec<TcpListener>,
    connections: BTreeMap<u64, Connection>,
    next: u64,
}

impl Http {
    /// The listeners must be non-blocking.
    pub(super) fn new(listeners: Vec<TcpListener>) -> Self {
        Self { listeners, connections: BTreeMap::new(), next: 0 }
    }

    /// What to wait for.
    pub(super) fn fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let listeners = self.listeners.iter().map(|l| PollFd::new(l.as_fd(), nix::poll::PollFlags::POLLIN));
        listeners.chain(self.connections.values().map(Connection::poll_fd))
    }

    /// When a connection has lived for too long.
    pub(super) fn due(&self) -> Option<Time> {
        self.connections.values().next().map(Connection::deadline)
    }

    /// Goes on with everything that can go on.
    pub(super) fn turn(&mut self, now: Time, tracker: &mut Tracker, warnings: &mut Warnings) {
        self.accept(now, warnings);
        self.connections.retain(|_, connection| match connection.turn(now, tracker, warnings) {
            Turn::Waits if connection.deadline() > now => true,
            Turn::Waits => {
                warnings.warn(now, "HTTP request that is not finished in time", connection.from());
                false
            }
            Turn::Ended => false,
        });
    }

    fn accept(&mut self, now: Time, warnings: &mut Warnings) {
        for listener in &self.listeners {
            for _ in 0..ACCEPT_TURN {
                let (stream, from) = match listener.accept() {
                    Ok((stream, SocketAddr::V4(from))) => (stream, from),
                    Ok((_, SocketAddr::V6(from))) => {
                        warnings.warn(now, "request over IPv6, which is not served", from);
                        continue;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => {
                        warnings.warn(now, "cannot accept", e);
                        break;
                    }
                };
                if stream.set_nonblocking(true).is_err() {
                    continue;
                }
                let held = self.connections.values().filter(|c| c.from().ip() == from.ip()).count();
                if held >= HTTP_CONNECTIONS_OF_ONE_ADDRESS {
                    warnings.warn(now, "HTTP connection refused, its address has too many", from);
                    continue;
                }
                if self.connections.len() >= HTTP_CONNECTIONS
                    && let Some((_, oldest)) = self.connections.pop_first()
                {
                    warnings.warn(now, "HTTP connection that gave way to a newer one", oldest.from());
                }
                self.connections.insert(self.next, Connection::new(stream, from, now));
                self.next += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests;
