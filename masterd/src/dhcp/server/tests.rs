use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::dhcp::config::{BootRule, RawOption, ReservationConfig, SubnetConfig};
use crate::dhcp::packet::tests::message;

const NOW: Time = Time(1_795_000_000_000_000);
const NODE: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const OTHER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];
const RESERVED: [u8; 6] = [0x52, 0x54, 0, 0, 0, 11];
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
const DECLINE: u8 = 4;
const RELEASE: u8 = 7;
const INFORM: u8 = 8;
const US: (u8, &[u8]) = (54, &[10, 0, 0, 1]);
const PXE: (u8, &[u8]) = (60, b"PXEClient:Arch:00000:UNDI:002001");

fn config() -> DhcpConfig {
    let option = |code, value: &[u8]| RawOption { code, value: value.to_vec() };
    let subnet = |network: &str, range: &str, options| SubnetConfig {
        network: network.parse().unwrap(),
        ranges: vec![range.parse().unwrap()],
        options,
    };
    let rule = |ipxe, arch: &[u16], file: &str| BootRule { ipxe, arch: arch.to_vec(), file: file.into() };
    DhcpConfig {
        site: "lab".into(),
        server: "10.0.0.1".parse().unwrap(),
        interface: "eth1".into(),
        lease_seconds: 600,
        subnets: vec![
            subnet(
                "10.0.0.0/24",
                "10.0.0.100-10.0.0.101",
                vec![option(3, &[10, 0, 0, 1]), option(12, b"subnet"), option(224, &[1, 2])],
            ),
            subnet("10.1.0.0/24", "10.1.0.100-10.1.0.200", vec![option(51, &[0, 0, 0, 120])]),
        ],
        reservations: vec![ReservationConfig {
            mac: Mac(RESERVED),
            address: Some("10.0.0.11".parse().unwrap()),
            name: Some("n11".into()),
            options: vec![option(67, b"boot/own.ipxe"), option(175, &[8, 1, 1])],
        }],
        boot: vec![rule(true, &[], "boot/boot.ipxe"), rule(false, &[0], "boot/undionly.kpxe")],
    }
}

/// An answer as a client reads it.
struct Told {
    kind: u8,
    address: Ipv4Addr,
    siaddr: Ipv4Addr,
    file: Vec<u8>,
    to: String,
    packet: Vec<u8>,
}

impl Told {
    /// A plain walk, independent of the server's reader.
    fn option(&self, wanted: u8) -> Option<Vec<u8>> {
        self.options().into_iter().find(|(code, _)| *code == wanted).map(|(_, value)| value)
    }

    fn options(&self) -> Vec<(u8, Vec<u8>)> {
        let mut list = Vec::new();
        let mut at = 240;
        while self.packet[at] != 255 {
            let length = usize::from(self.packet[at + 1]);
            list.push((self.packet[at], self.packet[at + 2..at + 2 + length].to_vec()));
            at += 2 + length;
        }
        list
    }
}

fn told(outcome: &Outcome) -> Told {
    let reply = outcome.reply.clone().expect("an answer");
    let packet = reply.packet;
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let file = packet[108..236].iter().copied().take_while(|byte| *byte != 0).collect();
    let mut told =
        Told { kind: 0, address: address(16), siaddr: address(20), file, to: reply.to.to_string(), packet };
    told.kind = told.option(53).unwrap()[0];
    told
}

struct Net(Server, HashMap<Mac, Order>);

impl Net {
    fn new() -> Self {
        Self(Server::new(config()), HashMap::new())
    }

    fn send_at(&mut self, now: Time, packet: &[u8]) -> Outcome {
        self.0.handle(now, packet, &Arrival { from: "10.0.0.99:68".parse().unwrap() }, &mut self.1)
    }

    fn send(&mut self, kind: u8, mac: [u8; 6], options: &[(u8, &[u8])]) -> Outcome {
        self.send_at(NOW, &message(kind, mac, options))
    }

    /// DISCOVER and REQUEST.
    fn lease(&mut self, mac: [u8; 6]) -> Ipv4Addr {
        let offered = told(&self.send(DISCOVER, mac, &[]));
        assert_eq!(offered.kind, 2);
        let outcome = self.send(REQUEST, mac, &[US, (50, &offered.address.octets())]);
        assert!(matches!(outcome.record, Some(Record::Lease { .. })));
        let acknowledged = told(&outcome);
        assert_eq!((acknowledged.kind, acknowledged.address), (5, offered.address));
        acknowledged.address
    }
}

fn with_addresses(mut packet: Vec<u8>, ciaddr: [u8; 4], giaddr: [u8; 4]) -> Vec<u8> {
    packet[12..16].copy_from_slice(&ciaddr);
    packet[24..28].copy_from_slice(&giaddr);
    packet
}

fn warned(outcome: &Outcome) -> &'static str {
    outcome
        .notices
        .iter()
        .find_map(|n| if let Notice::Warning { kind, .. } = n { Some(*kind) } else { None })
        .unwrap()
}

#[test]
fn an_offer_and_its_lease() {
    let mut net = Net::new();
    let offer = net.send(DISCOVER, NODE, &[(55, &[6, 3, 224, 58, 28, 1])]);
    assert!(offer.record.is_none());
    let offer = told(&offer);
    assert_eq!((offer.kind, offer.to.as_str()), (2, "255.255.255.255:68"));
    assert_eq!(offer.address.to_string(), "10.0.0.100");
    // Server, lease, the mask first, then as asked for, then the rest.
    let codes: Vec<u8> = offer.options().iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 54, 51, 1, 3, 224, 58, 28, 12]);
    assert_eq!(offer.option(51), Some(vec![0, 0, 2, 88]));
    assert_eq!(offer.option(58), Some(vec![0, 0, 1, 44]));
    assert_eq!(offer.option(28), Some(vec![10, 0, 0, 255]));
    assert!(offer.file.is_empty() && offer.siaddr.to_string() == "10.0.0.1");
    assert_eq!(net.lease(NODE).to_string(), "10.0.0.100");
    assert_eq!(net.lease(OTHER).to_string(), "10.0.0.101");
}

#[test]
fn a_node_keeps_its_address_whoever_asks_on_it() {
    let mut net = Net::new();
    let address = net.lease(NODE);
    for id in [&b"\x01firmware"[..], b"\xff\x00\x00iPXE", b"\x00agent"] {
        let offer = told(&net.send(DISCOVER, NODE, &[(61, id), (97, id)]));
        assert_eq!(offer.address, address);
        assert_eq!(offer.option(61), Some(id.to_vec()), "RFC 6842");
    }
}

#[test]
fn a_reservation_with_its_name_and_options() {
    let mut net = Net::new();
    let offer = told(&net.send(DISCOVER, RESERVED, &[PXE, (93, &[0, 0])]));
    assert_eq!(offer.address.to_string(), "10.0.0.11");
    assert_eq!(offer.option(12), Some(b"n11".to_vec()));
    assert_eq!((offer.file, offer.packet[0]), (b"boot/own.ipxe".to_vec(), 2));
    let offer = told(&net.send(DISCOVER, RESERVED, &[(77, b"iPXE")]));
    assert_eq!(offer.option(175), Some(vec![8, 1, 1, 176, 1, 1]));
    // Nobody else gets it, whatever he wishes.
    assert_ne!(told(&net.send(DISCOVER, NODE, &[(50, &[10, 0, 0, 11])])).address.to_string(), "10.0.0.11");
    let nak = told(&net.send(REQUEST, NODE, &[US, (50, &[10, 0, 0, 11])]));
    assert_eq!(nak.kind, 6);
}

#[test]
fn boot_files_for_firmware_and_ipxe_only() {
    let mut net = Net::new();
    let bios = told(&net.send(DISCOVER, NODE, &[PXE, (93, &[0, 0])]));
    assert_eq!(
        (bios.file.as_slice(), bios.option(67).unwrap().as_slice()),
        (&b"boot/undionly.kpxe"[..], &b"boot/undionly.kpxe"[..])
    );
    assert_eq!((bios.option(60), bios.option(66)), (Some(b"PXEClient".to_vec()), Some(b"10.0.0.1".to_vec())));
    assert_eq!(bios.option(175), None);
    let ipxe = told(&net.send(DISCOVER, NODE, &[PXE, (93, &[0, 0]), (175, &[33, 1, 1])]));
    assert_eq!((ipxe.file.as_slice(), ipxe.option(175)), (&b"boot/boot.ipxe"[..], Some(vec![176, 1, 1])));
    assert_eq!(ipxe.option(60), None);
    let os = told(&net.send(DISCOVER, NODE, &[(60, b"udhcp 1.35.0")]));
    assert!(os.file.is_empty() && os.option(67).is_none() && os.option(43).is_none());
    let arm = net.send(DISCOVER, NODE, &[(60, b"PXEClient"), (93, &[0, 11])]);
    assert_eq!(warned(&arm), "no boot file for this firmware");
    assert_eq!(told(&arm).kind, 2);
}

#[test]
fn selecting_another_server_is_silent_and_told() {
    let mut net = Net::new();
    net.send(DISCOVER, NODE, &[]);
    let outcome = net.send(REQUEST, NODE, &[(54, &[10, 0, 0, 9]), (50, &[10, 0, 0, 100])]);
    assert!(outcome.reply.is_none() && outcome.record.is_none());
    assert_eq!(warned(&outcome), "another DHCP server");
}

#[test]
fn init_reboot_as_the_rfc_says() {
    let mut net = Net::new();
    let reboot = |net: &mut Net, mac, address: [u8; 4]| net.send(REQUEST, mac, &[(50, &address)]);
    assert!(reboot(&mut net, NODE, [10, 0, 0, 100]).reply.is_none(), "no record: silent");
    assert_eq!(told(&reboot(&mut net, NODE, [192, 168, 0, 5])).kind, 6, "another network");
    let address = net.lease(NODE);
    assert_eq!(told(&reboot(&mut net, NODE, address.octets())).kind, 5);
    let nak = told(&reboot(&mut net, NODE, [10, 0, 0, 101]));
    assert_eq!((nak.kind, nak.to.as_str(), nak.address), (6, "255.255.255.255:68", Ipv4Addr::UNSPECIFIED));
    assert!(nak.option(56).is_some() && nak.option(51).is_none() && nak.option(1).is_none());
    assert_eq!(told(&reboot(&mut net, RESERVED, [10, 0, 0, 11])).kind, 5, "a reservation is a record");
}

#[test]
fn renewing_goes_to_the_address_and_survives_a_lost_journal() {
    let mut net = Net::new();
    let address = net.lease(NODE);
    let renewal = with_addresses(message(REQUEST, NODE, &[]), address.octets(), [0; 4]);
    let later = NOW + Duration::from_secs(300);
    let outcome = net.send_at(later, &renewal);
    assert_eq!(
        outcome.record.unwrap(),
        Record::Lease { address, mac: Mac(NODE), until: later + Duration::from_secs(600) }
    );
    let ack = told(&net.send_at(later, &renewal));
    assert_eq!((ack.kind, ack.to), (5, format!("{address}:68")));
    assert_eq!(ack.packet[12..16], address.octets(), "ciaddr is repeated");
    let mut without_memory = Net::new();
    assert_eq!(told(&without_memory.send_at(later, &renewal)).kind, 5);
    let theft = with_addresses(message(REQUEST, OTHER, &[]), address.octets(), [0; 4]);
    let nak = told(&net.send_at(later, &theft));
    assert_eq!((nak.kind, nak.to.as_str()), (6, "255.255.255.255:68"));
}

#[test]
fn a_refusal_says_the_true_reason() {
    let mut net = Net::new();
    let taken = net.lease(NODE).octets();
    for (address, why) in [
        (taken, "another node has the address"),
        ([10, 0, 0, 11], "the address is reserved for another node"),
        ([10, 0, 0, 50], "the address is none that this server gives out"),
    ] {
        let renewal = with_addresses(message(REQUEST, OTHER, &[]), address, [0; 4]);
        let nak = told(&net.send_at(NOW, &renewal));
        assert_eq!((nak.kind, nak.option(56).unwrap().as_slice()), (6, why.as_bytes()), "{address:?}");
    }
}

#[test]
fn relayed_messages_choose_the_subnet_and_go_back_by_the_relay() {
    let mut net = Net::new();
    let relayed =
        |kind, options: &[(u8, &[u8])]| with_addresses(message(kind, NODE, options), [0; 4], [10, 1, 0, 1]);
    let offer = told(&net.send_at(NOW, &relayed(DISCOVER, &[(82, &[1, 3, 7, 8, 9]), (55, &[82, 1])])));
    assert_eq!((offer.address.to_string(), offer.to.as_str()), ("10.1.0.100".into(), "10.1.0.1:67"));
    assert_eq!(offer.options().last(), Some(&(82, vec![1, 3, 7, 8, 9])));
    assert_eq!((offer.option(51), offer.option(3)), (Some(vec![0, 0, 0, 120]), None));
    assert_eq!(offer.packet[24..28], [10, 1, 0, 1]);
    let nak = told(&net.send_at(NOW, &relayed(REQUEST, &[(50, &[10, 0, 0, 100])])));
    assert_eq!((nak.kind, nak.packet[10]), (6, 0x80), "the relay must broadcast a NAK");
    // RFC 3527: the link is another one than the relay's own address says.
    let linked =
        with_addresses(message(DISCOVER, NODE, &[(82, &[5, 4, 10, 1, 0, 0])]), [0; 4], [172, 16, 0, 1]);
    assert_eq!(told(&net.send_at(NOW, &linked)).to, "172.16.0.1:67");
    let foreign = with_addresses(message(DISCOVER, NODE, &[]), [0; 4], [172, 16, 0, 1]);
    assert_eq!(warned(&net.send_at(NOW, &foreign)), "message from a foreign network");
}

#[test]
fn exhaustion_is_told_and_the_oldest_expired_lease_is_used_again() {
    let mut net = Net::new();
    let first = net.lease(NODE);
    net.lease(OTHER);
    let third = message(DISCOVER, [0x52, 0x54, 0, 0, 0, 3], &[]);
    let outcome = net.send_at(NOW, &third);
    assert!(outcome.reply.is_none());
    assert_eq!(warned(&outcome), "no free address");
    let later = NOW + Duration::from_secs(600);
    assert_eq!(told(&net.send_at(later, &third)).address, first);
}

#[test]
fn declined_addresses_rest() {
    let mut net = Net::new();
    let address = net.lease(NODE);
    assert!(net.send(DECLINE, OTHER, &[US, (50, &address.octets())]).record.is_none(), "not its own");
    let outcome = net.send(DECLINE, NODE, &[US, (50, &address.octets())]);
    assert!(matches!(outcome.record, Some(Record::Quarantine { .. })) && outcome.reply.is_none());
    assert_eq!(warned(&outcome), "address used without a lease");
    assert_ne!(net.lease(NODE), address);
}

#[test]
fn released_addresses_are_free_at_once() {
    let mut net = Net::new();
    let address = net.lease(NODE);
    net.lease(OTHER);
    let release = |mac| with_addresses(message(RELEASE, mac, &[US]), address.octets(), [0; 4]);
    assert!(net.send_at(NOW, &release(OTHER)).record.is_none(), "not its own");
    let outcome = net.send_at(NOW, &release(NODE));
    assert!(matches!(outcome.record, Some(Record::Release { .. })) && outcome.reply.is_none());
    assert_eq!(told(&net.send(DISCOVER, [2, 0, 0, 0, 0, 3], &[])).address, address);
}

#[test]
fn inform_gives_options_and_no_lease() {
    let mut net = Net::new();
    let inform = with_addresses(message(INFORM, NODE, &[(55, &[51, 58, 3])]), [10, 0, 0, 77], [0; 4]);
    let outcome = net.send_at(NOW, &inform);
    assert!(outcome.record.is_none());
    let ack = told(&outcome);
    assert_eq!((ack.kind, ack.to.as_str(), ack.address), (5, "10.0.0.77:68", Ipv4Addr::UNSPECIFIED));
    assert!(ack.option(51).is_none() && ack.option(58).is_none() && ack.option(3).is_some());
}

#[test]
fn a_client_may_ask_for_a_shorter_lease_but_not_for_a_silly_one() {
    let mut net = Net::new();
    for (asked, given) in [(300_u32, 300_u32), (86400, 600), (1, 60), (u32::MAX, 600)] {
        let offer = told(&net.send(DISCOVER, NODE, &[(51, &asked.to_be_bytes())]));
        assert_eq!(offer.option(51), Some(given.to_be_bytes().to_vec()));
    }
}

#[test]
fn rubbish_is_counted_and_changes_nothing() {
    let mut net = Net::new();
    for packet in [&[][..], &[0; 300], &[255; 1500], &message(2, NODE, &[]), &message(0, NODE, &[])] {
        let outcome = net.send_at(NOW, packet);
        assert_eq!(warned(&outcome), "malformed packet");
        assert!(outcome.reply.is_none() && outcome.record.is_none());
    }
    assert_eq!(warned(&net.send(REQUEST, NODE, &[US])), "malformed packet");
    assert_eq!(net.0.counters().malformed, 6);
    assert!(net.0.records().is_empty());
}

#[test]
fn a_new_generation_keeps_the_leases() {
    let mut net = Net::new();
    let address = net.lease(NODE);
    let mut config = config();
    config.subnets[0].ranges = vec!["10.0.0.150-10.0.0.160".parse().unwrap()];
    net.0.reconfigure(config, NOW);
    assert_eq!(net.0.current_leases(NOW).len(), 1);
    let renewal = with_addresses(message(REQUEST, NODE, &[]), address.octets(), [0; 4]);
    assert_eq!(told(&net.send_at(NOW, &renewal)).kind, 6, "it is outside of every range now");
    assert_eq!(net.lease(NODE).to_string(), "10.0.0.150");
    assert_eq!(net.0.current_leases(NOW).len(), 1, "one lease a node");
}

#[test]
fn a_node_is_sent_to_its_disk_once_and_may_ask_for_that_itself() {
    let mut net = Net::new();
    let agent = (60, &b"boottorrent"[..]);
    let address = net.lease(NODE);
    let disk = boottorrent_swarm::next_boot::NextBoot::LocalDisk.emit();
    let ask = |mac, from: Ipv4Addr| {
        with_addresses(message(INFORM, mac, &[agent, (125, &disk)]), from.octets(), [0; 4])
    };
    let stranger = told(&net.send_at(NOW, &ask(OTHER, address)));
    assert_eq!((stranger.option(125), net.1.len()), (None, 0), "it is not that machine");
    let answer = told(&net.send_at(NOW, &ask(NODE, address)));
    assert_eq!((answer.option(125), net.1.len()), (None, 0), "another sender in its name");
    let own = Arrival { from: SocketAddrV4::new(address, 68) };
    let answer = told(&net.0.handle(NOW, &ask(NODE, address), &own, &mut net.1));
    assert_eq!((answer.kind, answer.option(125)), (5, Some(disk)));
    assert_eq!((answer.to.as_str(), net.1.len()), (format!("{address}:68").as_str(), 1));
    for kind in [DISCOVER, REQUEST] {
        let outcome = net.send(kind, NODE, &[PXE, US, (50, &address.octets())]);
        let answer = told(&outcome);
        assert!(answer.file.is_empty() && answer.option(67).is_none() && answer.option(66).is_none());
        assert_eq!(answer.option(60), Some(b"PXEClient".to_vec()), "else it waits for a proxy");
        let says =
            |notice: &Notice| matches!(notice, Notice::Info(text) if text.contains("its own disk this time"));
        assert_eq!(outcome.notices.iter().any(says), kind == DISCOVER, "{:?}", outcome.notices);
    }
    let mut next = message(DISCOVER, NODE, &[PXE]);
    next[4] ^= 1;
    assert_eq!(told(&net.send_at(NOW, &next)).file, b"boot/undionly.kpxe");
}

#[test]
fn an_agent_is_told_its_image_and_firmware_is_not() {
    let mut net = Net::new();
    let until = NOW.0 / 1_000_000 + 60;
    let order = Order { os: Some("debian".into()), until, by: Author::Master };
    let name = order.next_boot().emit();
    net.1.insert(Mac(NODE), order);
    let firmware = told(&net.send(DISCOVER, NODE, &[PXE]));
    assert_eq!((firmware.option(125), firmware.file.is_empty()), (None, false));
    let runs = told(&net.send(DISCOVER, NODE, &[(60, b"boottorrent")]));
    assert_eq!((runs.option(125), net.1.len()), (None, 1), "its firmware was not seen to start");
    net.send(REQUEST, NODE, &[PXE, US, (50, &firmware.address.octets())]);
    let agent = told(&net.send(DISCOVER, NODE, &[(60, b"boottorrent")]));
    assert_eq!((agent.option(125), net.1.len()), (Some(name.clone()), 0));
    let request = [(60, &b"boottorrent"[..]), US, (50, &agent.address.octets())];
    assert_eq!(told(&net.send(REQUEST, NODE, &request)).option(125), Some(name));
    assert_eq!(told(&net.send(DISCOVER, OTHER, &[(60, b"boottorrent")])).option(125), None);
}

#[test]
fn when_firmware_was_given_its_address_is_remembered() {
    let mut net = Net::new();
    net.lease(NODE);
    let booted = |net: &Net| {
        let leases = net.0.current_leases(NOW);
        leases.iter().find(|lease| lease.mac == Some(Mac(NODE))).and_then(|lease| net.0.booted(lease))
    };
    assert_eq!(booted(&net), None, "that was no firmware");
    let offered = told(&net.send(DISCOVER, NODE, &[PXE]));
    assert_eq!(booted(&net), None);
    net.send(REQUEST, NODE, &[PXE, US, (50, &offered.address.octets())]);
    assert_eq!(booted(&net), Some(NOW));
    net.0.forget_origins();
    assert_eq!(booted(&net), Some(NOW));
}
