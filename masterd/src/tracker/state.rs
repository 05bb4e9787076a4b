//! What the tracker tells about itself: torrents and their peers, for `tracker.json`.
//! Decides nothing.

use std::collections::BTreeMap;

use boottorrent_swarm::Time;
use serde::Serialize;

use super::core::{Counters, Tracker};

/// `tracker.json`.
#[derive(Debug, Serialize)]
pub(super) struct State {
    #[serde(flatten)]
    counters: Counters,
    peers: usize,
    seeds: Vec<String>,
    torrents: Vec<TorrentState>,
    warnings: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct TorrentState {
    info_hash: String,
    name: String,
    /// With the master's own.
    seeders: u32,
    leechers: u32,
    completed: u32,
    peers: Vec<PeerState>,
}

#[derive(Debug, Serialize)]
struct PeerState {
    address: String,
    /// Of our own nodes, from their peer id.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    /// The name of its rack, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rack: Option<String>,
    /// Bytes, as are the next two.
    left: u64,
    downloaded: u64,
    uploaded: u64,
    /// Seconds since 1970.
    last_seen: u64,
}

impl State {
    /// `unix_time` is the wall clock's seconds at `now`.
    pub(super) fn of(
        tracker: &Tracker,
        now: Time,
        unix_time: u64,
        warnings: BTreeMap<&'static str, u64>,
    ) -> Self {
        let torrents = tracker.torrents.iter().map(|(hash, torrent)| {
            let counts = torrent.scraped(tracker.seeds().len());
            let peers = torrent.peers.iter().map(|(address, peer)| PeerState {
                address: address.to_string(),
                mac: peer.id.mac().map(|mac| mac.to_string()),
                rack: torrent
                    .graph
                    .rack(*address)
                    .and_then(|rack| tracker.racks.name(rack))
                    .map(str::to_owned),
                left: peer.left,
                downloaded: peer.downloaded,
                uploaded: peer.uploaded,
                last_seen: unix_time.saturating_sub(now.since(peer.seen).as_secs()),
            });
            TorrentState {
                info_hash: hash.to_string(),
                name: torrent.name.clone(),
                seeders: counts.seeders,
                leechers: counts.leechers,
                completed: counts.completed,
                peers: peers.collect(),
            }
        });
        Self {
            counters: tracker.counters,
            peers: tracker.torrents.peers(),
            seeds: tracker.seeds().iter().map(ToString::to_string).collect(),
            torrents: torrents.collect(),
            warnings,
        }
    }
}
