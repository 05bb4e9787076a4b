use super::*;
use smoltcp::phy::{Device as _, RxToken as _, TxToken as _};
use std::collections::VecDeque;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const THEIRS: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

#[derive(Default)]
struct Wire {
    come: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Frames for Wire {
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        self.come.pop_front().map(|next| *frame = next).is_some()
    }

    fn send(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }
}

fn device() -> Ethernet<Wire> {
    let router = Some(Ipv4Addr::new(10, 0, 0, 254));
    Ethernet::new(Wire::default(), Place { mac: OURS, address: OWN, prefix_length: 24, router })
}

fn packet(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet
}

fn send(device: &mut Ethernet<Wire>, ms: i64, to: Ipv4Addr) {
    let token = device.transmit(Instant::from_millis(ms)).unwrap();
    token.consume(40, |bytes| bytes.copy_from_slice(&packet(OWN, to)));
}

fn frame(to: Mac, from: Mac, kind: [u8; 2], body: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind, body].concat()
}

fn arp(operation: u8, card: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut body = [&ARP_KIND[..], &[0, operation], &card.0, &source.octets(), &[0; 6]].concat();
    body.extend(target.octets());
    body
}

fn come(device: &mut Ethernet<Wire>, ms: i64, frame: Vec<u8>) -> Option<Vec<u8>> {
    device.frames().come.push_back(frame);
    device.receive(Instant::from_millis(ms)).map(|(token, _)| token.consume(<[u8]>::to_vec))
}

fn sent(device: &mut Ethernet<Wire>) -> Vec<Vec<u8>> {
    std::mem::take(&mut device.frames().sent)
}

#[test]
fn packets_wait_for_their_neighbours_answer_and_all_ask_at_once() {
    let mut device = device();
    for last in 2..60 {
        send(&mut device, 0, Ipv4Addr::new(10, 0, 0, last));
    }
    let questions = sent(&mut device);
    assert_eq!(questions.len(), 58, "one question each, in the same moment");
    assert!(questions.iter().all(|q| q[..6] == BROADCAST.0 && q[12..14] == ARP && q[21] == REQUEST));
    for _ in 0..10 {
        send(&mut device, 10, PEER);
    }
    assert!(sent(&mut device).is_empty(), "asked already");
    assert_eq!(come(&mut device, 20, frame(OURS, THEIRS, ARP, &arp(REPLY, THEIRS, PEER, OWN))), None);
    let frames = sent(&mut device);
    assert_eq!(frames.len(), WAITING_PACKETS);
    assert_eq!(frames[0], frame(THEIRS, OURS, IPV4, &packet(OWN, PEER)));
    send(&mut device, 30, PEER);
    assert_eq!(sent(&mut device), [frame(THEIRS, OURS, IPV4, &packet(OWN, PEER))]);
}

#[test]
fn a_lost_question_is_asked_again_and_an_old_neighbour_too() {
    let mut device = device();
    for ms in [0, 100, 249, 250, 499, 500] {
        send(&mut device, ms, PEER);
    }
    assert_eq!(sent(&mut device).len(), 3, "at 0, 250 and 500 ms");
    come(&mut device, 600, frame(OURS, THEIRS, ARP, &arp(REPLY, THEIRS, PEER, OWN)));
    sent(&mut device);
    send(&mut device, 60_500, PEER);
    assert_eq!(sent(&mut device).len(), 1);
    send(&mut device, 60_700, PEER);
    let kinds: Vec<[u8; 2]> = sent(&mut device).iter().map(|f| [f[12], f[13]]).collect();
    assert_eq!(kinds, [ARP, IPV4], "sent as before, and asked whether that is still right");
}

#[test]
fn questions_for_us_are_answered_and_others_are_not() {
    let mut device = device();
    come(&mut device, 0, frame(BROADCAST, THEIRS, ARP, &arp(REQUEST, THEIRS, PEER, OWN)));
    let answers = sent(&mut device);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0][..6], THEIRS.0);
    assert_eq!(answers[0][20..32], [&[0, REPLY][..], &OURS.0, &OWN.octets()].concat());
    come(
        &mut device,
        0,
        frame(BROADCAST, THEIRS, ARP, &arp(REQUEST, THEIRS, PEER, Ipv4Addr::new(10, 0, 0, 3))),
    );
    let far = Ipv4Addr::new(192, 168, 0, 1);
    come(&mut device, 0, frame(OURS, THEIRS, ARP, &arp(REQUEST, THEIRS, far, OWN)));
    let whole = frame(OURS, THEIRS, ARP, &arp(REQUEST, THEIRS, PEER, OWN));
    for cut in 0..whole.len() {
        come(&mut device, 0, whole[..cut].to_vec());
    }
    assert!(sent(&mut device).is_empty());
}

#[test]
fn traffic_teaches_and_what_is_not_for_us_is_dropped() {
    let mut device = device();
    let body = packet(PEER, OWN);
    assert_eq!(come(&mut device, 0, frame(THEIRS, OURS, IPV4, &body)), None, "our own, seen again");
    assert_eq!(come(&mut device, 0, frame(Mac([2; 6]), THEIRS, IPV4, &body)), None, "another's");
    assert_eq!(come(&mut device, 0, frame(OURS, THEIRS, [0x86, 0xdd], &body)), None, "IPv6");
    assert!(device.sender.neighbours.is_empty());
    assert_eq!(come(&mut device, 0, frame(OURS, THEIRS, IPV4, &body)), Some(body));
    send(&mut device, 0, PEER);
    assert_eq!(sent(&mut device), [frame(THEIRS, OURS, IPV4, &packet(OWN, PEER))], "nobody was asked");
}

#[test]
fn other_networks_are_behind_the_router_and_groups_need_no_question() {
    let mut device = device();
    send(&mut device, 0, Ipv4Addr::new(192, 168, 0, 1));
    assert_eq!(sent(&mut device)[0][38..42], [10, 0, 0, 254], "the router is asked for");
    send(&mut device, 0, Ipv4Addr::new(10, 0, 0, 255));
    send(&mut device, 0, Ipv4Addr::new(239, 192, 152, 143));
    let frames = sent(&mut device);
    assert_eq!((&frames[0][..6], &frames[1][..6]), (&BROADCAST.0[..], &[1, 0, 0x5e, 64, 152, 143][..]));
    device.sender.place.router = None;
    send(&mut device, 0, Ipv4Addr::new(192, 168, 0, 1));
    assert!(sent(&mut device).is_empty());
}

#[test]
fn a_room_of_forged_neighbours_costs_a_bounded_memory() {
    let mut device = device();
    device.sender.place.prefix_length = 8;
    for n in 2..3000u32 {
        let source = Ipv4Addr::from_bits(0x0a00_0000 + n);
        come(&mut device, i64::from(n), frame(OURS, THEIRS, IPV4, &packet(source, OWN)));
    }
    assert_eq!(device.sender.neighbours.len(), MAX_NEIGHBOURS);
    assert!(
        device.sender.neighbours.contains_key(&Ipv4Addr::from_bits(0x0a00_0000 + 2999)),
        "the last is known"
    );
}
