//! A peer's byte stream: the frames are the same wherever TCP has cut it, and each message reads back.
#![no_main]

use boottorrent_fuzz::{Script, seeds};
use boottorrent_swarm::graph::Rack;
use boottorrent_swarm::metainfo::Geometry;
use boottorrent_swarm::wire::{BlockClaim, Decoder, ExtHandshake, Frame, Handshake, Message, WireError};
use boottorrent_swarm::{InfoHash, PeerId};
use libfuzzer_sys::fuzz_target;

/// Bytes that never come in one read.
const LARGEST_READ: usize = 512;

/// Frames, as text since they borrow, up to the error or the end. `cuts` says how the stream arrives.
fn frames(stream: &[u8], pieces: u64, mut cuts: impl FnMut() -> usize) -> (Vec<String>, Option<WireError>) {
    let mut decoder = Decoder::new();
    decoder.set_geometry(&Geometry::new(16_384, pieces * 16_384).expect("a few thousand pieces"));
    let (mut found, mut skip) = (Vec::new(), 0);
    let (mut start, mut end) = (0, 0);
    while end < stream.len() {
        end = (end + cuts().max(1)).min(stream.len());
        loop {
            let skipped = skip.min(end - start);
            (start, skip) = (start + skipped, skip - skipped);
            if skip > 0 {
                break;
            }
            decoder.payload_done();
            let buffer = &stream[start..end];
            match decoder.next(buffer) {
                Ok(Some((taken, frame))) => {
                    assert!(taken > 0 && taken <= buffer.len());
                    start += taken;
                    if let Frame::Payload { length, .. } = frame {
                        skip = length as usize;
                    }
                    reads_back(&frame);
                    found.push(format!("{frame:?}"));
                }
                Ok(None) => {
                    assert!(buffer.len() < decoder.needs(), "a driver's buffer would be full for ever");
                    break;
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn reads_back(frame: &Frame<'_>) {
    let mut out = Vec::new();
    match frame {
        Frame::Message(Message::Unknown(_)) | Frame::Payload { .. } => return,
        Frame::Handshake(handshake) => {
            assert_eq!(Handshake::parse(&handshake.emit()).as_ref(), Some(handshake));
            return;
        }
        Frame::Message(message) => message.emit(&mut out),
    }
    let mut decoder = Decoder::new();
    let hello = Handshake::new(InfoHash::default(), PeerId::default()).emit();
    assert!(matches!(decoder.next(&hello), Ok(Some((68, _)))));
    decoder.set_geometry(&Geometry::new(16_384, 16_384 << 19).expect("half a million pieces"));
    assert_eq!(decoder.next(&out), Ok(Some((out.len(), frame.clone()))));
}

fn stream() -> Vec<u8> {
    let mut out = vec![3];
    out.extend_from_slice(&Handshake::new(InfoHash([1; 20]), PeerId([2; 20])).emit());
    let claim = BlockClaim { index: 1, offset: 16_384, length: 16_384 };
    let rack = Some(Rack(5));
    let hello =
        ExtHandshake { reqq: Some(250), port: Some(6881), upload_only: Some(true), control: Some(8), rack };
    for message in [
        Message::Bitfield(&[0xf0]),
        Message::Extended(hello),
        Message::Unchoke,
        Message::Interested,
        Message::Request(claim),
        Message::KeepAlive,
        Message::Have(3),
        Message::Cancel(claim),
        Message::Reject(claim),
        Message::DontHave(2),
        Message::Port(6881),
        Message::HaveAll,
    ] {
        message.emit(&mut out);
    }
    out.extend_from_slice(&[0, 0, 0, 12, 7, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 0]);
    out
}

fuzz_target!(init: seeds(&[stream()]), |data: &[u8]| {
    let mut script = Script::new(data);
    let Some(cuts) = script.byte() else { return };
    let stream = script.rest();
    let pieces = u64::from(cuts) * 4 + 1;
    let whole = frames(stream, pieces, || stream.len());
    let mut state = u32::from(cuts);
    let cut = frames(stream, pieces, || {
        // Any sequence will do, as long as the input chooses it.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % LARGEST_READ.min(1 << (cuts % 10))
    });
    assert_eq!(whole, cut, "frames depend on how the stream was cut");
});
