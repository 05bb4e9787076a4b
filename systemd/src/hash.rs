//! The sums of an image: SHA-1 pieces for the torrent (lava_torrent), SHA-256 per piece for the signed list.
//! Decides nothing about the files; what lava_torrent made is read back by our own parser before it is believed.

use crate::error::Error;
use crate::progress::Progress;
use boottorrent_masterd::store::Context;
use boottorrent_swarm::metainfo::{Geometry, Metainfo};
use lava_torrent::LavaTorrentError;
use lava_torrent::torrent::v1::{Torrent, TorrentBuilder};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// How often a build is asked for its progress.
const ASK: Duration = Duration::from_millis(100);

/// A file as the torrent has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TorrentFile {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Bytes.
    pub(crate) length: u64,
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// The torrent of the folder `dir`, which holds exactly `files` (or links to them), in the order of their names.
pub(crate) fn torrent(
    name: &str,
    dir: &Path,
    files: &[TorrentFile],
    geometry: Geometry,
    announce: String,
) -> Result<(Vec<u8>, Metainfo), Error> {
    let wrong = |why: String| Error::Told(format!("{}: cannot make the torrent: {why}", dir.display()));
    let build = TorrentBuilder::new(dir, i64::from(geometry.piece_length()))
        .set_name(name.to_owned())
        .set_announce(Some(announce))
        .set_num_threads(cores())
        .build_non_blocking()
        .map_err(|e| wrong(e.to_string()))?;
    let progress = Progress::new(format!("{name}: hashing the torrent"), geometry.total());
    while !build.is_finished() {
        progress.set(geometry.total() / 100 * u64::from(build.get_progress()));
        thread::park_timeout(ASK);
    }
    drop(progress);
    let torrent = build.get_output().map_err(|e| wrong(e.to_string()))?;
    let bytes = torrent.encode().map_err(|e| wrong(e.to_string()))?;
    let metainfo = Metainfo::parse(&bytes).map_err(|e| wrong(e.to_string()))?;
    let listed = metainfo.files.iter().map(|f| (f.path.join("/"), f.length));
    if !listed.eq(files.iter().map(|f| (f.name.clone(), f.length))) || metainfo.geometry != geometry {
        return Err(wrong("a file changed meanwhile; run boottorrent-gen again".into()));
    }
    Ok((bytes, metainfo))
}

/// The same torrent with another tracker, or none where it has this one already.
pub(crate) fn announced_at(bytes: &[u8], announce: &str) -> Result<Option<Vec<u8>>, LavaTorrentError> {
    let mut torrent = Torrent::read_from_bytes(bytes)?;
    if torrent.announce.as_deref() == Some(announce) {
        return Ok(None);
    }
    torrent.announce = Some(announce.to_owned());
    torrent.encode().map(Some)
}

/// SHA-256 of every piece, 32 bytes each, in their order.
pub(crate) fn pieces(name: &str, files: &[TorrentFile], geometry: Geometry) -> Result<Vec<u8>, Error> {
    let progress = Progress::new(format!("{name}: hashing the pieces"), geometry.total());
    let next = AtomicU32::new(0);
    let sums = Mutex::new(vec![0; geometry.pieces() as usize * 32]);
    let work = || -> Result<(), Error> {
        let mut reader = Reader::open(files)?;
        let mut buffer = Vec::new();
        while let Some(piece) = geometry.piece(next.fetch_add(1, Ordering::Relaxed)) {
            let length = geometry.piece_size(piece) as usize;
            buffer.resize(length, 0);
            reader.read(u64::from(piece.index()) * u64::from(geometry.piece_length()), &mut buffer)?;
            let sum = Sha256::digest(&buffer);
            let at = piece.index() as usize * 32;
            if let Ok(mut sums) = sums.lock() {
                sums[at..at + 32].copy_from_slice(&sum);
            }
            progress.add(length as u64);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|t| {
            t.join().unwrap_or_else(|_| Err(Error::Told("a hashing thread ended without a result".into())))
        })
    })?;
    sums.into_inner().map_err(|_| Error::Told("a hashing thread ended without a result".into()))
}

/// The files of an image as one stream.
struct Reader<'f> {
    files: Vec<(&'f TorrentFile, File)>,
}

impl<'f> Reader<'f> {
    fn open(files: &'f [TorrentFile]) -> Result<Reader<'f>, Error> {
        let open = |f: &'f TorrentFile| Ok((f, File::open(&f.path).at(&f.path, "be read")?));
        Ok(Reader { files: files.iter().map(open).collect::<Result<_, Error>>()? })
    }

    /// Fills `buffer` from `offset` of the stream on.
    fn read(&mut self, offset: u64, mut buffer: &mut [u8]) -> Result<(), Error> {
        let mut skip = offset;
        for (file, handle) in &self.files {
            if skip >= file.length {
                skip -= file.length;
                continue;
            }
            if buffer.is_empty() {
                return Ok(());
            }
            let here = usize::try_from(file.length - skip).unwrap_or(usize::MAX).min(buffer.len());
            let (now, rest) = buffer.split_at_mut(here);
            handle.read_exact_at(now, skip).at(&file.path, "be read (did it become shorter?)")?;
            buffer = rest;
            skip = 0;
        }
        let complete =
            if buffer.is_empty() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) };
        Ok(complete.at(Path::new("image"), "be read")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn image(dir: &Path, lengths: &[(&str, usize)]) -> Vec<TorrentFile> {
        let file = |(n, (name, length)): (usize, &(&str, usize))| {
            let path = dir.join(name);
            fs::write(&path, (0..*length).map(|i| (i * 7 + n) as u8).collect::<Vec<u8>>()).unwrap();
            TorrentFile { name: (*name).to_owned(), path, length: *length as u64 }
        };
        lengths.iter().enumerate().map(file).collect()
    }

    #[test]
    fn both_sums_agree_with_a_plain_pass_over_the_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let files = image(dir.path(), &[("a", 100_000), ("b", 1), ("c", 65_536), ("d", 20_000)]);
        let whole: Vec<u8> = files.iter().flat_map(|f| fs::read(&f.path).unwrap()).collect();
        let geometry = Geometry::new(32_768, whole.len() as u64).unwrap();
        let expected: Vec<u8> = whole.chunks(32_768).flat_map(Sha256::digest).collect();
        assert_eq!(pieces("x", &files, geometry).unwrap(), expected);
        let (_, metainfo) = torrent("x", dir.path(), &files, geometry, "udp://10.0.0.1:6969".into()).unwrap();
        for piece in geometry.all() {
            let at = piece.index() as usize * 32_768;
            let bytes = &whole[at..at + geometry.piece_size(piece) as usize];
            assert_eq!(metainfo.piece_sha1(piece), <[u8; 20]>::from(sha1::Sha1::digest(bytes)));
        }
    }

    #[test]
    fn a_file_that_changed_is_not_signed() {
        let dir = tempfile::tempdir().unwrap();
        let files = image(dir.path(), &[("a", 100_000)]);
        let geometry = Geometry::new(32_768, 100_000).unwrap();
        fs::write(dir.path().join("a"), "short").unwrap();
        let told = pieces("x", &files, geometry).unwrap_err().to_string();
        assert!(told.contains("did it become shorter?"), "{told}");
        let told = torrent("x", dir.path(), &files, geometry, "udp://h".into()).unwrap_err().to_string();
        assert!(told.contains("a file changed meanwhile"), "{told}");
    }
}
