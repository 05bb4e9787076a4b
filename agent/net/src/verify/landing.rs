//! Received bytes on their way to their place. Digests of pieces that come in order are carried on meanwhile, out of the
//! nearest cache, so that such a piece is not read again. Never decides whether a byte is wanted.

use super::{Content, Running};
use crate::storage::Error;
use boottorrent_swarm::metainfo::{Block, Piece};
use std::sync::Arc;

/// Pieces that are followed at a time: a node takes from a few peers at once, a piece from each.
const FOLLOWED_MAX: usize = 8;

/// The digest of a piece's first bytes.
pub(crate) struct Begun {
    pub(super) piece: Piece,
    /// Bytes.
    done: u32,
    digest: Running,
}

impl Begun {
    fn new(piece: Piece, content: &Content) -> Begun {
        Begun { piece, done: 0, digest: content.verifier.start() }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.done += u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    }

    /// Bytes that the digest lacks.
    pub(crate) fn rest(&self, content: &Content) -> u32 {
        content.geometry.piece_size(self.piece) - self.done
    }

    /// Whether the piece's bytes are the promised ones; what the digest lacks is read.
    ///
    /// # Errors
    /// The bytes can't be read.
    pub(crate) fn check(self, content: &Content) -> Result<bool, Error> {
        content.check_rest(self.piece, self.done, self.digest)
    }
}

/// Where one torrent's bytes arrive.
pub(crate) struct Landing {
    pub(crate) content: Arc<Content>,
    /// Whether pieces that begin from now on are followed: not where another core has to hash them.
    pub(crate) follows: bool,
    /// The oldest first.
    begun: Vec<Begun>,
}

impl Landing {
    pub(crate) fn new(content: Arc<Content>, follows: bool) -> Landing {
        Landing { content, follows, begun: Vec::new() }
    }

    /// Puts bytes of a block, which `done` others of it have preceded, to their place.
    ///
    /// # Errors
    /// They can't be written.
    pub(crate) fn write(&mut self, block: Block, done: u32, bytes: &[u8]) -> Result<(), Error> {
        let offset = block.offset + done;
        let at = self.content.geometry.piece_offset(block.piece) + u64::from(offset);
        self.content.store.write(at, bytes)?;
        self.follow(block.piece, offset, bytes);
        Ok(())
    }

    fn follow(&mut self, piece: Piece, offset: u32, bytes: &[u8]) {
        let known = self.begun.iter().position(|begun| begun.piece == piece);
        match known.and_then(|n| Some((n, self.begun.get_mut(n)?))) {
            Some((_, begun)) if offset == begun.done => begun.update(bytes),
            // What lies behind a gap is read when the piece is complete.
            Some((_, begun)) if offset > begun.done => {}
            // A block that was lost in the middle, or the piece, comes again.
            Some((n, _)) => {
                self.begun.remove(n);
                self.begin(piece, offset, bytes);
            }
            None => self.begin(piece, offset, bytes),
        }
    }

    fn begin(&mut self, piece: Piece, offset: u32, bytes: &[u8]) {
        if offset > 0 || !self.follows {
            return;
        }
        if self.begun.len() >= FOLLOWED_MAX {
            self.begun.remove(0);
        }
        let mut begun = Begun::new(piece, &self.content);
        begun.update(bytes);
        self.begun.push(begun);
    }

    /// The piece is complete: its digest as far as it got.
    pub(crate) fn take(&mut self, piece: Piece) -> Begun {
        match self.begun.iter().position(|begun| begun.piece == piece) {
            Some(at) => self.begun.remove(at),
            None => Begun::new(piece, &self.content),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::storage::{Backing, Download, Layout};
    use crate::verify::Verifier;
    use boottorrent_swarm::metainfo::{BLOCK, Geometry};
    use sha1::Digest as _;

    const PIECE: u32 = 4 * BLOCK;

    fn bytes(piece: u32) -> Vec<u8> {
        (0..PIECE).map(|n| (n / 7 + piece) as u8).collect()
    }

    /// Two pieces, nothing there yet.
    pub(crate) fn landing(folder: &tempfile::TempDir) -> Landing {
        let backing = Backing { path: folder.path().join("f"), size: u64::from(2 * PIECE) };
        let store = Download::open(&[backing], Layout::plain([u64::from(2 * PIECE)])).unwrap();
        let verifier = Verifier::Sha256((0..2).map(|n| sha2::Sha256::digest(bytes(n)).into()).collect());
        let geometry = Geometry::new(PIECE, u64::from(2 * PIECE)).unwrap();
        Landing::new(Arc::new(Content { geometry, store: Box::new(store), verifier }), true)
    }

    /// Bytes `from..to` of one of its blocks arrive.
    fn arrive(landing: &mut Landing, piece: u32, block: u32, from: u32, to: u32, whole: &[u8]) {
        let offset = block * BLOCK;
        let here = &whole[(offset + from) as usize..(offset + to) as usize];
        let block = Block { piece: landing.content.geometry.piece(piece).unwrap(), offset, length: BLOCK };
        landing.write(block, from, here).unwrap();
    }

    /// Bytes that had to be read again, and the verdict.
    fn judged(landing: &mut Landing, piece: u32) -> (u32, bool) {
        let begun = landing.take(landing.content.geometry.piece(piece).unwrap());
        (begun.rest(&landing.content), begun.check(&landing.content).unwrap())
    }

    #[test]
    fn what_comes_in_order_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut landing = landing(&folder);
        // Two peers, block by block in turns, and none of the blocks at once.
        for block in 0..4 {
            for piece in [0, 1] {
                arrive(&mut landing, piece, block, 0, 1000, &bytes(piece));
                arrive(&mut landing, piece, block, 1000, BLOCK, &bytes(piece));
            }
        }
        let mut wrong = bytes(0);
        assert_eq!([judged(&mut landing, 0), judged(&mut landing, 1)], [(0, true); 2]);
        wrong[usize::try_from(PIECE).unwrap() - 1] ^= 1;
        (0..4).for_each(|block| arrive(&mut landing, 0, block, 0, BLOCK, &wrong));
        assert_eq!(judged(&mut landing, 0), (0, false));
        (0..4).for_each(|block| arrive(&mut landing, 0, block, 0, BLOCK, &bytes(0)));
        assert_eq!(judged(&mut landing, 0), (0, true), "and once more from the beginning");
    }

    #[test]
    fn what_comes_otherwise_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut landing = landing(&folder);
        for block in [0, 2, 1, 3] {
            arrive(&mut landing, 0, block, 0, BLOCK, &bytes(0));
        }
        assert_eq!(judged(&mut landing, 0), (2 * BLOCK, true), "behind the gap");
        landing.follows = false;
        (0..4).for_each(|block| arrive(&mut landing, 1, block, 0, BLOCK, &bytes(1)));
        assert_eq!(judged(&mut landing, 1), (PIECE, true));
    }

    #[test]
    fn a_block_that_broke_off_counts_as_it_came_the_second_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut landing = landing(&folder);
        let lie = vec![0xff; PIECE as usize];
        arrive(&mut landing, 0, 0, 0, BLOCK, &bytes(0));
        arrive(&mut landing, 0, 1, 0, 5000, &lie);
        (1..4).for_each(|block| arrive(&mut landing, 0, block, 0, BLOCK, &bytes(0)));
        assert_eq!(judged(&mut landing, 0), (PIECE, true));
        // And so does a lie: what is on the disk is what was hashed.
        arrive(&mut landing, 1, 0, 0, 5000, &bytes(1));
        (0..4).for_each(|block| arrive(&mut landing, 1, block, 0, BLOCK, &lie));
        assert_eq!(judged(&mut landing, 1), (0, false));
    }

    #[test]
    fn only_so_many_pieces_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let mut landing = landing(&folder);
        for _ in 0..FOLLOWED_MAX {
            landing.begun.push(Begun::new(landing.content.geometry.piece(1).unwrap(), &landing.content));
        }
        arrive(&mut landing, 0, 0, 0, BLOCK, &bytes(0));
        assert_eq!(landing.begun.len(), FOLLOWED_MAX);
    }
}
