//! The server's parsers and one transfer's state for the fuzz targets (tests/fuzz). Opens nothing; no program uses it.

use std::path::PathBuf;

use boottorrent_swarm::Time;

use super::options::{Granted, negotiate};
use super::packet::{Reply, Request, emit_oack};
use super::transfer::{Step, Transfer};
use super::{limits, name};

/// What goes to the client next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    Nothing,
    Options(Vec<u8>),
    /// Blocks, counted from 1.
    Window {
        first: u64,
        count: u16,
    },
    Done,
    GivenUp,
}

/// A transfer of a file that is not there.
#[derive(Debug)]
pub struct Probe {
    pub path: PathBuf,
    pub block_size: u16,
    pub window: u16,
    /// The number of the file's last block.
    pub last: u64,
    granted: Granted,
    transfer: Transfer,
}

impl Probe {
    /// `None` where the packet is refused.
    #[must_use]
    pub fn open(now: Time, packet: &[u8], size: u64) -> Option<Probe> {
        let Ok(Request::Read(read)) = Request::parse(packet.get(..limits::REQUEST_BYTES.min(packet.len()))?)
        else {
            return None;
        };
        let path = name::path(read.name).ok()?;
        let granted = negotiate(&read, size, limits::BLOCK_MAX).ok()?;
        let last = size / u64::from(granted.block_size) + 1;
        let transfer = Transfer::new(now, &granted, Some(last));
        let (block_size, window) = (granted.block_size, granted.window);
        Some(Probe { path, block_size, window, last, granted, transfer })
    }

    pub fn start(&mut self, now: Time) -> Sent {
        let step = self.transfer.start(now);
        self.sent(step)
    }

    /// `None` where the client ended the transfer.
    pub fn packet(&mut self, now: Time, packet: &[u8]) -> Option<Sent> {
        match Reply::parse(packet) {
            Ok(Reply::Ack(block)) => {
                let step = self.transfer.acknowledged(now, block);
                Some(self.sent(step))
            }
            Ok(Reply::Error { .. }) => None,
            Err(_) => Some(Sent::Nothing),
        }
    }

    #[must_use]
    pub fn due(&self) -> Time {
        self.transfer.due()
    }

    #[must_use]
    pub fn acked(&self) -> u64 {
        self.transfer.acked()
    }

    pub fn expired(&mut self, now: Time) -> Sent {
        let step = self.transfer.expired(now);
        self.sent(step)
    }

    fn sent(&self, step: Step) -> Sent {
        match step {
            Step::Nothing => Sent::Nothing,
            Step::Options => Sent::Options(emit_oack(&self.granted.acknowledged)),
            Step::Window { first, count } => Sent::Window { first, count },
            Step::Done => Sent::Done,
            Step::GivenUp => Sent::GivenUp,
        }
    }
}
