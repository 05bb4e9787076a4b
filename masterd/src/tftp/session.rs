//! One client being served: its socket, its file and its transfer's state, bound together.
//! Performs what the transfer decides; never decides which request is served.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};

use boottorrent_swarm::Time;

use super::options::Granted;
use super::packet::{ErrorCode, Malformed, Reply, emit_error, emit_oack};
use super::sockets::{self, Window};
use super::source::Source;
use super::state::Finished;
use super::transfer::{Step, Transfer};

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    Done,
    /// The client said that it wants no more: firmware asks for a size in this way.
    Refused(String),
    Failed(String),
}

/// Something that is worth a counted warning but ends nothing.
#[derive(Debug)]
pub(super) enum Oddity {
    Malformed(SocketAddrV4, Malformed),
    Stranger(SocketAddrV4),
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: SocketAddrV4,
    pub(super) name: String,
    /// The request itself, to tell a repeat from another one.
    pub(super) request: Vec<u8>,
    pub(super) socket: UdpSocket,
    transfer: Transfer,
    source: Source,
    granted: Granted,
    segmented: bool,
    began: Time,
    bytes: u64,
}

impl Session {
    pub(super) fn new(
        now: Time,
        client: SocketAddrV4,
        name: String,
        request: &[u8],
        socket: UdpSocket,
        source: Source,
        granted: Granted,
    ) -> Self {
        let transfer = Transfer::new(now, &granted, source.last_block(granted.block_size));
        Self {
            client,
            name,
            request: request.to_vec(),
            socket,
            transfer,
            source,
            granted,
            segmented: true,
            began: now,
            bytes: 0,
        }
    }

    pub(super) fn due(&self) -> Time {
        self.transfer.due()
    }

    /// Nothing has been acknowledged yet.
    pub(super) fn fresh(&self) -> bool {
        self.transfer.acked() == 0
    }

    pub(super) fn start(&mut self, now: Time, buffer: &mut Vec<u8>) -> Option<End> {
        let step = self.transfer.start(now);
        self.perform(step, buffer)
    }

    pub(super) fn expired(&mut self, now: Time, buffer: &mut Vec<u8>) -> Option<End> {
        let step = self.transfer.expired(now);
        self.perform(step, buffer)
    }

    /// Takes one packet. Whoever has more waiting is reported again by the level-triggered set: a second look at the
    /// socket would nearly always find it empty, since a client waits for its answer.
    pub(super) fn readable(
        &mut self,
        now: Time,
        buffer: &mut Vec<u8>,
        mut odd: impl FnMut(Oddity),
    ) -> Option<End> {
        // Acknowledgements have 4 bytes, errors a short text; the rest is cut off.
        let mut packet = [0; 256];
        let (length, from) = match self.socket.recv_from(&mut packet) {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Ok(_) | Err(_) => return None,
        };
        if from != self.client {
            // RFC 1350 section 4: tell the stranger, and go on as if nothing had come.
            let text = emit_error(ErrorCode::UnknownTransfer, "this port serves another client");
            let _lost = self.socket.send_to(&text, from);
            odd(Oddity::Stranger(from));
            return None;
        }
        match Reply::parse(packet.get(..length).unwrap_or_default()) {
            Ok(Reply::Ack(block)) => {
                let step = self.transfer.acknowledged(now, block);
                self.perform(step, buffer)
            }
            Ok(Reply::Error { code, text }) => {
                Some(End::Refused(format!("error {code} {}", text.escape_ascii())))
            }
            Err(why) => {
                odd(Oddity::Malformed(from, why));
                None
            }
        }
    }

    fn perform(&mut self, step: Step, buffer: &mut Vec<u8>) -> Option<End> {
        match step {
            Step::Nothing => None,
            Step::Done => Some(End::Done),
            Step::GivenUp => Some(End::Failed("the client does not answer any more".into())),
            Step::Options => {
                let _lost = self.socket.send_to(&emit_oack(&self.granted.acknowledged), self.client);
                None
            }
            Step::Window { first, count } => self.send(first, count, buffer),
        }
    }

    fn send(&mut self, first: u64, count: u16, buffer: &mut Vec<u8>) -> Option<End> {
        let block_size = self.granted.block_size;
        buffer.clear();
        self.source.forget(self.transfer.acked());
        if let Err(e) = self.source.read(first, count, block_size, buffer) {
            return self.fail(format!("cannot read the file: {e}"));
        }
        let full = buffer.len() / usize::from(block_size);
        let mut count = count;
        if full < usize::from(count) {
            let last = first + full as u64;
            if self.source.last_block(block_size).is_some_and(|known| known != last) {
                return self.fail("the file became shorter while it was sent".into());
            }
            self.transfer.ends_with(last);
            count = full as u16 + 1;
        }
        let end = (first - 1) * u64::from(block_size) + buffer.len() as u64;
        self.bytes = self.bytes.max(end);
        let window = Window { first, count, block_size, data: buffer };
        match sockets::send(&self.socket, self.client, &window, &mut self.segmented) {
            Ok(()) => None,
            Err(e) => Some(End::Failed(format!("cannot send: {e}"))),
        }
    }

    fn fail(&self, why: String) -> Option<End> {
        let _lost = self.socket.send_to(&emit_error(ErrorCode::Undefined, &why), self.client);
        Some(End::Failed(why))
    }

    pub(super) fn finished(&self, now: Time, at: u64, failure: Option<String>) -> Finished {
        Finished {
            client: self.client.to_string(),
            file: self.name.clone(),
            bytes: self.bytes,
            seconds: now.since(self.began).as_secs_f64(),
            block_size: self.granted.block_size,
            window: self.granted.window,
            repeats: self.transfer.repeats(),
            at,
            failure,
        }
    }
}
