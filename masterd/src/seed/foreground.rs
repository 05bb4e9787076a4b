//! A foreign torrent, seeded by hand: finds its data, checks all of it first and names the file that is wrong. Decides
//! nothing about links; never changes a file.

use super::limits::{CHECK_LINE_EVERY, MAX_TORRENT};
use crate::service::Service;
use boottorrent_net::storage::{self, Files, Layout, Source};
use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::metainfo::{self, Metainfo};
use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `--torrent`, `--data` and `--tracker`.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    pub torrent: Option<PathBuf>,
    pub data: Option<PathBuf>,
    pub trackers: Vec<SocketAddrV4>,
}

/// Why a foreign torrent can't be seeded. Each names the file.
#[derive(Debug)]
pub enum ForeignError {
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Torrent {
        path: PathBuf,
        source: metainfo::Error,
    },
    TooLong(PathBuf),
    /// `--torrent` without `--data`, or the reverse.
    Half,
    NoData {
        path: PathBuf,
        looked_for: PathBuf,
    },
    Length {
        path: PathBuf,
        has: u64,
        wanted: u64,
    },
    Store(storage::Error),
    /// The first wrong piece, and the files that it is in.
    Wrong {
        pieces: usize,
        of: u32,
        first: u32,
        files: Vec<PathBuf>,
    },
}

impl fmt::Display for ForeignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForeignError::Read { path, source } => write!(f, "{}: {source}", path.display()),
            ForeignError::Torrent { path, source } => write!(f, "{}: {source}", path.display()),
            ForeignError::TooLong(path) => {
                write!(f, "{} is too long for a torrent; give the .torrent file to --torrent", path.display())
            }
            ForeignError::Half => f.write_str("give both --torrent FILE and --data PATH, or neither"),
            ForeignError::NoData { path, looked_for } => write!(
                f,
                "{} is not the torrent's data: there is no {}; give --data the torrent's file or folder",
                path.display(),
                looked_for.display()
            ),
            ForeignError::Length { path, has, wanted } => write!(
                f,
                "{} has {has} bytes and the torrent's file {wanted}; give --data the right one",
                path.display()
            ),
            ForeignError::Store(e) => e.fmt(f),
            ForeignError::Wrong { pieces, of, first, files } => {
                let files: Vec<String> = files.iter().map(|p| p.display().to_string()).collect();
                write!(
                    f,
                    "{} does not match the torrent ({pieces} of {of} pieces are wrong, piece {first} is the first); \
                     get the file again or make a new torrent",
                    files.join(" or ")
                )
            }
        }
    }
}

impl std::error::Error for ForeignError {}

impl Foreign {
    /// Whether a foreign torrent was asked for.
    pub(super) fn is_wanted(&self) -> Result<bool, ForeignError> {
        match (&self.torrent, &self.data) {
            (Some(_), Some(_)) => Ok(true),
            (None, None) => Ok(false),
            _ => Err(ForeignError::Half),
        }
    }

    /// Reads the torrent and checks all of its data; says how far it is meanwhile.
    pub(super) fn open(&self, service: &Service) -> Result<(Metainfo, Arc<Content>), ForeignError> {
        let (Some(torrent), Some(data)) = (&self.torrent, &self.data) else { return Err(ForeignError::Half) };
        let metainfo = read(torrent)?;
        let content = content(&metainfo, data)?;
        let pieces = metainfo.geometry.pieces();
        let mut next_line = service.now() + CHECK_LINE_EVERY;
        let good = content.check_all(&mut |done| {
            service.feed(service.now());
            if service.now() >= next_line {
                next_line = service.now() + CHECK_LINE_EVERY;
                log::info!("{}: checking piece {done} of {pieces}", metainfo.name);
            }
        });
        verdict(&metainfo, data, &good.map_err(ForeignError::Store)?)?;
        Ok((metainfo, content))
    }
}

fn read(path: &Path) -> Result<Metainfo, ForeignError> {
    let failed = |source| ForeignError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_TORRENT {
        return Err(ForeignError::TooLong(path.to_owned()));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    Metainfo::parse(&bytes).map_err(|source| ForeignError::Torrent { path: path.to_owned(), source })
}

/// The files' places: `data` is the file itself, the torrent's own folder, or the folder that it lies in.
fn places(metainfo: &Metainfo, data: &Path) -> Vec<PathBuf> {
    if metainfo.single_file && !data.is_dir() {
        return vec![data.to_owned()];
    }
    let named = data.join(&metainfo.name);
    let folder = if !metainfo.single_file && named.is_dir() { named } else { data.to_owned() };
    metainfo.files.iter().map(|f| f.path.iter().fold(folder.clone(), |path, part| path.join(part))).collect()
}

fn content(metainfo: &Metainfo, data: &Path) -> Result<Arc<Content>, ForeignError> {
    let places = places(metainfo, data);
    for (path, file) in places.iter().zip(&metainfo.files) {
        let has = match std::fs::metadata(path) {
            Ok(m) => m.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ForeignError::NoData { path: data.to_owned(), looked_for: path.clone() });
            }
            Err(source) => return Err(ForeignError::Read { path: path.clone(), source }),
        };
        if has != file.length {
            return Err(ForeignError::Length { path: path.clone(), has, wanted: file.length });
        }
    }
    let sources: Vec<Source> = places.into_iter().map(|path| Source { path, fingerprint: None }).collect();
    let layout = Layout::plain(metainfo.files.iter().map(|f| f.length));
    let store = Files::open(&sources, layout).map_err(ForeignError::Store)?;
    let verifier = Verifier::Sha1(metainfo.sha1_list().to_vec());
    Ok(Arc::new(Content { geometry: metainfo.geometry, store: Box::new(store), verifier }))
}

fn verdict(metainfo: &Metainfo, data: &Path, good: &[bool]) -> Result<(), ForeignError> {
    let geometry = metainfo.geometry;
    let wrong = || geometry.all().filter(|p| good.get(p.index() as usize) != Some(&true));
    let Some(first) = wrong().next() else { return Ok(()) };
    let start = geometry.piece_offset(first);
    let end = start + u64::from(geometry.piece_size(first));
    let mut at = 0;
    let mut files = Vec::new();
    for (path, file) in places(metainfo, data).into_iter().zip(&metainfo.files) {
        if file.length > 0 && at < end && at + file.length > start {
            files.push(path);
        }
        at += file.length;
    }
    Err(ForeignError::Wrong { pieces: wrong().count(), of: geometry.pieces(), first: first.index(), files })
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::bencode::Writer;
    use sha1::Digest as _;

    /// A torrent of files `a` (40,000 bytes) and `b` (30,000 bytes), 32 KiB a piece, and its data.
    fn torrent(dir: &Path) -> Metainfo {
        let data = [[1; 40_000].to_vec(), vec![2; 30_000]].concat();
        std::fs::create_dir_all(dir.join("os")).unwrap();
        std::fs::write(dir.join("os/a"), &data[..40_000]).unwrap();
        std::fs::write(dir.join("os/b"), &data[40_000..]).unwrap();
        let pieces: Vec<u8> = data.chunks(32_768).flat_map(|p| sha1::Sha1::digest(p).to_vec()).collect();
        let mut w = Writer::new();
        w.dict(|w| {
            w.str("info").dict(|w| {
                w.str("files").list(|w| {
                    for (name, length) in [("a", 40_000), ("b", 30_000)] {
                        w.dict(|w| {
                            w.str("length").int(length).str("path").list(|w| {
                                w.str(name);
                            });
                        });
                    }
                });
                w.str("name").str("os").str("piece length").int(32_768).str("pieces").bytes(&pieces);
            });
        });
        Metainfo::parse(&w.finish()).unwrap()
    }

    fn checked(metainfo: &Metainfo, data: &Path) -> Result<(), ForeignError> {
        let good = content(metainfo, data)?.check_all(&mut |_| {}).unwrap();
        verdict(metainfo, data, &good)
    }

    #[test]
    fn data_is_found_in_its_folder_or_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let metainfo = torrent(dir.path());
        checked(&metainfo, dir.path()).unwrap();
        checked(&metainfo, &dir.path().join("os")).unwrap();
        let elsewhere = checked(&metainfo, &dir.path().join("nowhere")).unwrap_err().to_string();
        assert!(elsewhere.contains("there is no") && elsewhere.contains("nowhere/a"), "{elsewhere}");
    }

    #[test]
    fn the_wrong_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let metainfo = torrent(dir.path());
        let mut b = vec![2; 30_000];
        b[29_999] = 0;
        std::fs::write(dir.path().join("os/b"), &b).unwrap();
        let sentence = checked(&metainfo, dir.path()).unwrap_err().to_string();
        assert!(sentence.contains("os/b does not match") && sentence.contains("1 of 3 pieces"), "{sentence}");
        std::fs::write(dir.path().join("os/b"), &b[1..]).unwrap();
        let sentence = checked(&metainfo, dir.path()).unwrap_err().to_string();
        assert!(sentence.contains("os/b has 29999 bytes"), "{sentence}");
    }

    #[test]
    fn half_a_request_is_refused() {
        assert!(!Foreign::default().is_wanted().unwrap());
        assert!(Foreign { torrent: Some("x".into()), ..Foreign::default() }.is_wanted().is_err());
    }
}
