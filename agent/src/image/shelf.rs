//! The image's storage over its two lives: written to while it arrives, only read once it is whole.
//!
//! Decides when it turns from one into the other. kexec_file_load and exec refuse a file that anybody may still write
//! to (ETXTBSY); peers are served from the very same pages before and after.

use std::os::fd::BorrowedFd;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use boottorrent_net::storage::{Download, Error, Files, Layout, Part, SendError, Source, Store};

use super::Laid;

pub(crate) struct Shelf {
    store: RwLock<Box<dyn Store>>,
    layout: Layout,
    sources: Vec<Source>,
}

impl Shelf {
    pub(super) fn new(download: Download, layout: Layout, laid: &Laid) -> Self {
        let sources =
            laid.paths().into_iter().map(|path| Source { path: path.clone(), fingerprint: None }).collect();
        Self { store: RwLock::new(Box::new(download)), layout, sources }
    }

    /// From now on nobody writes.
    pub(crate) fn seal(&self) -> Result<(), Error> {
        let files = Files::open(&self.sources, self.layout.clone())?;
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Box::new(files);
        Ok(())
    }

    fn store(&self) -> RwLockReadGuard<'_, Box<dyn Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the swarm holds of a shelf that the stages hold too.
pub(crate) struct Shared(pub(crate) std::sync::Arc<Shelf>);

impl Store for Shared {
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.0.store().write(at, bytes)
    }

    fn send(
        &self,
        socket: BorrowedFd<'_>,
        parts: &[Part<'_>],
        scratch: &mut Vec<u8>,
    ) -> Result<usize, SendError> {
        self.0.store().send(socket, parts, scratch)
    }

    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.0.store().digest(at, length, sink)
    }
}
