//! Real TCP in virtual time: the swarm over smoltcp, on a switch that carries Ethernet frames, delays them and loses some.
//! Decides when each frame arrives, if it does; never what a node sends. For a hundred nodes: each frame is carried.

mod switch;
mod shared;
mod room;
mod command;
mod table;

pub use command::{Asked, asked, told};
pub use table::table;

use boottorrent_net::smol;
use boottorrent_swarm::metainfo;
use room::Room;
use std::fmt;
use std::time::Duration;

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Nodes beside the master: 1 to [`MAX_NODES`].
    pub nodes: u32,
    /// Bytes of the image.
    pub total: u64,
    /// Bytes.
    pub piece_length: u32,
    /// Bits a second of each link, the master's too, in each direction.
    pub rate: u64,
    /// One way, over both cables.
    pub latency: Duration,
    /// Bytes that wait at one port of the switch; what comes beyond them is dropped.
    pub queue: u64,
    /// Frames lost on the way, of a million.
    pub lost_ppm: u32,
    /// Nodes start at random within this.
    pub spread: Duration,
    /// Bytes of each socket's buffers, in each direction.
    pub socket_buffer: usize,
    pub seed: u64,
    /// The run ends here at the latest.
    pub limit: Duration,
}

/// A node's address is one byte of 10.0.0.0/24.
pub const MAX_NODES: u32 = 250;

/// Payload of a full segment, and what it takes of the link: headers, check sum, preamble and gap.
const SEGMENT: f64 = 1460.0;
const ON_THE_WIRE: f64 = 1538.0;

impl Case {
    #[must_use]
    pub fn new(nodes: u32, total: u64, rate: u64, seed: u64) -> Case {
        Case {
            nodes,
            total,
            piece_length: 256 << 10,
            rate,
            latency: Duration::from_micros(100),
            // What cheap switches have for one port.
            queue: 512 << 10,
            lost_ppm: 0,
            spread: Duration::from_millis(100),
            socket_buffer: smol::SOCKET_BUFFER,
            seed,
            limit: Duration::from_secs(3600),
        }
    }

    /// No schedule of whole pieces over equal links is faster: P - 1 + ceil(log2(N + 1)) piece times (Mundinger, Weber and
    /// Weiss 2008), a piece's being what TCP makes of the link without a loss: 1,460 bytes of every 1,538.
    #[must_use]
    pub fn bound(&self) -> Duration {
        let pieces = self.total.div_ceil(u64::from(self.piece_length));
        let rounds = pieces - 1 + u64::from((self.nodes + 1).next_power_of_two().ilog2());
        let bits = rounds as f64 * f64::from(self.piece_length) * 8.0 * ON_THE_WIRE / SEGMENT;
        Duration::from_secs_f64(bits / self.rate as f64)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// From the first node's start to the last one's last verified piece; `None` where one is not complete.
    pub makespan: Option<Duration>,
    /// Nodes whose every byte was read back and hashed at the end.
    pub verified: u32,
    /// Bytes of blocks that the master sent.
    pub master_bytes: u64,
    /// Bytes of blocks that came twice, over all nodes.
    pub duplicates: u64,
    /// Bytes of TCP's payload that hosts sent, and those of them that they had sent before.
    pub payload: u64,
    pub retransmitted: u64,
    pub frames: u64,
    /// Frames that were lost by lot, and that found the switch's queue full.
    pub lost: u64,
    pub dropped: u64,
    /// SHA-256 over every frame with its moment and sender: two runs of one case have the same.
    pub digest: [u8; 32],
}

impl Outcome {
    /// Seconds until the last node was done.
    fn seconds(&self) -> f64 {
        self.makespan.map_or(f64::INFINITY, |m| m.as_secs_f64())
    }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Why a case can't be run.
#[derive(Debug)]
pub enum Error {
    /// None, or more than [`MAX_NODES`].
    Nodes(u32),
    Image(metainfo::Error),
    Host(smol::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Nodes(n) => write!(f, "{n} nodes: give 1 to {MAX_NODES}"),
            Error::Image(e) => write!(f, "such an image can't be: {e}"),
            Error::Host(e) => write!(f, "such a host can't be: {e}"),
        }
    }
}

impl std::error::Error for Error {}

/// Runs a case until every node is complete, or until its limit.
///
/// # Errors
/// A case that can't be.
pub fn run(case: &Case) -> Result<Outcome, Error> {
    if !(1..=MAX_NODES).contains(&case.nodes) {
        return Err(Error::Nodes(case.nodes));
    }
    Room::new(case)?.run()
}

#[cfg(test)]
mod tests;
