//! The TFTP server: any request and any acknowledgements; a transfer stays in its file and its window, and ends.
#![no_main]

use std::path::Component;
use std::time::Duration;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_masterd::tftp::probe::{Probe, Sent};
use boottorrent_swarm::Time;
use libfuzzer_sys::fuzz_target;

/// Without a word from the client a transfer is given up: after 30 s, and not before the third wait in vain; a client may
/// have set these to 255 s each (RFC 2349).
const PATIENCE: Duration = Duration::from_secs(30 + 3 * 255);

fn check(probe: &Probe, sent: &Sent, highest: u64) -> u64 {
    assert!(probe.acked() <= probe.last);
    match sent {
        Sent::Window { first, count } => {
            let end = first + u64::from(*count) - 1;
            assert_eq!(*first, probe.acked() + 1, "a window begins behind what is acknowledged");
            assert!(*count >= 1 && *count <= probe.window && end <= probe.last, "{sent:?} of {}", probe.last);
            highest.max(end)
        }
        Sent::Options(packet) => {
            assert!(packet.len() <= 512 && packet.ends_with(&[0]));
            highest
        }
        Sent::Done => {
            assert_eq!(probe.acked(), probe.last, "an end before the file's");
            highest
        }
        Sent::Nothing | Sent::GivenUp => highest,
    }
}

fn run(mut script: Script<'_>) -> Option<()> {
    let size = u64::from(script.long()?) >> script.below(32)?;
    let mut now = Time(0);
    let mut probe = Probe::open(now, script.packet()?, size)?;
    assert!(probe.path.components().all(|c| matches!(c, Component::Normal(_))), "{:?}", probe.path);
    assert!((8..=65464).contains(&probe.block_size) && (1..=64).contains(&probe.window));
    let first = probe.start(now);
    let mut highest = check(&probe, &first, 0);
    while let Some(choice) = script.byte() {
        now = now + Duration::from_millis(u64::from(choice >> 3) * 20);
        let sent = match choice % 4 {
            // The right acknowledgement, one beside it, anything, silence.
            0 => probe.packet(now, &[&[0, 4][..], &(highest as u16).to_be_bytes()].concat()),
            1 => {
                let block = (highest as u16).wrapping_sub(u16::from(script.byte()? % 4));
                probe.packet(now, &[&[0, 4][..], &block.to_be_bytes()].concat())
            }
            2 => probe.packet(now, script.packet()?),
            _ => {
                now = now.max(probe.due());
                Some(probe.expired(now))
            }
        };
        let sent = sent?;
        highest = check(&probe, &sent, highest);
        if matches!(sent, Sent::Done | Sent::GivenUp) {
            return None;
        }
        assert!(probe.due() > now || choice % 4 != 3, "a timer that does not wait");
    }
    let silent_since = now;
    loop {
        now = now.max(probe.due());
        assert!(now.since(silent_since) <= PATIENCE, "a transfer without a client and without an end");
        if probe.expired(now) == Sent::GivenUp {
            return None;
        }
    }
}

fn talk(request: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 255, 255, 3];
    out.extend_from_slice(&framed(request));
    out.extend_from_slice(&[2, 0, 4, 0, 4, 0, 0, 0, 8, 9, 1, 3, 0, 0, 7, 1, 2, 0, 0]);
    out
}

fuzz_target!(
    init: seeds(&[
        talk(b"\0\x01boot/vmlinuz\0octet\0blksize\x001428\0tsize\x000\0windowsize\x004\0"),
        talk(b"\0\x01\\boot\\x\0netascii\0timeout\x003\0"),
        talk(b"\0\x02x\0octet\0"),
    ]),
    |data: &[u8]| {
        run(Script::new(data));
    }
);
