//! A network card's frames by a packet socket. Decides nothing. Never panics on an I/O error (smoltcp's own RawSocket
//! does): a frame lost here is a frame lost.
//!
//! The card's kernel must have no IPv4 address: it would answer for the connections of this program, with resets.

use super::ethernet::Frames;
use crate::sys;
use boottorrent_swarm::Mac;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes of one read: a frame of the usual MTU with a VLAN's tag. A longer one is cut, and then its check sum is wrong.
const FRAME: usize = 1518;

/// Frames to and from one card.
pub struct PacketLink {
    socket: File,
    mac: Mac,
}

impl PacketLink {
    /// Opens the card, and asks it not to join segments: a joined one is longer than any frame. That the sender leaves
    /// check sums to its card must be seen to on its side, where the two are the same machine.
    ///
    /// # Errors
    /// No such card, no right to its frames, or it can't be kept from joining segments.
    pub fn open(card: &str) -> io::Result<PacketLink> {
        let index = if_nametoindex(card)?;
        let mac = getifaddrs()?
            .filter(|i| i.interface_name == card)
            .find_map(|i| i.address?.as_link_addr()?.addr())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no Ethernet card"))?;
        let socket = sys::packet_socket(index)?;
        sys::keep_segments_apart(&socket, card)?;
        Ok(PacketLink { socket: File::from(socket), mac: Mac(mac) })
    }

    #[must_use]
    pub fn mac(&self) -> Mac {
        self.mac
    }
}

/// Has the kernel finish every frame that it sends by this card: segments cut, check sums made. For the near end of a
/// virtual cable, at whose far end somebody reads frames as they are.
///
/// # Errors
/// No such card, no right to it, or it can't be told.
pub fn finish_frames(card: &str) -> io::Result<()> {
    let socket = sys::packet_socket(if_nametoindex(card)?)?;
    sys::finish_frames(&socket, card)
}

impl AsFd for PacketLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Frames for PacketLink {
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        frame.resize(FRAME, 0);
        match self.socket.read(frame) {
            Ok(length) => {
                frame.truncate(length);
                true
            }
            // Nothing has come, or the card is down: then nothing will.
            Err(_) => false,
        }
    }

    fn send(&mut self, frame: &[u8]) {
        // A full queue or a card that is down: TCP's own repetition is the answer.
        let _ = self.socket.write(frame);
    }
}
