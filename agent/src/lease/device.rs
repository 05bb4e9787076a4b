//! A network card as smoltcp sees it: whole frames on a packet socket.
//!
//! Decides nothing. Never panics on an I/O error (smoltcp's own RawSocket does): a frame lost here is a frame lost.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{DhcpPacket, EthernetAddress, Ipv4Address};

use super::reply::{Word, dhcp_message, is_anonymous, word};

/// An Ethernet frame without a tag: DHCP fits (RFC 2131, 2: 576 bytes, or what option 57 says).
const MAX_FRAME: usize = 1514;
/// Useless frames that are read in a row before the clock is looked at again.
const MAX_PASSED_OVER: usize = 64;

pub(super) struct Device {
    socket: File,
    mac: EthernetAddress,
    /// The last DHCP message for us that came in: smoltcp keeps only part of what the lease says.
    last_reply: Vec<u8>,
    heard: Heard,
}

/// What servers have said that led to no lease, the last of each kind.
#[derive(Default)]
pub(super) struct Heard {
    /// Server and address.
    pub(super) offer: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The same, of an offer that was passed over.
    pub(super) unusable: Option<(Ipv4Addr, Ipv4Addr)>,
    pub(super) refusal: Option<String>,
}

impl Device {
    pub(super) fn new(socket: OwnedFd, mac: EthernetAddress) -> Self {
        Self { socket: File::from(socket), mac, last_reply: Vec::new(), heard: Heard::default() }
    }

    /// What was heard since the last call.
    pub(super) fn take_heard(&mut self) -> Heard {
        std::mem::take(&mut self.heard)
    }

    /// Notes what a server says to us; false: it must not get further.
    fn listen(&mut self, message: &[u8]) -> bool {
        match word(message) {
            Some(Word::Offer { server, address, usable: false }) => {
                self.heard.unusable = Some((server, address));
                return false;
            }
            Some(Word::Offer { server, address, usable: true }) => self.heard.offer = Some((server, address)),
            Some(Word::Refusal(sentence)) => self.heard.refusal = Some(sentence),
            None => {}
        }
        self.last_reply = message.to_vec();
        true
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
        for _ in 0..MAX_PASSED_OVER {
            let length = self.socket.read(&mut frame).ok().filter(|length| *length > 0)?;
            let bytes = frame.get(..length)?;
            if !is_anonymous(bytes)
                && dhcp_message(bytes, self.mac).is_none_or(|message| self.listen(message))
            {
                frame.truncate(length);
                return Some((Received(frame), Sending(&self.socket)));
            }
        }
        None
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
