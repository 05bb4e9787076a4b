//! The router advertiser: any packets; it never answers where a router does, and floods nobody.
#![no_main]

use std::net::Ipv6Addr;
use std::time::Duration;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_masterd::ra::probe::{Probe, Sent};
use boottorrent_swarm::Time;
use libfuzzer_sys::fuzz_target;

/// RFC 4861 6.2.6: multicasts of a router are at least this far apart.
const PAUSE: Duration = Duration::from_secs(3);

fn run(mut script: Script<'_>) -> Option<()> {
    let mut probe = Probe::default();
    let mut now = Time(1_000_000_000);
    let mut to_all: Option<Time> = None;
    loop {
        let choice = script.byte()?;
        now = now + Duration::from_millis(u64::from(choice >> 3).pow(2) * 4);
        let host = u16::from(script.byte()?);
        let from = match host {
            0 => Ipv6Addr::UNSPECIFIED,
            1..=3 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host),
            _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host),
        };
        let hop_limit = [Some(255), Some(255), Some(64), None][usize::from(choice % 4)];
        let packet = script.packet()?;
        let timer = probe.due().filter(|due| *due <= now).map(|_| probe.expired(now));
        for sent in timer.into_iter().chain([probe.packet(now, from, hop_limit, packet)]) {
            match sent {
                Sent::ToAll => {
                    assert!(
                        to_all.is_none_or(|last| now.since(last) >= PAUSE),
                        "multicasts in quick succession"
                    );
                    to_all = Some(now);
                }
                Sent::To(address) => {
                    assert!(address == from && !from.is_unspecified());
                    assert!(probe.router(now).is_none(), "a router answers here");
                    assert_eq!((hop_limit, packet[0]), (Some(255), 133), "an answer to what was no question");
                }
                Sent::Nothing | Sent::Counted => {}
            }
        }
        assert!(probe.due().is_none_or(|due| due > now), "a timer that does not wait");
    }
}

fn talk() -> Vec<u8> {
    let solicitation = framed(&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1]);
    let mut advertisement = vec![134, 0, 0, 0, 64, 0, 0, 60];
    advertisement.extend_from_slice(&[0; 8]);
    let mut out = Vec::new();
    for (choice, host, packet) in
        [(0, 5, &solicitation), (0, 6, &solicitation), (0, 9, &framed(&advertisement)), (8, 5, &solicitation)]
    {
        out.extend_from_slice(&[choice, host]);
        out.extend_from_slice(packet);
    }
    out
}

fuzz_target!(init: seeds(&[talk()]), |data: &[u8]| {
    run(Script::new(data));
});
