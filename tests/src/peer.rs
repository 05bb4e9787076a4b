//! A foreign peer's side of BEP 3, for tests: one that only listens, one that lies. Lives in a host's network namespace.
//! It is a program of others: nothing of the product's wire code is used.

use crate::error::LabError;
use nix::sched::{CloneFlags, setns};
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

/// A node's port opens when its download begins; this is how long one try may take.
const DIAL: Duration = Duration::from_millis(300);
const SILENCE: Duration = Duration::from_secs(5);
/// The longest message that matters: a bitfield of a million pieces.
const MAX_MESSAGE: usize = 131_073;
const BLOCK: usize = 16_384;

const UNCHOKE: u8 = 1;
pub(crate) const HAVE: u8 = 4;
pub(crate) const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;

/// Runs `work` in a thread of its own inside a network namespace.
///
/// # Errors
/// `Io` when there is no such namespace.
pub(crate) fn inside(netns: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LabError> {
    let path = format!("/run/netns/{netns}");
    let namespace = std::fs::File::open(&path).map_err(LabError::io("open", path))?;
    std::thread::spawn(move || {
        // Of this thread only; it ends with the work.
        if setns(namespace, CloneFlags::CLONE_NEWNET).is_ok() {
            work();
        }
    });
    Ok(())
}

/// One link to a node.
pub(crate) struct Link {
    stream: TcpStream,
    body: Vec<u8>,
}

impl Link {
    /// Dials and shakes hands, with no extension bits: `bitfield`, `have` and `request` are all that will come.
    pub(crate) fn dial(node: SocketAddrV4, info_hash: [u8; 20], id: &[u8; 20]) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(node), DIAL)?;
        stream.set_read_timeout(Some(SILENCE))?;
        stream.write_all(&[&b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0"[..], &info_hash, id].concat())?;
        stream.read_exact(&mut [0; 68])?;
        Ok(Self { stream, body: Vec::new() })
    }

    /// The next message: its number and content; empty for a keep-alive.
    pub(crate) fn next(&mut self) -> std::io::Result<&[u8]> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(&self.body)
    }

    fn send(&mut self, id: u8, content: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(content.len() + 1).unwrap_or(u32::MAX).to_be_bytes();
        self.stream.write_all(&[&length[..], &[id], content].concat())
    }
}

/// Claims to have everything and answers every request of a node with zeros, again and again, until the test ends.
///
/// # Errors
/// `Io` when there is no such namespace.
pub fn lie(netns: &str, node: SocketAddrV4, info_hash: [u8; 20], pieces: usize) -> Result<(), LabError> {
    let path = format!("/run/netns/{netns}");
    inside(netns, move || {
        // The node may not be up yet, or have thrown it out: a liar does not give up. It ends with its namespace.
        while std::path::Path::new(&path).exists() {
            let _ = lie_once(node, info_hash, pieces);
        }
    })
}

fn lie_once(node: SocketAddrV4, info_hash: [u8; 20], pieces: usize) -> std::io::Result<()> {
    let mut link = Link::dial(node, info_hash, b"-LI0100-liarliarliar")?;
    link.send(BITFIELD, &everything(pieces))?;
    link.send(UNCHOKE, &[])?;
    loop {
        let answer = match link.next()? {
            // index, begin, length; the answer repeats the first two
            [REQUEST, place @ ..] if place.len() == 12 => [&place[..8], &[0; BLOCK]].concat(),
            _ => continue,
        };
        link.send(PIECE, &answer)?;
    }
}

/// A bitfield of ones; its spare bits are zeros.
fn everything(pieces: usize) -> Vec<u8> {
    let mut bits = vec![0xff; pieces.div_ceil(8)];
    if let Some(last) = bits.last_mut() {
        *last <<= (8 - pieces % 8) % 8;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spare_bits_are_zeros() {
        assert_eq!(everything(8), [0xff]);
        assert_eq!(everything(11), [0xff, 0b1110_0000]);
        assert!(everything(0).is_empty());
    }
}
