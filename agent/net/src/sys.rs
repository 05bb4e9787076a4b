//! The package's system calls without a safe wrapper. Decides nothing.
#![allow(unsafe_code)]

use nix::libc;
#[cfg(feature = "smoltcp")]
pub(crate) use packets::{finish_frames, keep_segments_apart, packet_socket};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Bytes that the kernel may hold unsent before the socket stops being writable: what is queued can't be reconsidered.
pub(crate) fn set_notsent_lowat(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, bytes)
}

/// Bytes that must have come before the socket counts as readable; its end and its errors count at once.
pub(crate) fn set_rcvlowat(socket: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
}

fn set_option(socket: BorrowedFd<'_>, level: i32, option: i32, value: u32) -> io::Result<()> {
    let length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: value and length describe the same live u32, which the option takes for an int of its size.
    let r = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    if r == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the smoltcp driver needs of a card.
#[cfg(feature = "smoltcp")]
mod packets {
    use nix::libc;
    use std::io;
    use std::mem;
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

    /// An AF_PACKET socket that sees every frame that comes to one card, and none that leaves it.
    pub(crate) fn packet_socket(index: u32) -> io::Result<OwnedFd> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: socket(2) takes plain numbers and no memory. Protocol 0 receives nothing until bind.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        check(fd)?;
        // SAFETY: the descriptor was made by the call just before, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let yes: libc::c_int = 1;
        let length = size_of::<libc::c_int>() as libc::socklen_t;
        let option = libc::PACKET_IGNORE_OUTGOING;
        // SAFETY: value and length describe the same live int.
        check(unsafe { libc::setsockopt(fd, libc::SOL_PACKET, option, (&raw const yes).cast(), length) })?;
        // SAFETY: all-zero bytes are a valid `sockaddr_ll`, which has integers and arrays of them only.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex =
            i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: bind(2) reads `length` bytes, the size of the structure that the pointer names.
        check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
        Ok(socket)
    }

    /// `struct ethtool_value` (ethtool.h), which the libc crate does not have.
    #[repr(C)]
    struct EthtoolValue {
        command: u32,
        data: u32,
    }

    const ETHTOOL_STXCSUM: u32 = 0x17;
    const ETHTOOL_STSO: u32 = 0x1f;
    const ETHTOOL_SGSO: u32 = 0x24;
    const ETHTOOL_GFLAGS: u32 = 0x25;
    const ETHTOOL_SFLAGS: u32 = 0x26;
    const ETHTOOL_SGRO: u32 = 0x2c;
    const ETH_FLAG_LRO: u32 = 1 << 15;

    /// Turns GRO and LRO of a card off.
    pub(crate) fn keep_segments_apart(socket: &OwnedFd, card: &str) -> io::Result<()> {
        ethtool(socket, card, ETHTOOL_SGRO, 0)?;
        let flags = ethtool(socket, card, ETHTOOL_GFLAGS, 0)?;
        if flags & ETH_FLAG_LRO != 0 {
            ethtool(socket, card, ETHTOOL_SFLAGS, flags & !ETH_FLAG_LRO)?;
        }
        Ok(())
    }

    /// Turns off what the kernel leaves to a card to be done on sending.
    pub(crate) fn finish_frames(socket: &OwnedFd, card: &str) -> io::Result<()> {
        for command in [ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM] {
            ethtool(socket, card, command, 0)?;
        }
        Ok(())
    }

    /// One question or order to a card's driver; its answer.
    fn ethtool(socket: &OwnedFd, card: &str, command: u32, data: u32) -> io::Result<u32> {
        let mut value = EthtoolValue { command, data };
        // SAFETY: all-zero bytes are a valid `ifreq`: integers, arrays and a union of those with null pointers.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        if card.len() >= libc::IFNAMSIZ {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        for (to, from) in request.ifr_name.iter_mut().zip(card.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: SIOCETHTOOL reads one `ifreq`, and by its pointer reads and writes one `ethtool_value` for the commands
        // named above; both live until the call has returned.
        check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) })?;
        Ok(value.data)
    }

    fn check(result: libc::c_int) -> io::Result<()> {
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_socket_takes_the_marks_and_a_file_does_not() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = tempfile::tempfile().unwrap();
        let marks: [fn(BorrowedFd<'_>, u32) -> io::Result<()>; 2] = [set_notsent_lowat, set_rcvlowat];
        for set in marks {
            set(socket.as_fd(), 65_536).unwrap();
            assert_eq!(set(file.as_fd(), 1).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        }
    }
}
