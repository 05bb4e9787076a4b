//! seed.toml: what boottorrent-gen tells the seed. Every path is absolute, every file carries the fingerprint that it
//! had when it was hashed. Decides nothing: whether a file still is that file is asked at each read.

use boottorrent_net::storage::Fingerprint;
use boottorrent_swarm::InfoHash;
use serde::{Deserialize, Serialize};
use std::net::SocketAddrV4;
use std::path::PathBuf;

/// `<store>/current/seed.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SeedConfig {
    /// TCP port that the tracker lists for the seed.
    pub port: u16,
    /// Where the seed announces itself; none: it waits to be dialled (the tracker lists it statically).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracker: Option<SocketAddrV4>,
    #[serde(default, rename = "torrent")]
    pub torrents: Vec<TorrentConfig>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TorrentConfig {
    /// The OS's name, for messages and state.
    pub name: String,
    /// 40 hex digits.
    pub info_hash: String,
    /// Bytes.
    pub piece_length: u32,
    /// The SHA-256 list, 32 bytes a piece. The seed never sends from a file that changed, so it only checks the list's size.
    pub pieces: PathBuf,
    /// The .torrent for other clients.
    pub torrent: PathBuf,
    /// In the torrent's order.
    #[serde(rename = "file")]
    pub files: Vec<FileConfig>,
}

/// One file of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileConfig {
    /// Absolute: in the store, or in the site folder where `in-place = true`.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
    pub fingerprint: FingerprintConfig,
}

/// What the file looked like when it was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FingerprintConfig {
    /// Left out where device numbers do not survive a restart (containers, network file systems).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<u64>,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    pub mtime_ns: i64,
}

impl From<FingerprintConfig> for Fingerprint {
    fn from(c: FingerprintConfig) -> Fingerprint {
        Fingerprint { device: c.dev, inode: c.inode, size: c.size, mtime_ns: c.mtime_ns }
    }
}

impl TorrentConfig {
    /// # Errors
    /// Not 40 hex digits.
    pub fn info_hash(&self) -> Result<InfoHash, String> {
        self.info_hash
            .parse()
            .map_err(|_| format!("{}: {:?} is not an info-hash of 40 hex digits", self.name, self.info_hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SeedConfig {
        SeedConfig {
            port: 6881,
            tracker: Some("10.0.0.1:6969".parse().unwrap()),
            torrents: vec![TorrentConfig {
                name: "debian".into(),
                info_hash: "0102030405060708090a0b0c0d0e0f1011121314".into(),
                piece_length: 1 << 20,
                pieces: "/s/pieces".into(),
                torrent: "/s/debian.torrent".into(),
                files: vec![FileConfig {
                    path: "/s/vmlinuz".into(),
                    length: 5,
                    fingerprint: FingerprintConfig { dev: None, inode: 7, size: 5, mtime_ns: -1 },
                }],
            }],
        }
    }

    #[test]
    fn what_gen_writes_the_seed_reads() {
        let text = toml::to_string(&sample()).unwrap();
        assert_eq!(toml::from_str::<SeedConfig>(&text).unwrap(), sample());
        assert_eq!(sample().torrents[0].info_hash().unwrap().0[19], 0x14);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let text = toml::to_string(&sample()).unwrap().replace("piece-length", "piece-lenght");
        assert!(toml::from_str::<SeedConfig>(&text).unwrap_err().to_string().contains("piece-lenght"));
    }
}
