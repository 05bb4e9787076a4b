//! The package's system calls without a safe wrapper: shared mappings of files, and vectored socket I/O into and out of
//! them. Decides nothing; offsets are checked here, so that no caller can name memory outside a mapping.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A whole file, mapped shared and writable.
///
/// The house rule that makes its safe face sound: a range is written (by [`receive`] or [`Mapping::store`]) only while no
/// `&[u8]` of it exists. The core keeps it: a block is admitted from one link only, and never for a piece whose
/// verification has been asked for; readers (hashing, sending) touch such pieces only.
pub(crate) struct Mapping {
    base: NonNull<u8>,
    length: NonZeroUsize,
}

// SAFETY: the mapping is plain memory owned by this value, which no thread-local state refers to.
unsafe impl Send for Mapping {}
// SAFETY: shared access follows the one-writer rule in the type's own comment, whatever the thread.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes, which must be allocated: a hole that can't be filled later is a SIGBUS.
    pub(crate) fn new(file: &File, length: NonZeroUsize) -> io::Result<Mapping> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so the kernel picks a range that overlaps nothing of ours.
        let base = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Mapping { base: base.cast(), length })
    }

    fn at(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let inside = offset.checked_add(length)? <= self.length.get();
        // SAFETY: `offset` was just checked to lie inside the mapping.
        inside.then(|| unsafe { self.base.add(offset) })
    }

    /// A range to receive into; none if it leaves the mapping.
    pub(crate) fn target(&self, offset: usize, length: usize) -> Option<Target<'_>> {
        self.at(offset, length).map(|at| Target::raw(at, length))
    }

    /// The bytes of a range that nobody writes any more; none if it leaves the mapping.
    pub(crate) fn bytes(&self, offset: usize, length: usize) -> Option<&[u8]> {
        let at = self.at(offset, length)?;
        // SAFETY: in bounds and initialised (file pages are), and not written while borrowed by the one-writer rule.
        Some(unsafe { std::slice::from_raw_parts(at.as_ptr(), length) })
    }

    /// Copies what was read along with a frame's header; false if the range leaves the mapping.
    pub(crate) fn store(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(at) = self.at(offset, bytes.len()) else { return false };
        // SAFETY: in bounds, `bytes` is no part of the mapping, and no slice of the range exists by the one-writer rule.
        unsafe { at.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        true
    }

    /// Brings the pages of a range in with one call instead of a fault for each. Only a hint: kernels before 5.14 refuse.
    pub(crate) fn populate(&self, offset: usize, length: usize) {
        let page = 4096;
        let first = offset / page * page;
        let Some(at) = self.at(first, (offset + length).min(self.length.get()).saturating_sub(first)) else {
            return;
        };
        let length = (offset + length).min(self.length.get()) - first;
        // SAFETY: a page-aligned range inside the mapping; populating changes no byte of it.
        unsafe { libc::madvise(at.as_ptr().cast(), length, libc::MADV_POPULATE_WRITE) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: base and length are those that mmap returned; every borrow of the mapping has ended.
        let _ = unsafe { munmap(self.base.cast(), self.length.get()) };
    }
}

/// A piece of memory that a socket's bytes may be received into.
#[repr(transparent)]
pub(crate) struct Target<'a> {
    raw: libc::iovec,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Target<'a> {
    fn raw(at: NonNull<u8>, length: usize) -> Target<'a> {
        Target { raw: libc::iovec { iov_base: at.as_ptr().cast(), iov_len: length }, memory: PhantomData }
    }

    pub(crate) fn buffer(bytes: &'a mut [u8]) -> Target<'a> {
        let length = bytes.len();
        Target::raw(NonNull::from(bytes).cast(), length)
    }
}

/// readv(2) of a socket into `targets`, in order.
pub(crate) fn receive(socket: BorrowedFd<'_>, targets: &mut [Target<'_>]) -> io::Result<usize> {
    let count = libc::c_int::try_from(targets.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: Target is transparent over iovec, and each holds the borrow of memory that may be written.
    let n = unsafe { libc::readv(socket.as_raw_fd(), targets.as_ptr().cast(), count) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Bytes that the kernel may hold unsent before the socket stops being writable: what is queued can't be reconsidered.
pub(crate) fn set_notsent_lowat(socket: impl AsFd, bytes: u32) -> io::Result<()> {
    let length = size_of::<u32>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: value and length describe the same live u32.
    let r = unsafe {
        libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, (&raw const bytes).cast(), length)
    };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_mapping_takes_bytes_from_a_socket_and_no_range_leaves_it() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10_000).unwrap();
        let mapping = Mapping::new(&file, NonZeroUsize::new(10_000).unwrap()).unwrap();
        let (mut a, b) = UnixStream::pair().unwrap();
        a.write_all(b"payload|next").unwrap();
        let mut spill = [0; 5];
        let mut targets = [mapping.target(9_993, 7).unwrap(), Target::buffer(&mut spill)];
        assert_eq!(receive(b.as_fd(), &mut targets).unwrap(), 12);
        assert_eq!((mapping.bytes(9_993, 7).unwrap(), &spill), (&b"payload"[..], b"|next"));
        assert!(mapping.target(9_994, 7).is_none() && mapping.bytes(usize::MAX, 1).is_none());
        assert!(mapping.store(0, b"x") && !mapping.store(10_000, b"x"));
        mapping.populate(4_000, 6_000);
        assert_eq!(mapping.bytes(0, 1), Some(&b"x"[..]));
    }
}
