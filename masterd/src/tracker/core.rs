//! The tracker itself: one datagram in, one datagram out (BEP 15).
//! Asks for neither clock nor socket; keeps no state for a client before it has proved its address.

use std::net::SocketAddrV4;

use boottorrent_swarm::announce::{Announce, MAX_PEERS, Request, Response};
use boottorrent_swarm::{InfoHash, Time};

use super::config::TrackerConfig;
use super::connection::{self, Key};
use super::limits::{INTERVAL_SECONDS, PEERS_DEFAULT};
use super::selection::{self, Lots};
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

#[derive(Debug)]
pub(super) struct Tracker {
    key: Key,
    lots: Lots,
    config: TrackerConfig,
    pub(super) torrents: Torrents,
    pub(super) counters: Counters,
}

impl Tracker {
    pub(super) fn new(key: Key, seed: u64) -> Self {
        Self {
            key,
            lots: Lots::new(seed),
            config: TrackerConfig::default(),
            torrents: Torrents::default(),
            counters: Counters::default(),
        }
    }

    /// Takes over a configuration; info-hashes that cannot be read are returned.
    pub(super) fn configure(&mut self, config: TrackerConfig) -> Vec<String> {
        let unreadable = self.torrents.configure(&config);
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
                self.counters.announces += 1;
                let answer = self
                    .proved(now, from, connection)
                    .and_then(|()| self.announce(now, from, transaction, &announce));
                (transaction, answer)
            }
            Request::Scrape { connection, transaction, hashes } => {
                self.counters.scrapes += 1;
                let answer = self.proved(now, from, connection).map(|()| self.scrape(transaction, &hashes));
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

    fn announce(
        &mut self,
        now: Time,
        from: SocketAddrV4,
        transaction: u32,
        told: &Announce,
    ) -> Result<Response, Oddity> {
        let peer = peer_address(*from.ip(), told);
        if self.torrents.get(&told.info_hash).is_none() {
            return Err(Oddity::UnknownTorrent(told.info_hash));
        }
        self.torrents.announced(now, peer, told).map_err(Oddity::Full)?;
        let interval_s = self.interval_seconds();
        let Some(torrent) = self.torrents.get(&told.info_hash) else {
            return Err(Oddity::UnknownTorrent(told.info_hash));
        };
        let want = told.want.map_or(PEERS_DEFAULT, |n| n as usize).min(MAX_PEERS);
        let complete = told.left == 0;
        let mut peers: Vec<_> = if complete {
            Vec::new()
        } else {
            self.config.seeds.iter().filter(|seed| **seed != peer).take(want).copied().collect()
        };
        let mut candidates = torrent.candidates(peer, complete);
        candidates.retain(|c| !peers.contains(&c.address));
        let chosen = selection::choose(candidates, want - peers.len(), &mut self.lots);
        torrent.told_of(&chosen);
        peers.extend(chosen);
        let counts = torrent.scraped(self.config.seeds.len());
        Ok(Response::Announce {
            transaction,
            interval_s,
            leechers: counts.leechers,
            seeders: counts.seeders,
            peers,
        })
    }

    /// An unknown torrent is scraped as an empty one: BEP 15 has no other way to say it beside known ones.
    fn scrape(&mut self, transaction: u32, hashes: &[InfoHash]) -> Response {
        let seeds = self.config.seeds.len();
        let torrents = hashes
            .iter()
            .map(|hash| self.torrents.get(hash).map(|t| t.scraped(seeds)).unwrap_or_default())
            .collect();
        Response::Scrape { transaction, torrents }
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

    /// What the client is told.
    fn message(&self) -> &'static str {
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
