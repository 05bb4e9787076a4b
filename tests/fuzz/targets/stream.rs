//! A link's bytes behind its framing: wherever TCP has cut them, the same blocks are stored and the same is answered, and a
//! digest that was carried on while they came is that of the stored bytes.
#![no_main]

use boottorrent_fuzz::{Script, seeds};
use boottorrent_net::probe::Probe;
use boottorrent_swarm::metainfo::{BLOCK, Geometry};
use boottorrent_swarm::wire::{BlockClaim, Message};
use libfuzzer_sys::fuzz_target;

/// Enough for a gap in the middle.
const PIECE: u32 = 3 * BLOCK;
const TOTAL: u32 = 2 * PIECE + 1000;
/// What every byte of the image should be.
const RIGHT: u8 = 0x5a;

fn probe() -> Probe {
    let geometry = Geometry::new(PIECE, u64::from(TOTAL)).expect("three pieces");
    Probe::new(geometry, &[RIGHT; TOTAL as usize])
}

/// What a script makes the peer say: words as they stand, and blocks that it was asked for.
fn stream(mut script: Script<'_>, asked: &[BlockClaim]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(choice) = script.byte() {
        match (choice & 3, asked.get(usize::from(choice >> 2) % asked.len().max(1))) {
            (0, _) => {
                let count = script.byte().unwrap_or(0);
                out.extend_from_slice(script.take(usize::from(count)));
            }
            (kind, Some(claim)) => {
                out.extend_from_slice(&(9 + claim.length).to_be_bytes());
                out.push(7);
                out.extend_from_slice(&claim.index.to_be_bytes());
                out.extend_from_slice(&claim.offset.to_be_bytes());
                let fill = if kind == 1 { choice } else { RIGHT };
                // Half a block, and then whatever comes next.
                let length = if kind == 2 { claim.length / 2 } else { claim.length };
                out.resize(out.len() + length as usize, fill);
            }
            _ => {}
        }
    }
    out
}

/// Everything in order, and some words between.
fn whole() -> Vec<u8> {
    let mut have = Vec::new();
    Message::Have(1).emit(&mut have);
    let mut out = vec![1];
    // Three pieces, the last of one block.
    for n in 0..7 {
        out.push(n << 2 | 3);
        out.extend_from_slice(&[0, have.len() as u8]);
        out.extend_from_slice(&have);
    }
    out
}

fuzz_target!(init: seeds(&[whole()]), |data: &[u8]| {
    let mut script = Script::new(data);
    let Some(cuts) = script.byte() else { return };
    let mut at_once = probe();
    let bytes = stream(script, &at_once.asked());
    at_once.take(&bytes);
    let mut cut = probe();
    let (mut rest, mut state) = (&bytes[..], u32::from(cuts));
    while !rest.is_empty() {
        // Any sequence will do, as long as the input chooses it.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = ((state >> 16) as usize % (1 << (cuts % 16)) + 1).min(rest.len());
        cut.take(&rest[..length]);
        rest = &rest[length..];
    }
    assert!(at_once.end() == cut.end(), "what a node does depends on how the stream was cut");
});
