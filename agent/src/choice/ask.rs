//! Asks the DHCP server to let this node's next network boot pass, once, so that its BIOS goes on to the disk.
//!
//! Decides when that was understood. Never takes silence for a yes: a node that reboots for nothing would come back here.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use boottorrent_swarm::Mac;
use boottorrent_swarm::next_boot::{self, NextBoot, VENDOR_CLASS};
use smoltcp::wire::{DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpPacket, EthernetAddress};

use crate::lease::Lease;
use crate::{clock, sys};

/// A server that sleeps is started by the first question, within a second or two.
const PATIENCE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// An Ethernet frame holds no more.
const MAX_REPLY: usize = 1500;
/// Datagrams between two looks at the time.
const MAX_TURN: u32 = 64;

/// RFC 2131, 2 and 4.4.3: a client that has its address and asks for something else.
const HEADER: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const MESSAGE_TYPE: u8 = 53;
const ACK: u8 = 5;
const INFORM: u8 = 8;
const CLASS: u8 = 60;
const END: u8 = 255;

#[derive(Debug)]
pub(super) enum Error {
    Socket(io::Error),
    Silent(Ipv4Addr),
    /// It answers, and says nothing of it.
    Deaf(Ipv4Addr),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(error) => write!(f, "the DHCP server cannot be asked: {error}"),
            Self::Silent(server) => {
                write!(f, "the DHCP server {server} does not answer; use the BIOS' own menu at power-on")
            }
            Self::Deaf(server) => write!(
                f,
                "the DHCP server {server} does not take it, it is no BootTorrent master; use the BIOS' own menu at power-on"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// Returns once the server has said that it will.
pub(super) fn for_local_disk(lease: &Lease, now: Duration) -> Result<(), Error> {
    let socket = UdpSocket::bind((lease.address, DHCP_CLIENT_PORT)).map_err(Error::Socket)?;
    socket.set_nonblocking(true).map_err(Error::Socket)?;
    let (mac, xid) = (lease.card.mac, sys::random_seed() as u32);
    let question = question(mac, lease.address, xid);
    let (server, deadline) = (SocketAddrV4::new(lease.server, DHCP_SERVER_PORT), now + PATIENCE);
    let (mut again_at, mut heard) = (now, false);
    let mut reply = [0; MAX_REPLY];
    while clock::now() < deadline {
        if clock::now() >= again_at {
            again_at = clock::now() + ASK_AGAIN;
            let _lost = socket.send_to(&question, server); // asked again, until the deadline
        }
        clock::wait_readable(&[socket.as_fd()], again_at.min(deadline));
        // A flood must not hold the menu up.
        for _ in 0..MAX_TURN {
            let Ok(length) = socket.recv(&mut reply) else { break };
            match answer(reply.get(..length).unwrap_or_default(), mac, xid) {
                Some(true) => return Ok(()),
                Some(false) => heard = true,
                None => {}
            }
        }
    }
    Err(if heard { Error::Deaf(lease.server) } else { Error::Silent(lease.server) })
}

fn question(mac: Mac, address: Ipv4Addr, xid: u32) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = packet.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &[1, 1, 6, 0]);
    put(4, &xid.to_be_bytes());
    put(12, &address.octets());
    put(28, &mac.0);
    put(236, &COOKIE);
    let next = NextBoot::LocalDisk.emit();
    let options =
        [(MESSAGE_TYPE, &[INFORM][..]), (CLASS, VENDOR_CLASS.as_bytes()), (next_boot::OPTION, &next)];
    for (code, value) in options {
        packet.extend([code, u8::try_from(value.len()).unwrap_or_default()]);
        packet.extend(value);
    }
    packet.push(END);
    packet
}

/// Whether an answer to this question says yes; None: it is none.
fn answer(packet: &[u8], mac: Mac, xid: u32) -> Option<bool> {
    let reply = DhcpPacket::new_checked(packet).ok()?;
    let ours = reply.transaction_id() == xid && reply.client_hardware_address() == EthernetAddress(mac.0);
    let mut options = reply.options();
    let is_ack = ours && options.any(|option| option.kind == MESSAGE_TYPE && option.data == [ACK]);
    let says = |data| NextBoot::parse(data) == Some(NextBoot::LocalDisk);
    is_ack.then(|| reply.options().any(|option| option.kind == next_boot::OPTION && says(option.data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

    /// The question as a server would answer it.
    fn answered(change: impl FnOnce(&mut Vec<u8>)) -> Option<bool> {
        let mut packet = question(MAC, Ipv4Addr::new(10, 0, 0, 11), 7);
        packet[0] = 2;
        packet[HEADER + 2] = ACK;
        change(&mut packet);
        answer(&packet, MAC, 7)
    }

    #[test]
    fn only_the_servers_own_word_is_a_yes() {
        assert_eq!(answered(|_| ()), Some(true));
        assert_eq!(answered(|packet| packet.truncate(HEADER + 16)), Some(false), "nothing is said of it");
        assert_eq!(answered(|packet| packet[HEADER + 2] = 6), None, "a refusal");
        assert_eq!(answered(|packet| packet[7] = 8), None, "to another question");
        assert_eq!(answered(|packet| packet[33] = 2), None, "to another node");
        for length in 0..HEADER {
            assert_eq!(answered(|packet| packet.truncate(length)), None, "cut to {length}");
        }
    }

    #[test]
    fn the_question_comes_from_the_nodes_address() {
        let packet = question(MAC, Ipv4Addr::new(10, 0, 0, 11), 7);
        let parsed = DhcpPacket::new_checked(packet.as_slice()).unwrap();
        assert_eq!((parsed.client_ip(), parsed.transaction_id()), (Ipv4Addr::new(10, 0, 0, 11), 7));
        let words: Vec<u8> = parsed.options().map(|option| option.kind).collect();
        assert_eq!(words, [MESSAGE_TYPE, CLASS, next_boot::OPTION]);
    }
}
