use super::*;
use crate::graph::Rack;
use crate::metainfo::{BLOCK, Geometry};
use crate::{InfoHash, PeerId};
use alloc::vec::Vec;

fn handshake() -> Handshake {
    Handshake::new(InfoHash([1; 20]), PeerId([2; 20]))
}

fn open() -> Decoder {
    let mut decoder = Decoder::new();
    decoder.next(&handshake().emit()).unwrap();
    decoder
}

fn messages() -> Vec<Message<'static>> {
    let c = BlockClaim { index: 1, offset: 2 * BLOCK, length: BLOCK };
    let rack = Some(Rack(300));
    let hello =
        ExtHandshake { reqq: Some(2000), port: Some(6881), upload_only: Some(true), control: Some(8), rack };
    alloc::vec![
        Message::KeepAlive,
        Message::Choke,
        Message::Unchoke,
        Message::Interested,
        Message::NotInterested,
        Message::Have(7),
        Message::Bitfield(&[0xff, 0x80]),
        Message::Request(c),
        Message::Cancel(c),
        Message::Port(6881),
        Message::Suggest(3),
        Message::HaveAll,
        Message::HaveNone,
        Message::Reject(c),
        Message::AllowedFast(4),
        Message::Extended(hello),
        Message::Extended(ExtHandshake::default()),
        Message::DontHave(5),
        Message::Unknown(200),
    ]
}

#[test]
fn every_message_round_trips_byte_by_byte() {
    for message in messages() {
        let mut bytes = Vec::new();
        message.emit(&mut bytes);
        let mut decoder = open();
        for n in 0..bytes.len() {
            assert_eq!(decoder.next(&bytes[..n]), Ok(None), "{message:?} at {n}");
        }
        assert_eq!(decoder.next(&bytes), Ok(Some((bytes.len(), Frame::Message(message)))));
    }
}

#[test]
fn the_first_wrong_byte_of_a_handshake_is_enough() {
    let good = handshake().emit();
    for n in 0..20 {
        let mut bad = good;
        bad[n] ^= 1;
        assert_eq!(Decoder::new().next(&bad[..=n]), Err(WireError::NotBitTorrent));
        assert_eq!(Decoder::new().next(&good[..n]), Ok(None));
    }
    assert_eq!(Decoder::new().next(&good), Ok(Some((68, Frame::Handshake(handshake())))));
    assert!(handshake().fast() && handshake().extended());
}

#[test]
fn payload_is_left_to_the_driver() {
    let g = Geometry::new(BLOCK * 2, u64::from(BLOCK) * 8).unwrap();
    let block = g.block(g.piece(2).unwrap(), 1).unwrap();
    let mut header = [0; PIECE_HEADER];
    emit_piece_header(block, &mut header);
    let mut decoder = open();
    assert_eq!(decoder.next(&header[..12]), Ok(None));
    let frame = Frame::Payload { index: 2, begin: BLOCK, length: BLOCK };
    assert_eq!(decoder.next(&header), Ok(Some((PIECE_HEADER, frame))));
    assert_eq!(decoder.next(&[0, 0, 0, 0]), Ok(None), "bytes of the payload are no message");
    decoder.payload_done();
    assert_eq!(decoder.next(&[0, 0, 0, 0]), Ok(Some((4, Frame::Message(Message::KeepAlive)))));
}

#[test]
fn lengths_that_cannot_be_are_refused_before_they_arrive() {
    let wrong = |bytes: &[u8]| open().next(bytes).unwrap_err();
    assert!(matches!(wrong(&[0xff, 0xff, 0xff, 0xff]), WireError::TooLong(_)));
    assert!(matches!(wrong(&[0, 0, 0x40, 10, 7]), WireError::Length { id: 7, .. }), "a block above 16 KiB");
    assert!(
        matches!(wrong(&[0, 0, 0, 9, 7, 0, 0, 0, 0, 0, 0, 0, 0]), WireError::Length { .. }),
        "an empty block"
    );
    assert!(matches!(wrong(&[0, 0, 0, 2, 0, 0]), WireError::Length { id: 0, .. }));
    assert!(matches!(wrong(&[0, 0, 0, 4, 4, 0, 0, 0]), WireError::Length { id: 4, .. }));
    assert_eq!(wrong(&[0, 0, 0, 4, 20, 0, b'x', b'y']), WireError::Extended);
    let large = Geometry::new(BLOCK, u64::from(BLOCK) << 20).unwrap();
    let mut decoder = open();
    decoder.set_geometry(&large);
    let length = (1u32 << 17) + 1;
    let [a, b, c, d] = length.to_be_bytes();
    assert_eq!(decoder.next(&[a, b, c, d, 5]), Ok(None), "a bitfield of a million pieces");
}

#[test]
fn garbage_never_panics() {
    let mut rng = crate::Rng::new(1);
    for _ in 0..20_000 {
        let n = rng.below(64) as usize;
        let mut bytes: Vec<u8> = (0..n).map(|_| rng.next_u32() as u8).collect();
        // Mostly plausible lengths and ids, so that bodies are reached.
        for (at, below) in [(0, 1), (1, 1), (2, 2), (3, 40), (4, 24)] {
            if let Some(b) = bytes.get_mut(at) {
                *b = rng.below(below) as u8;
            }
        }
        let _ = open().next(&bytes);
    }
}
