//! One image as seed.toml describes it, opened for sending. Decides whether the files still are those that were hashed.

use super::config::TorrentConfig;
use boottorrent_net::storage::{self, Files, Layout, Source};
use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::InfoHash;
use boottorrent_swarm::metainfo::{self, Geometry};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why an image is not served. The name is the operating system's.
#[derive(Debug)]
pub(super) enum Refusal {
    /// seed.toml and what it names do not fit together: not by boottorrent-gen, or a store in pieces.
    Config {
        name: String,
        what: String,
    },
    Geometry {
        name: String,
        source: metainfo::Error,
    },
    Pieces {
        name: String,
        path: PathBuf,
        source: io::Error,
    },
    File {
        name: String,
        source: storage::Error,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Config { name, what } => write!(f, "{name}: {what}; run boottorrent-gen again"),
            Refusal::Geometry { name, source } => write!(f, "{name}: {source}; run boottorrent-gen again"),
            Refusal::Pieces { name, path, source } => {
                write!(f, "{name}: {}: {source}; run boottorrent-gen again", path.display())
            }
            Refusal::File { name, source } => {
                write!(
                    f,
                    "{name}: {source}; put the old file back or run boottorrent-gen, which hashes it again"
                )
            }
        }
    }
}

/// An image that can be served.
pub(super) struct Image {
    pub(super) info_hash: InfoHash,
    pub(super) content: Arc<Content>,
}

impl Image {
    pub(super) fn open(config: &TorrentConfig) -> Result<Image, Refusal> {
        let name = || config.name.clone();
        let info_hash = config.info_hash().map_err(|what| Refusal::Config { name: name(), what })?;
        let lengths: Vec<u64> = config.files.iter().map(|f| f.length).collect();
        let total = lengths.iter().try_fold(0u64, |sum, l| sum.checked_add(*l)).unwrap_or(0);
        let geometry = Geometry::new(config.piece_length, total)
            .map_err(|source| Refusal::Geometry { name: name(), source })?;
        let path = config.pieces.clone();
        let list = std::fs::read(&path).map_err(|source| Refusal::Pieces { name: name(), path, source })?;
        let verifier = Verifier::from_sha256_list(&list, geometry.pieces()).ok_or_else(|| {
            let what = format!("{} is not a list of {} digests", config.pieces.display(), geometry.pieces());
            Refusal::Config { name: name(), what }
        })?;
        let source = |f: &super::config::FileConfig| Source {
            path: f.path.clone(),
            fingerprint: Some(f.fingerprint.into()),
        };
        let sources: Vec<Source> = config.files.iter().map(source).collect();
        let store = Files::open(&sources, Layout::plain(lengths))
            .map_err(|source| Refusal::File { name: name(), source })?;
        Ok(Image { info_hash, content: Arc::new(Content { geometry, store: Box::new(store), verifier }) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{FileConfig, FingerprintConfig};
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    fn config(dir: &Path) -> TorrentConfig {
        std::fs::write(dir.join("image"), [5; 70_000]).unwrap();
        std::fs::write(dir.join("list"), [0; 3 * 32]).unwrap();
        let m = std::fs::metadata(dir.join("image")).unwrap();
        let mtime_ns = m.mtime() * 1_000_000_000 + m.mtime_nsec();
        TorrentConfig {
            name: "os".into(),
            info_hash: "00".repeat(20),
            piece_length: 32_768,
            pieces: dir.join("list"),
            torrent: dir.join("torrent"),
            files: vec![FileConfig {
                path: dir.join("image"),
                length: 70_000,
                fingerprint: FingerprintConfig { dev: None, inode: m.ino(), size: 70_000, mtime_ns },
            }],
        }
    }

    fn refusal(config: &TorrentConfig) -> String {
        Image::open(config).err().unwrap().to_string()
    }

    #[test]
    fn an_image_as_it_was_hashed_is_served() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Image::open(&config(dir.path())).unwrap().content.geometry.pieces(), 3);
    }

    #[test]
    fn what_changed_or_is_missing_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let good = config(dir.path());
        let mut bad = good.clone();
        bad.files[0].fingerprint.mtime_ns += 1;
        let sentence = refusal(&bad);
        assert!(
            sentence.starts_with("os: ") && sentence.contains("image: its time of modification"),
            "{sentence}"
        );
        std::fs::write(dir.path().join("list"), [0; 2 * 32]).unwrap();
        assert!(refusal(&good).contains("list is not a list of 3 digests"));
        std::fs::remove_file(dir.path().join("list")).unwrap();
        assert!(refusal(&good).contains("list: No such file"));
        assert!(refusal(&TorrentConfig { info_hash: "xyz".into(), ..good.clone() }).contains("xyz"));
        assert!(refusal(&TorrentConfig { files: vec![], ..good }).contains("no bytes to share"));
    }
}
