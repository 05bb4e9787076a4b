//! The DHCP server: any packets at any time; no address is ever given twice, and a restart forgets nothing.
#![no_main]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_masterd::dhcp::config::{BootRule, DhcpConfig, RawOption, ReservationConfig, SubnetConfig};
use boottorrent_masterd::dhcp::probe::Probe;
use boottorrent_swarm::{Mac, Time};
use libfuzzer_sys::fuzz_target;

/// 1 January 2026: the server counts from 1970.
const START: Time = Time(1_767_225_600_000_000);

/// A small pool, so that it runs out, two networks and two reservations.
fn config() -> DhcpConfig {
    let subnet = |network: &str, range: &str| SubnetConfig {
        network: network.parse().expect("a network"),
        ranges: vec![range.parse().expect("a range")],
        options: vec![
            RawOption { code: 3, value: vec![10, 0, 0, 1] },
            RawOption { code: 15, value: b"lab".to_vec() },
        ],
    };
    let node = |last: u8, address: Option<Ipv4Addr>| ReservationConfig {
        mac: Mac([0x52, 0x54, 0, 0, 0, last]),
        address,
        name: Some(format!("n{last}")),
        options: vec![RawOption { code: 224, value: vec![last; 200] }],
    };
    DhcpConfig {
        site: "lab".into(),
        server: Ipv4Addr::new(10, 0, 0, 1),
        interface: "eth1".into(),
        lease_seconds: 600,
        subnets: vec![
            subnet("10.0.0.0/24", "10.0.0.100-10.0.0.103"),
            subnet("10.1.0.0/24", "10.1.0.100-10.1.0.101"),
        ],
        reservations: vec![
            node(1, Some(Ipv4Addr::new(10, 0, 0, 11))),
            node(2, Some(Ipv4Addr::new(10, 0, 0, 101))),
            node(3, None),
        ],
        boot: vec![
            BootRule { ipxe: true, arch: vec![], file: "boot/boot.ipxe".into() },
            BootRule { ipxe: false, arch: vec![0], file: "boot/undionly.kpxe".into() },
        ],
    }
}

/// A client's message; the fuzzer breaks it.
fn message(kind: u8, mac: u8, options: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, mac]);
    packet[236..240].copy_from_slice(&[99, 130, 83, 99]);
    packet.extend_from_slice(&[53, 1, kind]);
    packet.extend_from_slice(options);
    packet.push(255);
    packet
}

/// An exchange that a script writes in few bytes: kind, client, address and what else a client may say.
fn built(script: &mut Script<'_>) -> Option<Vec<u8>> {
    let (kind, mac, address, say) = (script.below(9)?, script.below(10)?, script.byte()?, script.byte()?);
    let mut options = Vec::new();
    if say & 1 != 0 {
        options.extend_from_slice(&[50, 4, 10, say >> 7, 0, address]);
    }
    if say & 2 != 0 {
        options.extend_from_slice(&[54, 4, 10, 0, 0, 1]);
    }
    if say & 4 != 0 {
        options.extend_from_slice(&[93, 2, 0, address % 8, 60, 9]);
        options.extend_from_slice(b"PXEClient");
    }
    if say & 8 != 0 {
        options.extend_from_slice(&[57, 2, address, 0, 55, 3, 1, 3, 224, 51, 4, 0, 0, address, 0]);
    }
    if say & 32 != 0 {
        options.extend_from_slice(&[82, 8, 1, 2, 0, address % 4, 2, 2, b's', b'w']);
    }
    if say & 132 == 128 {
        // Our agent, who wants its own disk next.
        options.extend_from_slice(b"\x3c\x0bboottorrent\x7d\x08\0\0\x7e\xd9\x03\x02\x01\x01");
    }
    let mut packet = message(kind, mac, &options);
    if say & 16 != 0 {
        packet[12..16].copy_from_slice(&[10, say >> 7, 0, address]);
    }
    if say & 32 != 0 {
        packet[24..28].copy_from_slice(&[10, 1, 0, 1]);
    }
    packet[10] = say & 64;
    Some(packet)
}

/// What an answer must be like whatever was asked, and whom it gives which address.
fn answer(asked: &[u8], reply: &[u8]) -> Option<(Ipv4Addr, Mac)> {
    assert!(reply.len() >= 240 && reply.len() <= 1500, "{} bytes", reply.len());
    assert_eq!((reply[0], &reply[236..240]), (2, &[99, 130, 83, 99][..]));
    assert_eq!((&reply[4..8], &reply[28..34]), (&asked[4..8], &asked[28..34]), "somebody else's answer");
    let mut kind = None;
    let mut rest = &reply[240..];
    loop {
        match rest {
            [255, ..] => break,
            [0, after @ ..] => rest = after,
            [code, length, after @ ..] => {
                let (value, after) = after.split_at_checked(usize::from(*length)).expect("an option is cut");
                if *code == 53 {
                    kind = Some(value[0]);
                }
                rest = after;
            }
            _ => panic!("the options have no end"),
        }
    }
    let mac = Mac(reply[28..34].try_into().expect("six bytes"));
    let address = Ipv4Addr::new(reply[16], reply[17], reply[18], reply[19]);
    // An ACK with an address is a lease; an INFORM's has none.
    (kind == Some(5) && !address.is_unspecified()).then_some((address, mac))
}

fn run(mut script: Script<'_>) -> Option<()> {
    let mut probe = Probe::new(config());
    let mut held: BTreeMap<Ipv4Addr, (Mac, Time)> = BTreeMap::new();
    let mut now = START;
    loop {
        let choice = script.byte()?;
        now = now + Duration::from_secs(u64::from(choice & 0x1f).pow(2));
        let packet = if choice & 0x20 == 0 { built(&mut script)? } else { script.packet()?.to_vec() };
        let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let seen = probe.packet(now, from, &packet);
        let leases = probe.leases(now);
        if let Some((_, reply)) = &seen.reply
            && let Some((address, mac)) = answer(&packet, reply)
        {
            assert!(seen.recorded, "a lease that a crash would lose");
            // Where it is plugged in is known at once, and only a relay says it.
            let relay = Ipv4Addr::from(<[u8; 4]>::try_from(&packet[24..28]).expect("four bytes"));
            let origin = probe.origin(now, address).and_then(|origin| origin.relay);
            assert!(
                relay.is_unspecified() || origin == Some(relay),
                "{address} is behind {relay}, not {origin:?}"
            );
            let until = leases
                .iter()
                .find(|l| l.0 == address && l.1 == Some(mac))
                .expect("the lease that was told")
                .2;
            if let Some((other, theirs)) = held.insert(address, (mac, until)) {
                assert!(
                    other == mac || theirs <= now,
                    "{address} was given to {mac}, and {other} has it still"
                );
            }
        }
        // Whoever gives an address back no longer holds it.
        held.retain(|address, (mac, _)| leases.iter().any(|l| l.0 == *address && l.1 == Some(*mac)));
        if choice & 0x40 != 0 {
            let reopened = probe.reopened(now);
            assert_eq!(reopened.leases(now), leases, "a restart has changed who has what");
            probe = reopened;
        }
    }
}

fn talk() -> Vec<u8> {
    let mut out = Vec::new();
    for mac in [1, 2, 3, 9] {
        // DISCOVER, REQUEST of the offer, renewal, a raw INFORM, RELEASE.
        out.extend_from_slice(&[
            1,
            1,
            mac,
            100,
            4,
            0x41,
            3,
            mac,
            100 + mac,
            3,
            2,
            3,
            mac,
            100 + mac,
            16,
            0x20,
        ]);
        out.extend_from_slice(&framed(&message(8, mac, &[52, 1, 3, 55, 2, 1, 3])));
        out.extend_from_slice(&[0x41, 7, mac, 100 + mac, 18, 0, 4, mac, 100, 3]);
    }
    out
}

fuzz_target!(init: seeds(&[talk()]), |data: &[u8]| {
    run(Script::new(data));
});
