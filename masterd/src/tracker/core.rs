//! The tracker itself: one datagram in, one datagram out (BEP 15); and announces that came by HTTP.
//! Asks for neither clock nor socket; keeps no state for a client before it has proved its address.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use boottorrent_swarm::announce::{Announce, MAX_PEERS, Request, Response, Scraped};
use boottorrent_swarm::graph::Rack;
use boottorrent_swarm::{InfoHash, PeerId, Rng, Time};

use super::config::TrackerConfig;
use super::connection::{self, Key};
use super::limits::{INTERVAL_SECONDS, INTERVAL_SHORT_SECONDS};
use super::racks::Racks;
use super::torrents::{Full, Torrents, peer_address};

/// Something to count and to tell people about. The datagram was answered with an error, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    Malformed,
    StaleConnection,
    UnknownTorrent(InfoHash),
    Full(Full),
}

/// Requests by kind, since the start.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Counters {
    pub(super) connects: u64,
    pub(super) announces: u64,
    pub(super) scrapes: u64,
    pub(super) expired: u64,
}

/// What an announce is answered with, however it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) interval_s: u32,
    pub(super) counts: Scraped,
    pub(super) peers: Vec<SocketAddrV4>,
    pub(super) rack: Option<Rack>,
}

#[derive(Debug)]
pub(super) struct Tracker {
    key: Key,
    lots: Rng,
    config: TrackerConfig,
    pub(super) racks: Racks,
    pub(super) torrents: Torrents,
    pub(super) counters: Counters,
}

impl Tracker {
    pub(super) fn new(key: Key, seed: u64) -> Self {
        Self {
            key,
            lots: Rng::new(seed),
            config: TrackerConfig::default(),
            racks: Racks::default(),
            torrents: Torrents::new(!seed),
            counters: Counters::default(),
        }
    }

    /// Takes over a configuration; info-hashes that cannot be read are returned.
    pub(super) fn configure(&mut self, config: TrackerConfig) -> Vec<String> {
        let unreadable = self.torrents.configure(&config);
        self.racks.configure(&config);
        self.config = config;
        unreadable
    }

    pub(super) fn interval_seconds(&self) -> u32 {
        self.config.interval_seconds.clamp(*INTERVAL_SECONDS.start(), *INTERVAL_SECONDS.end())
    }

    pub(super) fn seeds(&self) -> &[SocketAddrV4] {
        &self.config.seeds
    }

    /// Answers one datagram into `out`, which stays empty where nothing is answered.
    pub(super) fn handle(
        &mut self,
        now: Time,
        from: SocketAddrV4,
        datagram: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Oddity> {
        let request = Request::parse(datagram).ok_or(Oddity::Malformed)?;
        let (transaction, answer) = match request {
            Request::Connect { transaction } => {
                self.counters.connects += 1;
                let connection = connection::issue(&self.key, from, now);
                (transaction, Ok(Response::Connect { transaction, connection }))
            }
            Request::Announce { connection, transaction, announce } => {
                let answer = match self.proved(now, from, connection) {
                    Ok(()) => self.announce(now, *from.ip(), &announce),
                    Err(odd) => Err(odd),
                };
                (transaction, answer.map(|a| a.datagram(transaction)))
            }
            Request::Scrape { connection, transaction, hashes } => {
                let answer = self.proved(now, from, connection).map(|()| {
                    let torrents = hashes.iter().map(|hash| self.scrape(hash)).collect();
                    self.counters.scrapes += 1;
                    Response::Scrape { transaction, torrents }
                });
                (transaction, answer)
            }
        };
        match answer {
            Ok(response) => {
                response.emit(out);
                Ok(())
            }
            Err(odd) => {
                Response::Error { transaction, message: odd.message().as_bytes().to_vec() }.emit(out);
                Err(odd)
            }
        }
    }

    pub(super) fn expire(&mut self, now: Time) {
        let interval = self.interval_seconds();
        self.counters.expired += self.torrents.expire(now, interval) as u64;
    }

    fn proved(&self, now: Time, from: SocketAddrV4, connection: u64) -> Result<(), Oddity> {
        if connection::is_valid(&self.key, from, now, connection) {
            Ok(())
        } else {
            Err(Oddity::StaleConnection)
        }
    }

    /// Takes in what a client tells of itself from an address that it has proved to have.
    pub(super) fn announce(&mut self, now: Time, from: Ipv4Addr, told: &Announce) -> Result<Answer, Oddity> {
        self.counters.announces += 1;
        let peer = peer_address(from, told);
        let unknown = Oddity::UnknownTorrent(told.info_hash);
        if self.torrents.get(&told.info_hash).is_none() {
            return Err(unknown);
        }
        let want = told.want.map_or(MAX_PEERS, |n| n as usize).min(MAX_PEERS);
        let seeds = self.config.seeds.iter().filter(|seed| told.left > 0 && **seed != peer);
        let mut peers: Vec<_> = seeds.take(want).copied().collect();
        let rack = self.racks.of(from);
        self.torrents.announced(now, peer, rack, told, want - peers.len()).map_err(Oddity::Full)?;
        let longest = self.interval_seconds();
        let Some(torrent) = self.torrents.get(&told.info_hash) else { return Err(unknown) };
        let (mut near, mut far) = torrent.graph.near_and_far(peer);
        for row in [&mut near, &mut far] {
            row.retain(|other| !self.config.seeds.contains(other));
            // Where fewer are wanted than there are, not always the same ones.
            let turn = self.lots.below(u32::try_from(row.len()).unwrap_or(u32::MAX));
            row.rotate_left(turn as usize);
        }
        // Those of its own rack first; but the few elsewhere are what holds the racks together.
        let room = want - peers.len();
        far.truncate(room);
        near.truncate(room - far.len());
        peers.extend(near.into_iter().chain(far));
        // Newcomers dial those who are there, so nobody else has to come back early.
        let short = torrent.graph.is_short(peer);
        let interval_s = if short { longest.min(INTERVAL_SHORT_SECONDS) } else { longest };
        let counts = torrent.scraped(self.config.seeds.len());
        Ok(Answer {
            interval_s,
            counts,
            peers,
            rack: self.racks.told(rack).filter(|_| told.peer_id.is_ours()),
        })
    }

    /// An unknown torrent is scraped as an empty one: BEP 15 has no other way to say it beside known ones.
    pub(super) fn scrape(&mut self, hash: &InfoHash) -> Scraped {
        let seeds = self.config.seeds.len();
        self.torrents.get(hash).map(|t| t.scraped(seeds)).unwrap_or_default()
    }

    /// The torrents of these hashes that are known, or all for none (BEP 48).
    pub(super) fn scrape_all(&mut self, hashes: &[InfoHash]) -> BTreeMap<InfoHash, Scraped> {
        self.counters.scrapes += 1;
        let seeds = self.config.seeds.len();
        let wanted = self.torrents.iter().filter(|(hash, _)| hashes.is_empty() || hashes.contains(hash));
        wanted.map(|(hash, torrent)| (*hash, torrent.scraped(seeds))).collect()
    }

    /// The id under which a peer of this torrent has announced itself; the master's seed has not.
    pub(super) fn peer_id(&mut self, hash: &InfoHash, peer: SocketAddrV4) -> Option<PeerId> {
        self.torrents.get(hash)?.peers.get(&peer).map(|p| p.id)
    }
}

impl Answer {
    fn datagram(self, transaction: u32) -> Response {
        Response::Announce {
            transaction,
            interval_s: self.interval_s,
            leechers: self.counts.leechers,
            seeders: self.counts.seeders,
            peers: self.peers,
            rack: self.rack,
        }
    }
}

impl Oddity {
    /// What is counted under.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed packet",
            Self::StaleConnection => "announce with a connection id that is none of ours or too old",
            Self::UnknownTorrent(_) => "announce for a torrent that is not in the catalog",
            Self::Full(Full::Tracker) => "peer not taken in, the tracker is full",
            Self::Full(Full::Address) => "peer not taken in, its address has too many",
        }
    }

    /// Whose it was, for people.
    pub(super) fn detail(&self, from: SocketAddrV4) -> String {
        match self {
            Self::UnknownTorrent(hash) => format!("{hash} by {from}"),
            _ => from.to_string(),
        }
    }

    /// What the client is told.
    pub(super) fn message(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed request",
            Self::StaleConnection => "connection id expired: connect again",
            Self::UnknownTorrent(_) => "this tracker does not serve that torrent",
            Self::Full(_) => "too many peers",
        }
    }
}

#[cfg(test)]
mod tests;
