//! The hash thread: pieces in, verdicts out, an eventfd that wakes the network thread. Decides only who hashes: on one core
//! a thread would take turns with the network thread for nothing, and where pieces come one by one each would cost two
//! wake-ups.

use super::landing::Begun;
use super::{Content, Landing};
use crate::storage::Error;
use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::Piece;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

/// A verdict. `torrent` is the caller's own number, handed back.
pub(crate) struct Checked {
    pub(crate) torrent: u32,
    pub(crate) piece: Piece,
    pub(crate) result: Result<bool, Error>,
}

struct Job {
    torrent: u32,
    content: Arc<Content>,
    begun: Begun,
}

impl Job {
    fn run(self) -> Checked {
        Checked { torrent: self.torrent, piece: self.begun.piece, result: self.begun.check(&self.content) }
    }
}

/// Pieces are hashed by the network thread if one comes at least so many times later than the one before as its hash may
/// take: a twentieth of that thread's time is no delay for anybody. At 100 Mbit/s this is so, at 1 Gbit/s it is not.
const LEISURE: u64 = 20;
/// Bytes a second that any processor hashes which has instructions for it.
const HASH_RATE: u64 = 1_000_000_000;
/// More than this at once would keep packets waiting.
const AT_ONCE: u32 = 256 * 1024;

/// Hashes pieces. What is queued is bounded by the core: a piece waits for its verdict before it is asked for again.
pub(crate) struct Hasher {
    thread: Option<(Sender<Job>, JoinHandle<()>)>,
    verdicts: Receiver<Checked>,
    woken: Arc<EventFd>,
    /// When the last piece came.
    last: Time,
}

impl Hasher {
    pub(crate) fn new() -> io::Result<Hasher> {
        let woken = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (done, verdicts) = channel();
        let mut hasher = Hasher { thread: None, verdicts, woken, last: Time(0) };
        if available_parallelism().is_ok_and(|n| n > NonZeroUsize::MIN) {
            let (jobs, queue) = channel::<Job>();
            let woken = Arc::clone(&hasher.woken);
            let work = move || {
                for job in queue {
                    if done.send(job.run()).is_err() {
                        return;
                    }
                    // EAGAIN means that the counter is full, so the reader has been woken already.
                    let _ = woken.write(1);
                }
            };
            let thread = std::thread::Builder::new().name("hash".into()).spawn(work)?;
            hasher.thread = Some((jobs, thread));
        }
        Ok(hasher)
    }

    /// The descriptor that is readable when a verdict is there.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.woken.as_fd()
    }

    /// The verdict, or none: it comes later, by [`Hasher::next`].
    pub(crate) fn check(
        &mut self,
        torrent: u32,
        landing: &mut Landing,
        piece: Piece,
        now: Time,
    ) -> Option<Checked> {
        let pause = now.since(std::mem::replace(&mut self.last, now));
        let size = landing.content.geometry.piece_size(piece);
        landing.follows = self.thread.is_none() || is_leisurely(size, pause);
        let begun = landing.take(piece);
        let rest = begun.rest(&landing.content);
        let job = Job { torrent, content: Arc::clone(&landing.content), begun };
        match &self.thread {
            // A thread that is gone (it can only have panicked) hands the work back.
            Some((jobs, _)) if !is_at_once(rest, landing.follows) => {
                jobs.send(job).err().map(|back| back.0.run())
            }
            _ => Some(job.run()),
        }
    }

    pub(crate) fn next(&self) -> Option<Checked> {
        self.verdicts.try_recv().ok()
    }

    /// Takes the wake-up back; call before reading verdicts, so that none is missed.
    pub(crate) fn acknowledge(&self) {
        // EAGAIN: nobody had woken us.
        let _: Result<u64, Errno> = self.woken.read();
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        if let Some((jobs, thread)) = self.thread.take() {
            drop(jobs);
            let _ = thread.join();
        }
    }
}

/// Whether the network thread hashes the `rest` bytes that a piece's digest lacks.
fn is_at_once(rest: u32, leisurely: bool) -> bool {
    rest == 0 || leisurely && rest <= AT_ONCE
}

fn is_leisurely(bytes: u32, pause: Duration) -> bool {
    let needed = Duration::from_micros(u64::from(bytes) * LEISURE * 1_000_000 / HASH_RATE);
    pause >= needed
}

#[cfg(test)]
mod tests {
    use super::super::landing::tests::landing;
    use super::*;

    #[test]
    fn a_fast_link_has_a_thread_and_a_slow_one_needs_none() {
        let between = |piece: u32, bits_s: u64| Duration::from_micros(u64::from(piece) * 8_000_000 / bits_s);
        for piece in [16 << 10, 128 << 10, 256 << 10, 1 << 20] {
            assert!(is_leisurely(piece, between(piece, 100_000_000)), "{piece}");
            assert!(!is_leisurely(piece, between(piece, 1_000_000_000)), "{piece}");
        }
        assert!(is_at_once(AT_ONCE, true) && !is_at_once(AT_ONCE + 1, true));
        assert!(!is_at_once(1, false) && is_at_once(0, false), "what is hashed already waits for nobody");
    }

    #[test]
    fn pieces_are_followed_while_they_come_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut landing, mut hasher) = (landing(&folder), Hasher::new().unwrap());
        let piece = landing.content.geometry.piece(0).unwrap();
        let alone = hasher.thread.is_none();
        let mut now = Time(0);
        for (pause, follows) in [(1_000, alone), (100_000, true), (1_000, alone)] {
            now = now + Duration::from_micros(pause);
            let verdict = hasher.check(0, &mut landing, piece, now);
            assert_eq!((landing.follows, verdict.is_some()), (follows, follows), "after {pause} us");
        }
    }
}
