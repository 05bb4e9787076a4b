//! The one place of this package with unsafe code: system calls for which no safe wrapper exists.
//! It decides nothing; each function does one thing and says which rule it keeps.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that the service manager handed to this process (sd_listen_fds(3)).
pub(crate) fn inherited_fd(fd: RawFd) -> OwnedFd {
    // SAFETY: ownership: sd_listen_fds(3) gives descriptors from 3 upward to this process alone, they are open, and
    // `service::sockets::inherited` takes each of them once, before anything else of this process opened any.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Lets a raw ICMPv6 socket receive these types only (RFC 3542 section 3.2).
pub(crate) fn pass_icmp6(socket: BorrowedFd<'_>, types: &[u8]) -> io::Result<()> {
    /// Linux' name for RFC 3542's ICMP6_FILTER; libc has none.
    const ICMPV6_FILTER: libc::c_int = 1;
    // A bit that is set blocks its type.
    let mut blocked = [u32::MAX; 8];
    for kind in types {
        blocked[usize::from(kind / 32)] &= !(1 << (kind % 32));
    }
    // SAFETY: the pointer and the length are those of `blocked`, which has the layout of struct icmp6_filter (eight
    // 32-bit words) and outlives the call; the kernel only reads from it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_ICMPV6,
            ICMPV6_FILTER,
            blocked.as_ptr().cast(),
            size_of_val(&blocked) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Rows and columns of a terminal (tty_ioctl(4)).
pub(crate) fn window_size(terminal: BorrowedFd<'_>) -> io::Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one struct winsize to its pointer, which is that of `size` and outlives the call.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if result == 0 { Ok((size.ws_row, size.ws_col)) } else { Err(io::Error::last_os_error()) }
}
