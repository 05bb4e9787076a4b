//! A client of our own: messages built and read by hand, through a socket in a namespace. It shares no code with the
//! server, so that both cannot be wrong alike.

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use std::fs::File;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

pub(super) const DISCOVER: u8 = 1;
pub(super) const OFFER: u8 = 2;
pub(super) const REQUEST: u8 = 3;
pub(super) const ACK: u8 = 5;

/// The largest message that an Ethernet carries, for option 57.
pub(super) const LARGE: [u8; 2] = 1500_u16.to_be_bytes();
pub(super) const SERVER: (u8, &[u8]) = (54, &[10, 0, 0, 1]);

pub(super) fn mac(n: u32) -> [u8; 6] {
    let [a, b, c, d] = n.to_be_bytes();
    [0x52, 0x54, a, b, c, d]
}

/// A message as firmware sends it: no address yet, no broadcast flag.
pub(super) fn message(kind: u8, mac: [u8; 6], options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[4..8].copy_from_slice(&mac[2..]);
    packet[28..34].copy_from_slice(&mac);
    packet[236..].copy_from_slice(&[99, 130, 83, 99]);
    packet.extend([53, 1, kind]);
    for (code, value) in options {
        packet.extend([*code, u8::try_from(value.len()).unwrap()]);
        packet.extend_from_slice(value);
    }
    packet.push(255);
    packet
}

pub(super) struct Reply {
    pub(super) kind: u8,
    pub(super) mac: [u8; 6],
    pub(super) address: Ipv4Addr,
    pub(super) next_server: Ipv4Addr,
    pub(super) file: String,
    packet: Vec<u8>,
}

impl Reply {
    pub(super) fn option(&self, wanted: u8) -> Option<&[u8]> {
        let mut at = 240;
        while self.packet[at] != 255 {
            let length = usize::from(self.packet[at + 1]);
            if self.packet[at] == wanted {
                return Some(&self.packet[at + 2..at + 2 + length]);
            }
            at += 2 + length;
        }
        None
    }
}

pub(super) struct Client {
    socket: UdpSocket,
}

impl Client {
    /// Bound to the client's port on `eth0` of a host that may have no address.
    pub(super) fn on(netns: &str) -> Self {
        let path = Path::new("/run/netns").join(netns);
        // The namespace belongs to a thread; the socket stays in the one that it was made in.
        let made = std::thread::spawn(move || {
            setns(File::open(path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let socket = UdpSocket::bind("0.0.0.0:68").unwrap();
            setsockopt(&socket, sockopt::BindToDevice, &"eth0".into()).unwrap();
            setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
            socket
        });
        let socket = made.join().unwrap();
        socket.set_broadcast(true).unwrap();
        Self { socket }
    }

    pub(super) fn send(&self, packet: &[u8]) {
        self.socket.send_to(packet, "255.255.255.255:67").unwrap();
    }

    pub(super) fn receive(&self, limit: Duration) -> Option<Reply> {
        self.socket.set_read_timeout(Some(limit)).unwrap();
        let mut packet = vec![0; 2048];
        let (length, _) = self.socket.recv_from(&mut packet).ok()?;
        packet.truncate(length);
        assert!(length >= 300 && packet[0] == 2, "{length} bytes, operation {}", packet[0]);
        let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
        let file = packet[108..236].split(|byte| *byte == 0).next().unwrap();
        let mut reply = Reply {
            kind: 0,
            mac: packet[28..34].try_into().unwrap(),
            address: address(16),
            next_server: address(20),
            file: String::from_utf8_lossy(file).into_owned(),
            packet,
        };
        reply.kind = reply.option(53).expect("a message type")[0];
        Some(reply)
    }

    /// DISCOVER to ACK for one client.
    pub(super) fn lease(&self, mac: [u8; 6], options: &[(u8, &[u8])]) -> Reply {
        self.send(&message(DISCOVER, mac, options));
        let offer = self.receive(super::SOON).expect("an offer");
        assert_eq!((offer.kind, offer.mac), (OFFER, mac));
        let octets = offer.address.octets();
        let mut request = vec![SERVER, (50, &octets[..])];
        request.extend_from_slice(options);
        self.send(&message(REQUEST, mac, &request));
        let ack = self.receive(super::SOON).expect("an acknowledgement");
        assert_eq!((ack.kind, ack.mac, ack.address), (ACK, mac, offer.address));
        ack
    }
}
