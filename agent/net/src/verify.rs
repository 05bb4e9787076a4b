//! Decides whether a piece's bytes are the promised ones, once each and while they are hot, on a thread of its own where
//! the machine has more than one core. Never asks where the promise came from.

mod landing;
mod thread;

pub(crate) use landing::Landing;
pub(crate) use thread::{Checked, Hasher};

use crate::storage::{Error, Store};
use boottorrent_swarm::bitfield::Bitfield;
use boottorrent_swarm::metainfo::{Geometry, Piece};
use boottorrent_swarm::swarm::Have;
use sha1::Digest as _;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::available_parallelism;

/// One digest a piece, in order.
#[derive(Debug, Clone)]
pub enum Verifier {
    /// From the signed list.
    Sha256(Vec<[u8; 32]>),
    /// From a foreign torrent's info dictionary.
    Sha1(Vec<[u8; 20]>),
}

impl Verifier {
    /// A SHA-256 list as it is stored: 32 bytes a piece. None if it is not for so many pieces.
    #[must_use]
    pub fn from_sha256_list(bytes: &[u8], pieces: u32) -> Option<Verifier> {
        let (list, rest) = bytes.as_chunks::<32>();
        (rest.is_empty() && list.len() == pieces as usize).then(|| Verifier::Sha256(list.to_vec()))
    }

    /// Number of digests.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Verifier::Sha256(list) => list.len(),
            Verifier::Sha1(list) => list.len(),
        }
    }

    /// Whether there is no digest at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn start(&self) -> Running {
        match self {
            Verifier::Sha256(_) => Running::Sha256(sha2::Sha256::new()),
            Verifier::Sha1(_) => Running::Sha1(sha1::Sha1::new()),
        }
    }

    /// Whether this is what the list says of the piece.
    fn confirms(&self, piece: Piece, digest: Running) -> bool {
        let index = piece.index() as usize;
        match (self, digest) {
            (Verifier::Sha256(list), Running::Sha256(hash)) => {
                list.get(index).is_some_and(|want| hash.finalize()[..] == want[..])
            }
            (Verifier::Sha1(list), Running::Sha1(hash)) => {
                list.get(index).is_some_and(|want| hash.finalize()[..] == want[..])
            }
            _ => false,
        }
    }
}

/// The digest of what has come so far.
enum Running {
    Sha256(sha2::Sha256),
    Sha1(sha1::Sha1),
}

impl Running {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Sha256(hash) => hash.update(bytes),
            Running::Sha1(hash) => hash.update(bytes),
        }
    }
}

/// A torrent's bytes with what they should be.
pub struct Content {
    /// How the bytes are cut.
    pub geometry: Geometry,
    /// Where they lie.
    pub store: Box<dyn Store>,
    /// What they should be.
    pub verifier: Verifier,
}

impl Content {
    /// Whether the piece's bytes are the promised ones.
    ///
    /// # Errors
    /// The bytes can't be read.
    pub fn check(&self, piece: Piece) -> Result<bool, Error> {
        self.check_rest(piece, 0, self.verifier.start())
    }

    /// The same, `digest` being that of the first `done` bytes.
    fn check_rest(&self, piece: Piece, done: u32, mut digest: Running) -> Result<bool, Error> {
        let at = self.geometry.piece_offset(piece) + u64::from(done);
        let rest = u64::from(self.geometry.piece_size(piece).saturating_sub(done));
        if rest > 0 {
            self.store.digest(at, rest, &mut |bytes| digest.update(bytes))?;
        }
        Ok(self.verifier.confirms(piece, digest))
    }

    /// The pieces that [`Content::check_all`] has found good, for the core.
    #[must_use]
    pub fn have(&self, good: &[bool]) -> Have {
        let mut have = Bitfield::none(&self.geometry);
        for piece in self.geometry.all().filter(|p| good.get(p.index() as usize) == Some(&true)) {
            have.set(piece);
        }
        match have.count() {
            0 => Have::None,
            _ if have.is_all() => Have::All,
            _ => Have::Some(have),
        }
    }

    /// Checks every piece, on all cores: what a download that was cut short left behind, or what a seed was given.
    /// `seen` is called from this thread with the number of pieces done, a few times a second.
    ///
    /// # Errors
    /// The first piece that can't be read ends it.
    pub fn check_all(self: &Arc<Content>, seen: &mut dyn FnMut(u32)) -> Result<Vec<bool>, Error> {
        let pieces = self.geometry.pieces();
        let good: Vec<AtomicBool> = (0..pieces).map(|_| AtomicBool::new(false)).collect();
        let next = AtomicU32::new(0);
        let work = || -> Result<(), Error> {
            while let Some(piece) = self.geometry.piece(next.fetch_add(1, Ordering::Relaxed)) {
                let ok = self.check(piece).inspect_err(|_| next.store(pieces, Ordering::Relaxed))?;
                if let Some(slot) = good.get(piece.index() as usize) {
                    slot.store(ok, Ordering::Relaxed);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let (done, ended) = std::sync::mpsc::channel();
            for _ in 0..available_parallelism().map_or(1, NonZeroUsize::get) {
                let done = done.clone();
                scope.spawn(move || done.send(work()));
            }
            drop(done);
            loop {
                match ended.recv_timeout(PROGRESS_EVERY) {
                    Ok(result) => result?,
                    Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                }
                seen(next.load(Ordering::Relaxed).min(pieces));
            }
        })?;
        Ok(good.into_iter().map(AtomicBool::into_inner).collect())
    }
}

/// Often enough for a line on a terminal.
const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Files, Layout, Source};

    fn content(dir: &std::path::Path, verifier: Verifier) -> Arc<Content> {
        let path = dir.join("f");
        std::fs::write(&path, [[1; 40_000], [2; 40_000], [3; 40_000]].concat()).unwrap();
        let store = Files::open(&[Source { path, fingerprint: None }], Layout::plain([120_000])).unwrap();
        let geometry = Geometry::new(50_000, 120_000).unwrap();
        Arc::new(Content { geometry, store: Box::new(store), verifier })
    }

    fn pieces() -> Vec<Vec<u8>> {
        let all = [[1; 40_000], [2; 40_000], [3; 40_000]].concat();
        all.chunks(50_000).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn both_lists_tell_good_from_bad() {
        let dir = tempfile::tempdir().unwrap();
        let mut sha256: Vec<[u8; 32]> = pieces().iter().map(|p| sha2::Sha256::digest(p).into()).collect();
        sha256[1][0] ^= 1;
        let got = content(dir.path(), Verifier::Sha256(sha256)).check_all(&mut |_| {}).unwrap();
        assert_eq!(got, [true, false, true]);
        let mut sha1: Vec<[u8; 20]> = pieces().iter().map(|p| sha1::Sha1::digest(p).into()).collect();
        sha1[2][19] ^= 1;
        let mut last = 0;
        let got = content(dir.path(), Verifier::Sha1(sha1)).check_all(&mut |n| last = n).unwrap();
        assert_eq!((got, last), (vec![true, true, false], 3));
    }

    #[test]
    fn a_list_for_another_number_of_pieces_is_none() {
        assert!(Verifier::from_sha256_list(&[0; 96], 3).is_some());
        assert!(Verifier::from_sha256_list(&[0; 96], 2).is_none());
        assert!(Verifier::from_sha256_list(&[0; 97], 3).is_none());
    }

    #[test]
    fn a_list_that_is_short_verifies_nothing_beyond_it() {
        let dir = tempfile::tempdir().unwrap();
        let got = content(dir.path(), Verifier::Sha256(vec![])).check_all(&mut |_| {}).unwrap();
        assert_eq!(got, [false; 3]);
    }
}
