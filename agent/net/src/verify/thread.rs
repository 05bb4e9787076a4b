//! The hash thread: pieces in, verdicts out, an eventfd that wakes the network thread. Decides only whether there is
//! such a thread at all: on one core it would take turns with the network thread for nothing.

use super::Content;
use crate::storage::Error;
use boottorrent_swarm::metainfo::Piece;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, available_parallelism};

/// A verdict. `torrent` is the caller's own number, handed back.
pub(crate) struct Checked {
    pub(crate) torrent: u32,
    pub(crate) piece: Piece,
    pub(crate) result: Result<bool, Error>,
}

struct Job {
    torrent: u32,
    content: Arc<Content>,
    piece: Piece,
}

impl Job {
    fn run(self) -> Checked {
        Checked { torrent: self.torrent, piece: self.piece, result: self.content.check(self.piece) }
    }
}

/// Hashes pieces. What is queued is bounded by the core: a piece waits for its verdict before it is asked for again.
pub(crate) struct Hasher {
    thread: Option<(Sender<Job>, JoinHandle<()>)>,
    /// Verdicts of the thread, or of this thread where there is no other.
    verdicts: Receiver<Checked>,
    own: Sender<Checked>,
    woken: Arc<EventFd>,
}

impl Hasher {
    pub(crate) fn new() -> io::Result<Hasher> {
        let woken = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (own, verdicts) = channel();
        let mut hasher = Hasher { thread: None, verdicts, own, woken };
        if available_parallelism().is_ok_and(|n| n > NonZeroUsize::MIN) {
            let (jobs, queue) = channel::<Job>();
            let (done, woken) = (hasher.own.clone(), Arc::clone(&hasher.woken));
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

    pub(crate) fn check(&self, torrent: u32, content: &Arc<Content>, piece: Piece) {
        let job = Job { torrent, content: Arc::clone(content), piece };
        // A thread that is gone (it can only have panicked) hands the work to this one.
        let rest = match &self.thread {
            Some((jobs, _)) => jobs.send(job).err().map(|back| back.0),
            None => Some(job),
        };
        if let Some(job) = rest {
            let _ = self.own.send(job.run());
            let _ = self.woken.write(1);
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
