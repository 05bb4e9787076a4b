//! The state file: what is served, to whom, and what is not, with the reason. Decides nothing.

use super::limits::STATE_PEERS;
use super::roster::{Entry, Roster, Standing};
use boottorrent_net::driver::Driver;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;

#[derive(Debug, Serialize)]
pub(super) struct State {
    /// Links of all images.
    links: usize,
    /// Bytes of blocks sent since the seed started.
    bytes_out: u64,
    images: Vec<ImageState>,
    warnings: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize)]
struct ImageState {
    name: String,
    info_hash: String,
    /// `served`, `retiring` or `refused`.
    standing: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    pieces: u32,
    bytes: u64,
    bytes_out: u64,
    /// Copies sent: `bytes_out` over `bytes`.
    copies: f64,
    peers_connected: u32,
    peers: Vec<PeerState>,
}

#[derive(Debug, Serialize)]
struct PeerState {
    address: SocketAddrV4,
    /// A node's, from its peer id.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    connected: bool,
    complete: bool,
    bytes_out: u64,
}

impl State {
    pub(super) fn take(driver: &Driver, roster: &Roster, warnings: BTreeMap<&'static str, u64>) -> State {
        let images: Vec<ImageState> = roster.entries.iter().map(|e| image(driver, e)).collect();
        let bytes_out = images.iter().map(|i| i.bytes_out).sum();
        State { links: driver.links(), bytes_out, images, warnings }
    }
}

/// What tells whether the state file is stale, without making it.
pub(super) fn mark(driver: &Driver, roster: &Roster) -> (usize, u64) {
    let out = |e: &Entry| e.torrent().and_then(|id| driver.progress(id)).map_or(0, |p| p.bytes_out);
    (driver.links(), roster.entries.iter().map(out).sum())
}

fn image(driver: &Driver, entry: &Entry) -> ImageState {
    let progress = entry.torrent().and_then(|id| driver.progress(id)).unwrap_or_default();
    let (standing, refusal) = match &entry.standing {
        Standing::Served(_) => ("served", None),
        Standing::Retiring(_) => ("retiring", None),
        Standing::Refused(sentence) => ("refused", Some(sentence.clone())),
    };
    let peers = entry.torrent().map(|id| driver.peers(id)).unwrap_or_default();
    let peers = peers.iter().take(STATE_PEERS).map(|p| PeerState {
        address: p.addr,
        mac: p.peer_id.and_then(|id| id.mac()).map(|mac| mac.to_string()),
        connected: p.connected,
        complete: p.complete,
        bytes_out: p.bytes_out,
    });
    ImageState {
        name: entry.name.clone(),
        info_hash: entry.info_hash.to_string(),
        standing,
        refusal,
        pieces: progress.pieces,
        bytes: progress.bytes_total,
        bytes_out: progress.bytes_out,
        copies: progress.bytes_out as f64 / progress.bytes_total.max(1) as f64,
        peers_connected: progress.peers_connected,
        peers: peers.collect(),
    }
}
