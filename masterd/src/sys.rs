//! The one place of this package with unsafe code: system calls for which no safe wrapper exists.
//! It decides nothing; each function does one thing and says which rule it keeps.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that the service manager handed to this process (sd_listen_fds(3)).
pub(crate) fn inherited_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: ownership: sd_listen_fds(3) gives descriptors from 3 upward to this process alone, they are open, and
    // `service::sockets::inherited` takes each of them once, before anything else of this process opened any.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
