//! The reading half of a link for the fuzz targets (tests/fuzz): a peer's bytes in, what was stored and said out. Opens
//! nothing; no program uses it.

use crate::storage::{Error, Store};
use crate::stream::Inbound;
use crate::verify::{Content, Landing, Verifier};
use boottorrent_swarm::metainfo::Geometry;
use boottorrent_swarm::swarm::{Config, Conn, Have, Input, Output, Swarm};
use boottorrent_swarm::wire::{BlockClaim, Handshake, Message, OwnedMessage};
use boottorrent_swarm::{InfoHash, PeerId, Time};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

const HASH: InfoHash = InfoHash([7; 20]);
const CONN: Conn = 1;
const NOW: Time = Time(1_000_000);

/// A torrent's bytes in memory, as two owners see them.
#[derive(Clone)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn range<T>(&self, at: u64, length: u64, act: impl FnOnce(&mut [u8]) -> T) -> Result<T, Error> {
        let mut bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(at).map_err(|_| Error::Outside)?;
        let end = usize::try_from(at + length).map_err(|_| Error::Outside)?;
        bytes.get_mut(start..end).map(act).ok_or(Error::Outside)
    }
}

impl Store for Memory {
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.range(at, bytes.len() as u64, |place| place.copy_from_slice(bytes))
    }

    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.range(at, length, |bytes| sink(bytes))
    }
}

/// A node that lacks everything, and the one link it has: the peer has everything and was asked for some of it.
pub struct Probe {
    swarm: Swarm,
    landing: Landing,
    inbound: Inbound,
    memory: Memory,
    said: Vec<Output>,
    /// The link has ended.
    over: bool,
}

impl Probe {
    /// `image`: what should come.
    #[must_use]
    pub fn new(geometry: Geometry, image: &[u8]) -> Probe {
        let mut swarm = Swarm::new(NOW, Config::new(HASH, PeerId([1; 20]), geometry, Have::None, 1));
        let peer = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 6881);
        swarm.handle(NOW, Input::Connected { conn: CONN, peer, outgoing: false });
        let handshake = Handshake::new(HASH, PeerId([2; 20]));
        let mut inbound = Inbound::new(CONN);
        // From here on the stream is one of messages; whole, it cannot be refused.
        let _ = inbound.greet(&handshake.emit());
        swarm.handle(NOW, Input::Handshake { conn: CONN, handshake });
        for message in [Message::HaveAll, Message::Unchoke] {
            swarm.handle(NOW, Input::Message { conn: CONN, message });
        }
        let memory = Memory(Arc::new(Mutex::new(vec![0; image.len()])));
        let digests = geometry.all().map(|piece| {
            let from = usize::try_from(geometry.piece_offset(piece)).unwrap_or(usize::MAX);
            let bytes = image.get(from..).unwrap_or_default();
            let length = bytes.len().min(geometry.piece_size(piece) as usize);
            <sha2::Sha256 as sha2::Digest>::digest(&bytes[..length]).into()
        });
        let verifier = Verifier::Sha256(digests.collect());
        let content = Arc::new(Content { geometry, store: Box::new(memory.clone()), verifier });
        inbound.set_geometry(&geometry);
        let mut probe = Probe {
            swarm,
            landing: Landing::new(content, true),
            inbound,
            memory,
            said: Vec::new(),
            over: false,
        };
        probe.said.extend(std::iter::from_fn(|| probe.swarm.poll()));
        probe
    }

    /// What the peer was asked for before its first byte came.
    #[must_use]
    pub fn asked(&self) -> Vec<BlockClaim> {
        let request = |output: &Output| match output {
            Output::Send { message: OwnedMessage::Request(claim), .. } => Some(*claim),
            _ => None,
        };
        self.said.iter().filter_map(request).collect()
    }

    /// The next bytes of the peer behind its handshake, as one read gives them.
    pub fn take(&mut self, bytes: &[u8]) {
        if self.over {
            return;
        }
        self.over = self.inbound.go_on(NOW, &mut self.swarm, &mut self.landing, bytes).is_err();
    }

    /// What the node has said to all of it, what it has stored, and whether the link has ended.
    ///
    /// # Panics
    /// When the digest that was carried on is not that of the stored bytes.
    #[must_use]
    pub fn end(mut self) -> (Vec<Output>, Vec<u8>, bool) {
        self.said.extend(std::iter::from_fn(|| self.swarm.poll()));
        let content = Arc::clone(&self.landing.content);
        for piece in content.geometry.all() {
            let carried = self.landing.take(piece).check(&content).ok();
            assert_eq!(carried, content.check(piece).ok(), "piece {}", piece.index());
        }
        let bytes = self.memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.said, bytes, self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::metainfo::BLOCK;

    /// A target whose link were refused at once would find nothing, for ever.
    #[test]
    fn what_was_asked_for_is_stored() {
        let image = vec![7; 3 * BLOCK as usize];
        let geometry = Geometry::new(BLOCK, image.len() as u64).unwrap();
        let mut probe = Probe::new(geometry, &image);
        let mut bytes = Vec::new();
        let asked = probe.asked();
        assert_eq!(asked.len(), 3);
        for claim in asked {
            bytes.extend((9 + claim.length).to_be_bytes());
            bytes.push(7);
            bytes.extend(claim.index.to_be_bytes());
            bytes.extend(claim.offset.to_be_bytes());
            bytes.resize(bytes.len() + claim.length as usize, 7);
        }
        probe.take(&bytes);
        let (said, stored, over) = probe.end();
        assert!(!over, "{said:?}");
        assert_eq!(stored, image);
    }
}
