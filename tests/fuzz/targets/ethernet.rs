//! Frames from anybody under smoltcp: ARP is ours, and what is handed on must be for us.
#![no_main]

use std::net::Ipv4Addr;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_net::smol::{Ethernet, Frames, Place};
use boottorrent_swarm::Mac;
use libfuzzer_sys::fuzz_target;
use smoltcp::phy::{Device as _, RxToken as _, TxToken as _};
use smoltcp::time::{Duration, Instant};

const OURS: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
const HEADER: usize = 14;
/// Packets that wait for one neighbour's card, and one answer: all that one frame may set free.
const SENT_AT_ONCE: usize = 4 + 1;

#[derive(Default)]
struct Wire {
    coming: Option<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Frames for Wire {
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        self.coming.take().map(|coming| *frame = coming).is_some()
    }

    fn send(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }
}

/// What left is from us, whole, and not more than one event may cause.
fn examine(ethernet: &mut Ethernet<Wire>) {
    let sent = std::mem::take(&mut ethernet.frames().sent);
    assert!(sent.len() <= SENT_AT_ONCE, "{} frames at once", sent.len());
    for frame in sent {
        assert!(frame.len() >= HEADER && frame[6..12] == OURS.0, "{frame:02x?}");
        assert!(matches!(frame[12..HEADER], [8, 0 | 6]), "{frame:02x?}");
    }
}

fn step(ethernet: &mut Ethernet<Wire>, now: &mut Instant, script: &mut Script<'_>) -> Option<()> {
    match script.below(4)? {
        0 => *now += Duration::from_millis(u64::from(script.byte()?).pow(2)),
        1 => {
            // A packet of smoltcp's to some host, mostly a near one.
            let (host, far) = (script.byte()?, script.below(8)? == 0);
            let to = if far { [192, 0, 2, host] } else { [10, 0, 0, host] };
            let length = 20 + usize::from(script.byte()?);
            ethernet.transmit(*now)?.consume(length, |packet| packet[16..20].copy_from_slice(&to));
        }
        _ => {
            let frame = script.packet()?.to_vec();
            let head = frame.get(..HEADER).map(<[u8]>::to_vec);
            ethernet.frames().coming = Some(frame);
            if let Some((received, _)) = ethernet.receive(*now) {
                let head = head.expect("a frame without a header is handed on");
                assert!(head[..6] == OURS.0 || head[0] & 1 == 1, "a packet for somebody else: {head:02x?}");
                assert_eq!(head[12..], [8, 0]);
                received.consume(|_| ());
            }
        }
    }
    examine(ethernet);
    Some(())
}

/// An ARP packet, asking or answering.
fn arp(operation: u8, to: Mac) -> Vec<u8> {
    let them = [0x52, 0x54, 0, 0, 0, 2];
    let mut out = [to.0, them].concat();
    out.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    out.extend(them);
    out.extend([10, 0, 0, 2]);
    out.extend(OURS.0);
    out.extend([10, 0, 0, 1]);
    out
}

fn talk() -> Vec<u8> {
    let mut packet = [OURS.0, [0x52, 0x54, 0, 0, 0, 2], [8, 0, 0x45, 0, 0, 20]].concat();
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
    let frames = [arp(1, Mac([0xff; 6])), arp(2, OURS), packet];
    let frames = frames.iter().flat_map(|frame| [vec![2], framed(frame)].concat());
    [1, 2, 1, 0, 1, 2, 1, 0, 0, 200].into_iter().chain(frames).chain([1, 2, 1, 0, 1, 9, 0, 0]).collect()
}

fuzz_target!(init: seeds(&[talk()]), |data: &[u8]| {
    let place = Place {
        mac: OURS,
        address: Ipv4Addr::new(10, 0, 0, 1),
        prefix_length: 24,
        router: Some(Ipv4Addr::new(10, 0, 0, 254)),
    };
    let mut ethernet = Ethernet::new(Wire::default(), place);
    let (mut now, mut script) = (Instant::ZERO, Script::new(data));
    while step(&mut ethernet, &mut now, &mut script).is_some() {}
});
