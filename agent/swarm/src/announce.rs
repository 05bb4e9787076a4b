//! The UDP tracker protocol (BEP 15) with compact peers (BEP 23), for both sides.
//! Decides the layout of datagrams; what a tracker answers is the tracker's, when to ask is the client's.

mod client;

pub use client::{AnnounceClient, Outcome, Step};

use crate::graph::Rack;
use crate::{InfoHash, PeerId};
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};

/// The number that makes a datagram a connect request.
const MAGIC: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Hashes of one scrape: as many as BEP 15 allows.
pub const MAX_SCRAPE: usize = 74;
/// Peers of one answer: 1,200 bytes of them and the header stay below any MTU.
pub const MAX_PEERS: usize = 200;

/// Racks that a tracker's answer can tell. It does so by an entry 0.x.y.z:0 before the peers: nobody has such an address,
/// and clients that do not know of racks leave out what has no port.
pub const RACKS: u32 = 1 << 24;

/// What has happened since the last announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Event {
    #[default]
    None,
    Completed,
    Started,
    Stopped,
}

/// What a peer tells the tracker about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announce {
    pub info_hash: InfoHash,
    pub peer_id: PeerId,
    /// Bytes, as are `left` and `uploaded`.
    pub downloaded: u64,
    pub left: u64,
    pub uploaded: u64,
    pub event: Event,
    /// `None`: the tracker takes the datagram's source.
    pub address: Option<Ipv4Addr>,
    /// Tells a peer whose address has changed from another one.
    pub key: u32,
    /// `None`: the tracker's choice.
    pub want: Option<u32>,
    pub port: u16,
}

/// What comes to a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Connect { transaction: u32 },
    Announce { connection: u64, transaction: u32, announce: Announce },
    Scrape { connection: u64, transaction: u32, hashes: Vec<InfoHash> },
}

/// One torrent of a scrape answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scraped {
    pub seeders: u32,
    pub completed: u32,
    pub leechers: u32,
}

/// What a tracker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    Connect {
        transaction: u32,
        connection: u64,
    },
    Announce {
        transaction: u32,
        interval_s: u32,
        leechers: u32,
        seeders: u32,
        peers: Vec<SocketAddrV4>,
        /// The rack of whoever has asked, if it has a number below [`RACKS`]; told to our own nodes only.
        rack: Option<Rack>,
    },
    Scrape {
        transaction: u32,
        torrents: Vec<Scraped>,
    },
    Error {
        transaction: u32,
        message: Vec<u8>,
    },
}

/// Reads big-endian numbers off the head of a datagram.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

impl Request {
    /// `None` for anything that is not a request; bytes behind it (BEP 41 options) are ignored.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Request> {
        let mut c = Cursor(datagram);
        let connection = c.u64()?;
        let action = c.u32()?;
        let transaction = c.u32()?;
        match action {
            CONNECT if connection == MAGIC => Some(Request::Connect { transaction }),
            ANNOUNCE => {
                Some(Request::Announce { connection, transaction, announce: Announce::parse(&mut c)? })
            }
            SCRAPE => {
                let (hashes, rest) = c.0.as_chunks::<20>();
                let fits = rest.is_empty() && (1..=MAX_SCRAPE).contains(&hashes.len());
                let hashes = hashes.iter().copied().map(InfoHash).collect();
                fits.then_some(Request::Scrape { connection, transaction, hashes })
            }
            _ => None,
        }
    }

    /// Appends the datagram.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Request::Connect { transaction } => head(out, MAGIC, CONNECT, *transaction),
            Request::Announce { connection, transaction, announce } => {
                head(out, *connection, ANNOUNCE, *transaction);
                announce.emit(out);
            }
            Request::Scrape { connection, transaction, hashes } => {
                head(out, *connection, SCRAPE, *transaction);
                hashes.iter().for_each(|h| out.extend_from_slice(&h.0));
            }
        }
    }
}

fn head(out: &mut Vec<u8>, connection: u64, action: u32, transaction: u32) {
    out.extend_from_slice(&connection.to_be_bytes());
    numbers(out, &[action, transaction]);
}

fn numbers(out: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|n| out.extend_from_slice(&n.to_be_bytes()));
}

impl Announce {
    fn parse(c: &mut Cursor<'_>) -> Option<Announce> {
        Some(Announce {
            info_hash: InfoHash(c.array()?),
            peer_id: PeerId(c.array()?),
            downloaded: c.u64()?,
            left: c.u64()?,
            uploaded: c.u64()?,
            event: match c.u32()? {
                1 => Event::Completed,
                2 => Event::Started,
                3 => Event::Stopped,
                _ => Event::None,
            },
            address: Some(Ipv4Addr::from_bits(c.u32()?)).filter(|a| !a.is_unspecified()),
            key: c.u32()?,
            want: Some(c.u32()?).filter(|n| i32::try_from(*n).is_ok()),
            port: c.u16()?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.info_hash.0);
        out.extend_from_slice(&self.peer_id.0);
        for n in [self.downloaded, self.left, self.uploaded] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        let event = match self.event {
            Event::None => 0,
            Event::Completed => 1,
            Event::Started => 2,
            Event::Stopped => 3,
        };
        let address = self.address.map_or(0, Ipv4Addr::to_bits);
        numbers(out, &[event, address, self.key, self.want.unwrap_or(u32::MAX)]);
        out.extend_from_slice(&self.port.to_be_bytes());
    }
}

impl Response {
    /// `None` for anything that is not a response.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<Response> {
        let mut c = Cursor(datagram);
        let action = c.u32()?;
        let transaction = c.u32()?;
        match action {
            CONNECT => Some(Response::Connect { transaction, connection: c.u64()? }),
            ANNOUNCE => {
                let interval_s = c.u32()?;
                let leechers = c.u32()?;
                let seeders = c.u32()?;
                let rack = parse_rack(c.0);
                let peers = parse_compact(c.0)?;
                Some(Response::Announce { transaction, interval_s, leechers, seeders, peers, rack })
            }
            SCRAPE => {
                let mut torrents = Vec::new();
                while !c.0.is_empty() && torrents.len() < MAX_SCRAPE {
                    torrents.push(Scraped { seeders: c.u32()?, completed: c.u32()?, leechers: c.u32()? });
                }
                Some(Response::Scrape { transaction, torrents })
            }
            ERROR => Some(Response::Error { transaction, message: c.0.to_vec() }),
            _ => None,
        }
    }

    /// Appends the datagram.
    pub fn emit(&self, out: &mut Vec<u8>) {
        match self {
            Response::Connect { transaction, connection } => {
                numbers(out, &[CONNECT, *transaction]);
                out.extend_from_slice(&connection.to_be_bytes());
            }
            Response::Announce { transaction, interval_s, leechers, seeders, peers, rack } => {
                numbers(out, &[ANNOUNCE, *transaction, *interval_s, *leechers, *seeders]);
                if let Some(Rack(number)) = rack {
                    emit_compact(&[SocketAddrV4::new(Ipv4Addr::from_bits(*number), 0)], out);
                }
                emit_compact(peers, out);
            }
            Response::Scrape { transaction, torrents } => {
                numbers(out, &[SCRAPE, *transaction]);
                torrents.iter().for_each(|t| numbers(out, &[t.seeders, t.completed, t.leechers]));
            }
            Response::Error { transaction, message } => {
                numbers(out, &[ERROR, *transaction]);
                out.extend_from_slice(message);
            }
        }
    }

    #[must_use]
    pub fn transaction(&self) -> u32 {
        match self {
            Response::Connect { transaction, .. }
            | Response::Announce { transaction, .. }
            | Response::Scrape { transaction, .. }
            | Response::Error { transaction, .. } => *transaction,
        }
    }
}

fn parse_rack(entries: &[u8]) -> Option<Rack> {
    let (&[a, b, c, d, 0, 0], _) = entries.split_first_chunk::<6>()? else { return None };
    Some(Rack(u32::from_be_bytes([a, b, c, d]))).filter(|rack| rack.0 < RACKS)
}

/// Six bytes a peer (BEP 23); port 0 is nobody and left out.
#[must_use]
pub fn parse_compact(bytes: &[u8]) -> Option<Vec<SocketAddrV4>> {
    let (peers, rest) = bytes.as_chunks::<6>();
    let address = |&[a, b, c, d, p, q]: &[u8; 6]| {
        SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([p, q]))
    };
    rest.is_empty().then(|| peers.iter().map(address).filter(|a| a.port() != 0).collect())
}

/// Appends six bytes a peer (BEP 23).
pub fn emit_compact(peers: &[SocketAddrV4], out: &mut Vec<u8>) {
    for peer in peers {
        out.extend_from_slice(&peer.ip().octets());
        out.extend_from_slice(&peer.port().to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
