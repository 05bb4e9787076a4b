//! A network card as smoltcp sees it: whole frames on a packet socket.
//!
//! Decides nothing. Never panics on an I/O error (smoltcp's own RawSocket does): a frame lost here is a frame lost.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{DhcpPacket, EthernetAddress, Ipv4Address};

use super::reply::dhcp_message;

/// An Ethernet frame without a tag: DHCP fits (RFC 2131, 2: 576 bytes, or what option 57 says).
const MAX_FRAME: usize = 1514;

pub(super) struct Device {
    socket: File,
    mac: EthernetAddress,
    /// The last DHCP message for us that came in: smoltcp keeps only part of what the lease says.
    last_reply: Vec<u8>,
}

impl Device {
    pub(super) fn new(socket: OwnedFd, mac: EthernetAddress) -> Self {
        Self { socket: File::from(socket), mac, last_reply: Vec::new() }
    }

    /// The last DHCP message that gave us this address.
    pub(super) fn reply(&self, address: Ipv4Address) -> Option<DhcpPacket<&[u8]>> {
        let packet = DhcpPacket::new_checked(self.last_reply.as_slice()).ok()?;
        (packet.your_ip() == address).then_some(packet)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl phy::Device for Device {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        let mut frame = vec![0; MAX_FRAME];
        let length = self.socket.read(&mut frame).ok().filter(|length| *length > 0)?;
        frame.truncate(length);
        if let Some(message) = dhcp_message(&frame, self.mac) {
            self.last_reply = message.to_vec();
        }
        Some((Received(frame), Sending(&self.socket)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending(&self.socket))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        // A frame from a virtual card of the same machine carries no finished UDP checksum: the sender left it to
        // hardware that does not exist. Ethernet's own sum has covered the rest.
        capabilities.checksum.udp = Checksum::Tx;
        capabilities
    }
}

pub(super) struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub(super) struct Sending<'a>(&'a File);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        let mut socket = self.0;
        let _ = socket.write(&frame); // a card that is down or busy: the client's retry is the answer
        result
    }
}
