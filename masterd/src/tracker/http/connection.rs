//! One connection: a request in, an answer out, and its end.
//! Never waits, and never holds more than one request's bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpStream};
use std::os::fd::AsFd;

use boottorrent_swarm::Time;
use nix::poll::{PollFd, PollFlags};

use crate::service::Warnings;
use crate::tracker::core::Tracker;
use crate::tracker::limits::{HTTP_EXCHANGE, HTTP_REQUEST_BYTES};

/// How a connection stands after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Waits,
    Ended,
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    from: SocketAddrV4,
    deadline: Time,
    input: Vec<u8>,
    /// Empty until the request is complete.
    output: Vec<u8>,
    sent: usize,
}

impl Connection {
    /// The stream must be non-blocking.
    pub(super) fn new(stream: TcpStream, from: SocketAddrV4, now: Time) -> Self {
        Self { stream, from, deadline: now + HTTP_EXCHANGE, input: Vec::new(), output: Vec::new(), sent: 0 }
    }

    pub(super) fn from(&self) -> SocketAddrV4 {
        self.from
    }

    pub(super) fn deadline(&self) -> Time {
        self.deadline
    }

    pub(super) fn poll_fd(&self) -> PollFd<'_> {
        let flags = if self.output.is_empty() { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        PollFd::new(self.stream.as_fd(), flags)
    }

    /// Reads, answers and writes as far as the socket lets it.
    pub(super) fn turn(&mut self, now: Time, tracker: &mut Tracker, warnings: &mut Warnings) -> Turn {
        if self.output.is_empty() {
            match self.read() {
                Ok(true) => {}
                Ok(false) => return Turn::Waits,
                // It has gone without a request, or half of one: nobody is there to be answered.
                Err(_) => return Turn::Ended,
            }
            let exchanged = super::exchange(now, *self.from.ip(), &self.input, tracker);
            let Some((output, odd)) = exchanged else { return Turn::Waits };
            self.output = output;
            if let Some((kind, odd)) = odd {
                warnings.warn(now, kind, odd.map_or(self.from.to_string(), |odd| odd.detail(self.from)));
            }
        }
        self.write()
    }

    /// Whether anything came; an error is the end of the connection.
    fn read(&mut self) -> io::Result<bool> {
        let before = self.input.len();
        let mut buffer = [0; 2048];
        while self.input.len() < HTTP_REQUEST_BYTES {
            let room = buffer.len().min(HTTP_REQUEST_BYTES - self.input.len());
            match self.stream.read(buffer.get_mut(..room).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.input.extend_from_slice(buffer.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(self.input.len() > before)
    }

    fn write(&mut self) -> Turn {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Turn::Waits,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Turn::Ended,
            }
        }
        // What a refused client has sent beyond its request makes the kernel reset the connection; it has had its answer.
        let _ = self.stream.shutdown(Shutdown::Write);
        Turn::Ended
    }
}
