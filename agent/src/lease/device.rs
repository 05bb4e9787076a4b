//! A network card as smoltcp sees it: whole frames on a packet socket.
//!
//! Decides nothing. Never panics on an I/O error (smoltcp's own RawSocket does): a frame lost here is a frame lost.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{DhcpPacket, EthernetAddress, EthernetFrame, Ipv4Address, Ipv4Packet, UdpPacket};

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

/// The DHCP message of a frame, if it gives `mac` an address. In a storm of nodes the answers to others, which are
/// broadcast, come right behind ours.
fn dhcp_message(frame: &[u8], mac: EthernetAddress) -> Option<&[u8]> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    let packet = DhcpPacket::new_checked(udp.payload()).ok()?;
    let ours = packet.client_hardware_address() == mac && !packet.your_ip().is_unspecified();
    (udp.dst_port() == 68 && ours).then(|| udp.payload())
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

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    /// A broadcast frame with a DHCP message that gives `address` to `mac`.
    fn frame(mac: EthernetAddress, address: [u8; 4]) -> Vec<u8> {
        let mut dhcp = vec![0; 241];
        dhcp[..3].copy_from_slice(&[2, 1, 6]);
        dhcp[16..20].copy_from_slice(&address);
        dhcp[28..34].copy_from_slice(mac.as_bytes());
        dhcp[236..241].copy_from_slice(&[0x63, 0x82, 0x53, 0x63, 255]);
        let mut bytes = vec![0; 42];
        bytes[..14].copy_from_slice(&[255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 0]);
        bytes[14] = 0x45;
        bytes[16..18].copy_from_slice(&(28 + dhcp.len() as u16).to_be_bytes());
        bytes[23] = 17;
        bytes[34..38].copy_from_slice(&[0, 67, 0, 68]);
        bytes[38..40].copy_from_slice(&(8 + dhcp.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&dhcp);
        bytes
    }

    #[test]
    fn answers_to_other_nodes_are_not_ours() {
        let message = dhcp_message(&frame(OURS, [10, 0, 0, 9]), OURS).map(<[u8]>::len);
        assert_eq!(message, Some(241));
        assert_eq!(dhcp_message(&frame(EthernetAddress([2, 0, 0, 0, 0, 2]), [10, 0, 0, 8]), OURS), None);
        assert_eq!(dhcp_message(&frame(OURS, [0; 4]), OURS), None, "a refusal gives no address");
        for cut in 0..282 {
            assert_eq!(dhcp_message(&frame(OURS, [10, 0, 0, 9])[..cut], OURS), None, "cut to {cut}");
        }
    }
}
