//! Which images are served. Decides at each reload what is new, what stays and what retires (it is served on while it has
//! peers); a file that changed takes its image out until the next reload.

use super::config::{SeedConfig, TorrentConfig};
use super::image::Image;
use super::limits::MAX_PEERS;
use boottorrent_net::driver::{Driver, Torrent, TorrentId};
use boottorrent_swarm::InfoHash;
use boottorrent_swarm::swarm::Have;
use std::net::SocketAddrV4;

/// An image and what became of it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) info_hash: InfoHash,
    pub(super) standing: Standing,
    /// What it was opened by; none for a foreign torrent.
    config: Option<TorrentConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Served(TorrentId),
    /// No longer in the store, and still wanted by somebody.
    Retiring(TorrentId),
    /// The sentence that says why.
    Refused(String),
}

impl Entry {
    pub(super) fn torrent(&self) -> Option<TorrentId> {
        match self.standing {
            Standing::Served(id) | Standing::Retiring(id) => Some(id),
            Standing::Refused(_) => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Roster {
    pub(super) entries: Vec<Entry>,
}

impl Roster {
    /// Serves what `config` says from now on. Refusals are logged and kept for the state file.
    pub(super) fn load(&mut self, driver: &mut Driver, config: &SeedConfig) {
        let mut before = std::mem::take(&mut self.entries);
        let trackers: Vec<SocketAddrV4> = config.tracker.into_iter().collect();
        for torrent in &config.torrents {
            let known =
                torrent.info_hash().ok().and_then(|hash| before.iter().position(|e| e.info_hash == hash));
            let old = known.map(|n| before.swap_remove(n));
            let entry = seat(driver, torrent, old, &trackers);
            self.entries.push(entry);
        }
        for mut gone in before {
            if let Some(id) = gone.torrent() {
                gone.standing = Standing::Retiring(id);
                driver.retire(id);
                self.entries.push(gone);
            }
        }
    }

    /// A torrent that is in no store.
    pub(super) fn add(&mut self, name: String, info_hash: InfoHash, id: TorrentId) {
        self.entries.push(Entry { name, info_hash, standing: Standing::Served(id), config: None });
    }

    pub(super) fn refused(&mut self, id: TorrentId, sentence: &str) -> Option<&str> {
        let entry = self.entries.iter_mut().find(|e| e.torrent() == Some(id))?;
        entry.standing = Standing::Refused(sentence.to_owned());
        Some(&entry.name)
    }

    pub(super) fn retired(&mut self, id: TorrentId) {
        self.entries.retain(|e| e.torrent() != Some(id));
    }

    /// One line for `systemctl status`.
    pub(super) fn status(&self, links: usize) -> String {
        let count = |f: fn(&Standing) -> bool| self.entries.iter().filter(|e| f(&e.standing)).count();
        let served = count(|s| matches!(s, Standing::Served(_)));
        let retiring = count(|s| matches!(s, Standing::Retiring(_)));
        let refused: Vec<&str> = self
            .entries
            .iter()
            .filter(|e| matches!(e.standing, Standing::Refused(_)))
            .map(|e| e.name.as_str())
            .collect();
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let mut line = format!("{served} image{}, {links} link{}", s(served), s(links));
        if retiring > 0 {
            line += &format!(", {retiring} of an older generation");
        }
        if !refused.is_empty() {
            line += &format!("; refused: {}", refused.join(", "));
        }
        line
    }
}

/// The entry of one torrent, served if its files allow it.
fn seat(driver: &mut Driver, config: &TorrentConfig, old: Option<Entry>, trackers: &[SocketAddrV4]) -> Entry {
    let serving = old.as_ref().and_then(Entry::torrent);
    let same = old.as_ref().is_some_and(|e| e.config.as_ref() == Some(config));
    let info_hash = config.info_hash().unwrap_or(InfoHash([0; 20]));
    let entry =
        |standing| Entry { name: config.name.clone(), info_hash, standing, config: Some(config.clone()) };
    if let Some(id) = serving.filter(|id| same && driver.keep(*id)) {
        return entry(Standing::Served(id));
    }
    let image = match Image::open(config) {
        Ok(image) => image,
        Err(refusal) => {
            log::error!("{refusal}");
            // What is served under this info-hash already is good as long as its own files are.
            let standing = serving.filter(|id| driver.keep(*id)).map(Standing::Served);
            return entry(standing.unwrap_or_else(|| Standing::Refused(refusal.to_string())));
        }
    };
    if let Some(id) = serving.filter(|id| driver.keep(*id)) {
        // The same bytes in other files: links stay, what is sent next comes from there.
        driver.replace(id, image.content);
        return entry(Standing::Served(id));
    }
    let torrent = Torrent {
        info_hash: image.info_hash,
        content: image.content,
        have: Have::All,
        masters: Vec::new(),
        peers: Vec::new(),
        trackers: trackers.to_vec(),
        own: None,
        near_prefix: 0,
        max_peers: Some(MAX_PEERS),
    };
    match driver.add(torrent) {
        Ok(id) => entry(Standing::Served(id)),
        Err(e) => {
            log::error!("{}: {e}", config.name);
            entry(Standing::Refused(e.to_string()))
        }
    }
}
