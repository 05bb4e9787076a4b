//! The node's DHCP client against a wire on which anybody answers: smoltcp's socket as the agent drives it, and what the
//! agent reads of a reply itself.
#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_swarm::next_boot::NextBoot;
use boottorrent_swarm::template;
use libfuzzer_sys::fuzz_target;
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Checksum, DeviceCapabilities, Medium};
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{DhcpPacket, EthernetAddress, IpCidr};

// The agent is a program, not a library: what it reads of a frame is compiled in from where it stands.
#[path = "../../../agent/src/lease/reply.rs"]
mod reply;

const MAC: EthernetAddress = EthernetAddress([0x52, 0x54, 0, 0, 0, 1]);
/// Where the DHCP message stands in a frame without IP options, and the transaction number in the message.
const MESSAGE: usize = 14 + 20 + 8;
const TRANSACTION: std::ops::Range<usize> = 4..8;
/// What a client without news sends in a minute is a handful; smoltcp's socket must not be driven into a flood.
const FRAMES_A_POLL: usize = 8;

#[derive(Default)]
struct Wire {
    coming: VecDeque<Vec<u8>>,
    sent: RefCell<Vec<Vec<u8>>>,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a RefCell<Vec<Vec<u8>>>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.borrow_mut().push(frame);
        result
    }
}

impl phy::Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sending<'_>)> {
        Some((Received(self.coming.pop_front()?), Sending(&self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_>> {
        Some(Sending(&self.sent))
    }

    /// As the agent's device has it.
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum.udp = Checksum::Tx;
        capabilities
    }
}

/// A broadcast frame around a DHCP message, with the header's sum right (the server's doing, not what is tested).
fn frame(message: &[u8]) -> Vec<u8> {
    let length = |extra: usize| u16::try_from(message.len() + extra).unwrap_or(u16::MAX).to_be_bytes();
    let mut out = vec![255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 9, 8, 0];
    let [high, low] = length(28);
    let mut ip = [0x45, 0, high, low, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 255, 255, 255, 255];
    let sum: u32 = ip.chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&ip);
    out.extend_from_slice(&[0, 67, 0, 68]);
    out.extend_from_slice(&length(8));
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(message);
    out
}

/// The agent's own reading, which need not be an answer to anything.
fn read(frame: &[u8]) {
    let Some(message) = reply::dhcp_message(frame, MAC) else { return };
    match reply::word(message) {
        Some(reply::Word::Offer { server: _, address, usable }) => {
            assert!(!usable || reply::is_usable(address), "{address} of an offer");
        }
        Some(reply::Word::Refusal(sentence)) => {
            let printable = sentence.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            assert!(printable && sentence.len() <= 200, "{sentence:?} on a console");
        }
        None => {}
    }
    let Ok(packet) = DhcpPacket::new_checked(message) else { panic!("checked before") };
    if let Some(name) = reply::host_name(&packet) {
        assert!(template::is_plain(&name) && name.len() <= 64, "{name:?} in a command line");
    }
    let resolver = reply::Resolver::of(&packet);
    assert_eq!(reply::Resolver::parse(resolver.emit().lines()), resolver);
    if let Some(file) = resolver.in_file() {
        let words = ["search", "nameserver"];
        let is_plain =
            |line: &str| words.iter().any(|word| line.starts_with(word)) && line.split(' ').count() == 2;
        assert!(file.lines().all(is_plain), "{file:?} in resolv.conf");
    }
    if let Some(reply::Word::Refusal(sentence)) = reply::word(message) {
        assert!(sentence.is_ascii() && !sentence.contains('\n'), "{sentence:?} on a console");
    }
    if let Some(next) = reply::next_boot(&packet) {
        assert_eq!(NextBoot::parse(&next.emit()), Some(next));
    }
}

fn run(mut script: Script<'_>) -> Option<()> {
    let mut wire = Wire::default();
    let mut now = Instant::from_millis(1000);
    let mut interface = Interface::new(Config::new(MAC.into()), &mut wire, now);
    let mut sockets = SocketSet::new(Vec::new());
    let dhcp = sockets.add(dhcpv4::Socket::new());
    let mut transaction = [0; 4];
    loop {
        interface.poll(now, &mut wire, &mut sockets);
        match sockets.get_mut::<dhcpv4::Socket<'_>>(dhcp).poll() {
            Some(dhcpv4::Event::Configured(config)) => {
                assert!(config.address.prefix_len() <= 32);
                interface.update_ip_addrs(|addresses| {
                    addresses.clear();
                    let _ = addresses.push(IpCidr::Ipv4(config.address));
                });
                if let Some(router) = config.router.filter(|router| reply::is_usable(*router)) {
                    let _ = interface.routes_mut().add_default_ipv4_route(router);
                }
            }
            Some(dhcpv4::Event::Deconfigured) => interface.update_ip_addrs(|addresses| addresses.clear()),
            None => {}
        }
        let sent = wire.sent.take();
        assert!(sent.len() <= FRAMES_A_POLL, "{} frames at once", sent.len());
        if let Some(of) = sent.iter().filter_map(|f| f.get(MESSAGE..)?.get(TRANSACTION)).next_back() {
            transaction.copy_from_slice(of);
        }
        let choice = script.byte()?;
        // Up to four minutes, most often less: leases end, retries fall due.
        now += Duration::from_millis(u64::from(choice >> 2).pow(3));
        let packet = script.packet()?;
        let coming = match choice % 4 {
            0 => packet.to_vec(),
            1 => frame(packet),
            _ => {
                let mut message = packet.to_vec();
                if let Some(place) = message.get_mut(TRANSACTION) {
                    place.copy_from_slice(&transaction);
                }
                frame(&message)
            }
        };
        read(&coming);
        // As the agent's device has it.
        if !reply::is_anonymous(&coming) {
            wire.coming.push_back(coming);
        }
    }
}

/// A server's message of this type, with a lease of a minute and a name.
fn message(kind: u8) -> Vec<u8> {
    let mut out = vec![0; 240];
    out[..3].copy_from_slice(&[2, 1, 6]);
    out[16..20].copy_from_slice(&[10, 0, 0, 9]);
    out[20..24].copy_from_slice(&[10, 0, 0, 1]);
    out[28..34].copy_from_slice(MAC.as_bytes());
    out[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    out.extend_from_slice(&[53, 1, kind, 54, 4, 10, 0, 0, 1, 51, 4, 0, 0, 0, 60, 1, 4, 255, 255, 255, 0]);
    out.extend_from_slice(&[
        3, 4, 10, 0, 0, 254, 6, 4, 10, 0, 0, 2, 15, 3, b'l', b'a', b'b', 56, 2, b'n', b'o',
    ]);
    out.extend_from_slice(&[12, 3, b'n', b'0', b'1', 255]);
    out
}

/// Offered, given, renewed, refused.
fn talk() -> Vec<u8> {
    let mut out = Vec::new();
    for (choice, kind) in [(2, 2), (2, 5), (4 * 32 + 2, 5), (4 * 63 + 2, 6), (2, 2)] {
        out.push(choice);
        out.extend_from_slice(&framed(&message(kind)));
    }
    out
}

fuzz_target!(init: seeds(&[talk(), [vec![1], framed(&message(5))].concat()]), |data: &[u8]| {
    run(Script::new(data));
});
