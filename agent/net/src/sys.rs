//! The package's one system call without a safe wrapper. Decides nothing.
#![allow(unsafe_code)]

use nix::libc;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

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

    #[test]
    fn a_socket_takes_the_mark_and_a_file_does_not() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        set_notsent_lowat(&socket, 65_536).unwrap();
        assert_eq!(
            set_notsent_lowat(tempfile::tempfile().unwrap(), 1).unwrap_err().raw_os_error(),
            Some(libc::ENOTSOCK)
        );
    }
}
