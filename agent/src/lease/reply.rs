//! What is read of a server's frames beyond what smoltcp reads.
//!
//! Decides which are ours and what is believed of them; never asks for socket or clock, so that it can be fuzzed.

use std::net::Ipv4Addr;

use boottorrent_swarm::next_boot::{self, NextBoot};
use boottorrent_swarm::template;
use smoltcp::wire::{DHCP_CLIENT_PORT, DhcpPacket, EthernetAddress, EthernetFrame, Ipv4Packet, UdpPacket};

const SERVERS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN: u8 = 15;
/// Servers that a C library asks (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;
/// Bytes of a name (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;
const MESSAGE_TYPE: u8 = 53;
const SERVER: u8 = 54;
const MESSAGE: u8 = 56;
const OFFER: &[u8] = &[2];
const NAK: &[u8] = &[6];
/// Characters of a server's own words that are shown: a sentence.
const MAX_WORDS: usize = 100;

/// What a server says that is no lease yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    Offer {
        server: Ipv4Addr,
        address: Ipv4Addr,
        usable: bool,
    },
    /// A sentence.
    Refusal(String),
}

/// What a DHCP message for us says; a refusal in the server's own words (option 56), as far as they are harmless.
pub(super) fn word(message: &[u8]) -> Option<Word> {
    let packet = DhcpPacket::new_checked(message).ok()?;
    let option = |wanted| packet.options().find(|option| option.kind == wanted).map(|option| option.data);
    let server = option(SERVER).and_then(|data| <[u8; 4]>::try_from(data).ok()).map(Ipv4Addr::from)?;
    match option(MESSAGE_TYPE)? {
        OFFER => {
            let address = packet.your_ip();
            Some(Word::Offer { server, address, usable: is_usable(address) })
        }
        NAK => {
            let is_text = |byte: &&u8| byte.is_ascii_graphic() || **byte == b' ';
            let words = option(MESSAGE).unwrap_or_default().iter().filter(is_text).take(MAX_WORDS);
            let words: String = words.map(|byte| char::from(*byte)).collect();
            let why = if words.is_empty() { words } else { format!(": {words}") };
            Some(Word::Refusal(format!("the DHCP server {server} has taken the address back{why}")))
        }
        _ => None,
    }
}

/// Whether a node, or a router, can have it: link-local ones (RFC 3927) come from management controllers and lead nowhere.
pub(super) fn is_usable(address: Ipv4Addr) -> bool {
    !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_link_local()
        && !address.is_multicast()
        && !address.is_broadcast()
}

/// A packet without a sender's address. smoltcp takes that for the server's own, and would panic when the server is to be
/// asked by unicast.
pub(super) fn is_anonymous(frame: &[u8]) -> bool {
    let ethernet = EthernetFrame::new_checked(frame).ok();
    let packet = ethernet.as_ref().and_then(|ethernet| Ipv4Packet::new_checked(ethernet.payload()).ok());
    packet.is_some_and(|packet| packet.src_addr().is_unspecified())
}

/// The DHCP message of a frame, if it is for `mac`. In a storm of nodes the answers to others, which are broadcast, come
/// right behind ours.
pub(super) fn dhcp_message(frame: &[u8], mac: EthernetAddress) -> Option<&[u8]> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    let udp = UdpPacket::new_checked(ip.payload()).ok()?;
    let packet = DhcpPacket::new_checked(udp.payload()).ok()?;
    let ours = packet.client_hardware_address() == mac;
    (udp.dst_port() == DHCP_CLIENT_PORT && ours).then(|| udp.payload())
}

/// What the network calls us, if it may stand in a command line: DHCP is anybody's.
pub(super) fn host_name(reply: &DhcpPacket<&[u8]>) -> Option<String> {
    let option = reply.options().find(|option| option.kind == HOST_NAME)?;
    let name = std::str::from_utf8(option.data).ok()?.trim_end_matches('\0');
    // RFC 1035, 2.3.4: a name has at most 255 bytes, and the kernel takes 64.
    (name.len() <= 64 && template::is_plain(name)).then(|| name.to_owned())
}

/// Who knows names here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolver {
    pub(crate) servers: Vec<Ipv4Addr>,
    pub(crate) domain: Option<String>,
}

impl Resolver {
    pub(super) fn of(reply: &DhcpPacket<&[u8]>) -> Self {
        let data = |kind| reply.options().find(|option| option.kind == kind).map(|option| option.data);
        let (servers, _) = data(SERVERS).unwrap_or_default().as_chunks::<4>();
        let servers = servers.iter().map(|octets| Ipv4Addr::from(*octets));
        let domain = data(DOMAIN).and_then(|name| std::str::from_utf8(name).ok());
        Self {
            servers: servers.filter(|server| !server.is_unspecified()).take(MAX_SERVERS).collect(),
            domain: domain.and_then(|name| plain_domain(name.trim_end_matches('\0'))),
        }
    }

    /// As text for the next worker.
    pub(super) fn emit(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(Ipv4Addr::to_string).collect();
        format!("{}\n{}\n", servers.join(" "), self.domain.as_deref().unwrap_or_default())
    }

    pub(super) fn parse<'t>(mut lines: impl Iterator<Item = &'t str>) -> Self {
        let servers = lines.next().unwrap_or_default().split(' ').filter_map(|server| server.parse().ok());
        Self { servers: servers.take(MAX_SERVERS).collect(), domain: lines.next().and_then(plain_domain) }
    }

    /// As resolv.conf(5); None: the lease names no server.
    pub(crate) fn in_file(&self) -> Option<String> {
        let search = self.domain.as_ref().map(|domain| format!("search {domain}\n"));
        let servers: String = self.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
        (!servers.is_empty()).then(|| search.unwrap_or_default() + &servers)
    }
}

/// One word: DHCP is anybody's, and a line of resolv.conf(5) has options.
fn plain_domain(name: &str) -> Option<String> {
    (name.len() <= MAX_NAME && template::is_plain(name)).then(|| name.to_owned())
}

/// What this boot is to be, if the server says that in our own words.
pub(super) fn next_boot(reply: &DhcpPacket<&[u8]>) -> Option<NextBoot> {
    let mut options = reply.options().filter(|option| option.kind == next_boot::OPTION);
    options.find_map(|option| NextBoot::parse(option.data))
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
        bytes[26..30].copy_from_slice(&[10, 0, 0, 1]);
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
        for cut in 0..282 {
            assert_eq!(dhcp_message(&frame(OURS, [10, 0, 0, 9])[..cut], OURS), None, "cut to {cut}");
        }
    }

    fn reply(options: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn who_names_no_address_is_nobody_to_ask() {
        let mut packet = frame(OURS, [10, 0, 0, 9]);
        assert!(!is_anonymous(&packet));
        packet[26..30].fill(0);
        assert!(is_anonymous(&packet));
        assert!(!is_anonymous(&packet[..30]), "what is no packet gets no further anyway");
    }

    #[test]
    fn offers_and_refusals_are_told_apart() {
        let of = |kind: u8, address: [u8; 4], words: &[u8]| {
            let mut options = vec![53, 1, kind, 54, 4, 10, 0, 0, 1];
            options.extend_from_slice(words);
            options.push(255);
            let mut bytes = reply(&options);
            bytes[16..20].copy_from_slice(&address);
            word(&bytes)
        };
        let server = Ipv4Addr::new(10, 0, 0, 1);
        for (address, usable) in
            [([10, 0, 0, 9], true), ([169, 254, 3, 1], false), ([127, 0, 0, 1], false), ([0; 4], false)]
        {
            let offer = Word::Offer { server, address: address.into(), usable };
            assert_eq!(of(2, address, &[]), Some(offer));
        }
        assert_eq!(of(5, [10, 0, 0, 9], &[]), None, "a lease is smoltcp's business");
        let refusal = |text: &str| {
            Some(Word::Refusal(format!("the DHCP server 10.0.0.1 has taken the address back{text}")))
        };
        assert_eq!(of(6, [0; 4], &[]), refusal(""));
        assert_eq!(of(6, [0; 4], b"\x38\x06no \x1b[2"), refusal(": no [2"));
    }

    fn name_of(name: &[u8]) -> Option<String> {
        let mut options = vec![HOST_NAME, name.len() as u8];
        options.extend_from_slice(name);
        options.push(255);
        let bytes = reply(&options);
        host_name(&DhcpPacket::new_checked(bytes.as_slice()).unwrap())
    }

    #[test]
    fn host_names_cannot_smuggle_words() {
        assert_eq!(name_of(b"n01").as_deref(), Some("n01"));
        assert_eq!(name_of(b"n01\0").as_deref(), Some("n01"), "some servers send the C string");
        for bad in [&b"n01 init=/bin/sh"[..], b"", b"\xff\xfe", b"a{b}", &[b'a'; 65]] {
            assert_eq!(name_of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn name_servers_are_taken_and_no_line_is_smuggled() {
        let of = |options: &[u8]| {
            let bytes = reply(options);
            Resolver::of(&DhcpPacket::new_checked(bytes.as_slice()).unwrap())
        };
        let plain = of(b"\x06\x08\x0a\0\0\x02\x0a\0\0\x03\x0f\x0blab.example\xff");
        assert_eq!(
            plain.in_file().unwrap(),
            "search lab.example\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n"
        );
        assert_eq!(Resolver::parse(plain.emit().lines()), plain);
        let odd = of(b"\x06\x05\x0a\0\0\x02\x0a\x0f\x09a\noptions \xff");
        assert_eq!(odd.in_file().unwrap(), "nameserver 10.0.0.2\n");
        assert_eq!(Resolver::parse(odd.emit().lines()), odd);
        let many = of(b"\x06\x10\x0a\0\0\x02\0\0\0\0\x0a\0\0\x03\x0a\0\0\x04\xff");
        assert_eq!(many.servers.len(), 3);
        let none = of(b"\x0f\x03lab\xff");
        assert_eq!((none.in_file(), none.domain.as_deref()), (None, Some("lab")));
        assert_eq!(Resolver::parse("".lines()), Resolver::default());
    }
}
