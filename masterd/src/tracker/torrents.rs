//! The catalog's torrents and their peers: who joined, who is complete, who was not heard of for too long.
//! Never grows beyond its limits, and never holds a torrent that the catalog does not name.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use boottorrent_swarm::announce::{Announce, Event, Scraped};
use boottorrent_swarm::graph::{Graph, Rack};
use boottorrent_swarm::{InfoHash, PeerId, Rng, Time};

use super::config::TrackerConfig;
use super::limits::{EXPIRY_SLACK, FOREIGN_EXPIRY, MISSED_ANNOUNCES, PEERS, PEERS_OF_ONE_ADDRESS};

/// One client of one torrent, under the address that its packets come from and the port that it names.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) left: u64,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) seen: Time,
}

#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) name: String,
    /// Peers that have told of their completion since this tracker started.
    pub(super) completed: u32,
    pub(super) peers: BTreeMap<SocketAddrV4, Peer>,
    /// Who is told of whom; the same peers.
    pub(super) graph: Graph,
}

/// Why a peer is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Tracker,
    Address,
}

#[derive(Debug)]
pub(super) struct Torrents {
    by_hash: BTreeMap<InfoHash, Torrent>,
    /// Seeds the torrents' graphs, so that a test repeats; no secret depends on it.
    lots: Rng,
    /// Peers of all torrents.
    peers: usize,
}

impl Torrent {
    fn new(seed: u64) -> Self {
        Self { name: String::new(), completed: 0, peers: BTreeMap::new(), graph: Graph::new(seed) }
    }

    fn forget(&mut self, address: SocketAddrV4) {
        self.peers.remove(&address);
        self.graph.left(address);
    }

    pub(super) fn scraped(&self, seeds: usize) -> Scraped {
        let complete = self.peers.values().filter(|p| p.left == 0).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Scraped {
            seeders: count(complete + seeds),
            completed: self.completed,
            leechers: count(self.peers.len() - complete),
        }
    }

    /// Takes the peer in, or what it tells anew; `room` is how many peers this torrent may have.
    fn announced(
        &mut self,
        now: Time,
        address: SocketAddrV4,
        told: &Announce,
        room: usize,
    ) -> Result<(), Full> {
        if told.event == Event::Stopped {
            self.forget(address);
            return Ok(());
        }
        if let Some(known) = self.peers.get_mut(&address) {
            if told.left == 0 && known.left != 0 {
                self.completed = self.completed.saturating_add(1);
            }
            known.update(now, told);
            return Ok(());
        }
        // Port 0 is no address that others could be told of.
        if address.port() == 0 {
            return Ok(());
        }
        let same_host = SocketAddrV4::new(*address.ip(), 0)..=SocketAddrV4::new(*address.ip(), u16::MAX);
        // A node that has started anew has another port and the same id: its old self is gone.
        let old = self.peers.range(same_host.clone()).find(|(_, p)| p.id == told.peer_id).map(|(a, _)| *a);
        if let Some(old) = old {
            self.forget(old);
        }
        if self.peers.range(same_host).count() >= PEERS_OF_ONE_ADDRESS {
            return Err(Full::Address);
        }
        if self.peers.len() >= room {
            return Err(Full::Tracker);
        }
        let mut peer = Peer { id: told.peer_id, left: 0, downloaded: 0, uploaded: 0, seen: now };
        peer.update(now, told);
        self.peers.insert(address, peer);
        Ok(())
    }
}

impl Torrents {
    pub(super) fn new(seed: u64) -> Self {
        Self { by_hash: BTreeMap::new(), lots: Rng::new(seed), peers: 0 }
    }

    /// Takes over a new configuration: peers of torrents that stay are kept. Hashes that cannot be read are returned.
    pub(super) fn configure(&mut self, config: &TrackerConfig) -> Vec<String> {
        let mut old = std::mem::take(&mut self.by_hash);
        let mut unreadable = Vec::new();
        for tracked in &config.torrents {
            let Ok(hash) = tracked.info_hash.parse::<InfoHash>() else {
                unreadable.push(tracked.info_hash.clone());
                continue;
            };
            let mut torrent = old.remove(&hash).unwrap_or_else(|| Torrent::new(self.lots.next_u64()));
            torrent.name.clone_from(&tracked.name);
            self.by_hash.insert(hash, torrent);
        }
        self.peers = self.by_hash.values().map(|t| t.peers.len()).sum();
        unreadable
    }

    pub(super) fn get(&mut self, hash: &InfoHash) -> Option<&mut Torrent> {
        self.by_hash.get_mut(hash)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&InfoHash, &Torrent)> {
        self.by_hash.iter()
    }

    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    /// Notes what a peer tells of itself and gives it its links, `want` new ones at most. A torrent that is not ours is
    /// passed over.
    pub(super) fn announced(
        &mut self,
        now: Time,
        peer: SocketAddrV4,
        rack: Rack,
        told: &Announce,
        want: usize,
    ) -> Result<(), Full> {
        let Some(torrent) = self.by_hash.get_mut(&told.info_hash) else { return Ok(()) };
        let others = self.peers - torrent.peers.len();
        let outcome = torrent.announced(now, peer, told, PEERS - others.min(PEERS));
        if torrent.peers.contains_key(&peer) {
            torrent.graph.announced(peer, rack, told.left == 0, want);
        }
        self.peers = others + torrent.peers.len();
        outcome
    }

    /// Forgets peers that were not heard of for too long; how many.
    pub(super) fn expire(&mut self, now: Time, interval_seconds: u32) -> usize {
        let node =
            Duration::from_secs(u64::from(interval_seconds) * u64::from(MISSED_ANNOUNCES)) + EXPIRY_SLACK;
        let foreign = node.max(FOREIGN_EXPIRY);
        for torrent in self.by_hash.values_mut() {
            let kept = |peer: &Peer| if peer.id.mac().is_some() { node } else { foreign };
            let gone = torrent.peers.iter().filter(|(_, peer)| now.since(peer.seen) > kept(peer));
            let gone: Vec<_> = gone.map(|(address, _)| *address).collect();
            gone.into_iter().for_each(|address| torrent.forget(address));
        }
        let before = self.peers;
        self.peers = self.by_hash.values().map(|t| t.peers.len()).sum();
        before - self.peers
    }
}

impl Peer {
    fn update(&mut self, now: Time, told: &Announce) {
        self.id = told.peer_id;
        self.left = told.left;
        self.downloaded = told.downloaded;
        self.uploaded = told.uploaded;
        self.seen = now;
    }
}

/// The address under which others reach the client: its packet's source, since what it says of itself cannot be
/// trusted, and the port that it listens on.
pub(super) fn peer_address(source: Ipv4Addr, told: &Announce) -> SocketAddrV4 {
    SocketAddrV4::new(source, told.port)
}
