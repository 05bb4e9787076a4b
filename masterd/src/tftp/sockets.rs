//! Sockets of the TFTP server: requests with the address that they were sent to, and windows of blocks at once.
//! Decides how bytes reach the kernel cheaply, never which bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};

use super::limits::{DATAGRAM_BYTES, REQUEST_BYTES};
use super::packet::{DATA_HEADER, data_header};

/// Blocks that one call may carry: the kernel's UDP_MAX_SEGMENTS was 64 until Linux 6.8.
const BLOCKS_PER_CALL: usize = 64;

/// A packet at port 69.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) from: SocketAddrV4,
    /// Our address that it was sent to, from which the transfer will be served.
    pub(super) local: Ipv4Addr,
    /// It was sent to everybody, and nobody answers that (RFC 1123 section 4.2.3.5).
    pub(super) broadcast: bool,
    pub(super) length: usize,
}

/// Asks the kernel to tell the destination of each packet.
pub(super) fn prepare(socket: &UdpSocket) -> io::Result<()> {
    setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?;
    Ok(())
}

/// The buffer holds one byte more than a request, so that a longer one is seen to be longer.
pub(super) type RequestBuffer = [u8; REQUEST_BYTES + 1];

/// The next packet, or `None` if there is none (or none over IPv4).
pub(super) fn receive(socket: &UdpSocket, buffer: &mut RequestBuffer) -> io::Result<Option<Arrival>> {
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let mut into = [IoSliceMut::new(buffer)];
    let message = match recvmsg::<SockaddrIn>(
        socket.as_raw_fd(),
        &mut into,
        Some(&mut control),
        MsgFlags::MSG_DONTWAIT,
    ) {
        Ok(message) => message,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let Some(from) = message.address else { return Ok(None) };
    let mut arrival = Arrival {
        from: SocketAddrV4::new(from.ip(), from.port()),
        local: Ipv4Addr::UNSPECIFIED,
        broadcast: false,
        length: message.bytes,
    };
    for part in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = part {
            arrival.local = Ipv4Addr::from_bits(u32::from_be(info.ipi_spec_dst.s_addr));
            arrival.broadcast = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
        }
    }
    Ok(Some(arrival))
}

/// A socket of its own for one transfer. It is not connected: a packet from another port must be told so (error 5).
pub(super) fn open_transfer(local: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(local, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Blocks on their way.
#[derive(Debug)]
pub(super) struct Window<'a> {
    pub(super) first: u64,
    pub(super) count: u16,
    pub(super) block_size: u16,
    /// All blocks without their headers; the last may be short or empty.
    pub(super) data: &'a [u8],
}

/// Sends a window in as few calls as the kernel allows. `segmented` is cleared once the kernel has refused to cut
/// one buffer into packets on this path. What does not fit into the socket's buffer is lost as on any network, and
/// repeated as such.
pub(super) fn send(
    socket: &UdpSocket,
    to: SocketAddrV4,
    window: &Window<'_>,
    segmented: &mut bool,
) -> nix::Result<()> {
    let size = usize::from(window.block_size);
    let headers: Vec<_> = (window.first..window.first + u64::from(window.count)).map(data_header).collect();
    let blocks = window.data.chunks(size).chain(std::iter::repeat(&[][..]));
    let parts: Vec<_> = headers
        .iter()
        .zip(blocks)
        .flat_map(|(header, block)| [IoSlice::new(header), IoSlice::new(block)])
        .collect();
    let at_once = BLOCKS_PER_CALL.min(DATAGRAM_BYTES / (size + DATA_HEADER)).max(1);
    let to = SockaddrIn::from(to);
    let segment = window.block_size + DATA_HEADER as u16;
    for call in parts.chunks(2 * at_once) {
        if *segmented && call.len() > 2 {
            let control = [ControlMessage::UdpGsoSegments(&segment)];
            match sendmsg(socket.as_raw_fd(), call, &control, MsgFlags::MSG_DONTWAIT, Some(&to)) {
                // A path with a smaller frame, or a device that cannot: one by one, then.
                Err(Errno::EINVAL | Errno::EIO | Errno::EMSGSIZE | Errno::EOPNOTSUPP) => *segmented = false,
                other => {
                    lost_is_fine(other)?;
                    continue;
                }
            }
        }
        for packet in call.chunks(2) {
            lost_is_fine(sendmsg(socket.as_raw_fd(), packet, &[], MsgFlags::MSG_DONTWAIT, Some(&to)))?;
        }
    }
    Ok(())
}

fn lost_is_fine(sent: nix::Result<usize>) -> nix::Result<()> {
    match sent {
        Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => Ok(()),
        Err(e) => Err(e),
    }
}
