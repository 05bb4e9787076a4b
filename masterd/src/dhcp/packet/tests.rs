use super::*;

/// A message as a client would build it; the options follow as given.
pub(crate) fn message(kind: u8, mac: [u8; 6], options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut packet = vec![0; OPTIONS];
    packet[..4].copy_from_slice(&[1, 1, 6, 0]);
    packet[4..8].copy_from_slice(&[0xde, 0xad, 0xbe, 0xef]);
    packet[28..34].copy_from_slice(&mac);
    packet[236..240].copy_from_slice(&COOKIE);
    if kind != 0 {
        packet.extend([code::MESSAGE_TYPE, 1, kind]);
    }
    for (code, value) in options {
        packet.extend([*code, u8::try_from(value.len()).unwrap()]);
        packet.extend_from_slice(value);
    }
    packet.push(code::END);
    packet
}

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

#[test]
fn the_header_and_the_options() {
    let mut packet = message(1, MAC, &[(50, &[10, 0, 0, 5]), (57, &[5, 0xc0]), (55, &[1, 3])]);
    packet[10] = 0x80;
    packet[12..16].copy_from_slice(&[10, 0, 0, 9]);
    packet[24..28].copy_from_slice(&[10, 1, 0, 1]);
    let request = Request::parse(&packet).unwrap();
    assert_eq!(request.kind, MessageType::Discover);
    assert_eq!((request.xid, request.mac), (0xdead_beef, Mac(MAC)));
    assert_eq!(request.flags, 0x8000);
    assert_eq!(request.ciaddr, Ipv4Addr::new(10, 0, 0, 9));
    assert_eq!(request.giaddr, Ipv4Addr::new(10, 1, 0, 1));
    assert_eq!(request.address(50), Some(Ipv4Addr::new(10, 0, 0, 5)));
    assert_eq!(request.max_size(), Some(1472));
    assert_eq!(request.option(55), Some(&[1, 3][..]));
    assert_eq!(request.address(54), None);
}

#[test]
fn split_and_overloaded_options_are_joined_in_order() {
    let mut packet = message(1, MAC, &[(52, &[3]), (60, b"PXE")]);
    packet[108..116].copy_from_slice(b"\x3c\x03Cli\xff\x01\x01");
    packet[44..50].copy_from_slice(b"\x00\x3c\x03ent");
    let request = Request::parse(&packet).unwrap();
    assert_eq!(request.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(request.option(1), None);
}

#[test]
fn what_is_malformed_says_why() {
    let good = message(1, MAC, &[]);
    let changed = |at: usize, to: u8| {
        let mut packet = good.clone();
        packet[at] = to;
        Request::parse(&packet)
    };
    assert_eq!(Request::parse(&good[..239]), Err(Malformed::Short { bytes: 239 }));
    assert_eq!(Request::parse(&[]), Err(Malformed::Short { bytes: 0 }));
    assert_eq!(changed(0, 2), Err(Malformed::NotARequest { op: 2 }));
    assert_eq!(changed(1, 32), Err(Malformed::Hardware { kind: 32, length: 6 }));
    assert_eq!(changed(2, 16), Err(Malformed::Hardware { kind: 1, length: 16 }));
    assert_eq!(changed(236, 0), Err(Malformed::Cookie));
    assert!(matches!(changed(28, 0xff), Err(Malformed::HardwareAddress(_))));
    assert_eq!(changed(242, 2), Err(Malformed::Type { value: 2 }));
    assert_eq!(changed(241, 200), Err(Malformed::OptionCut { code: 53 }));
    assert_eq!(Request::parse(&good[..241]), Err(Malformed::OptionCut { code: 53 }));
    assert_eq!(Request::parse(&message(0, MAC, &[])), Err(Malformed::Bootp));
    let of = |code, value| Request::parse(&message(1, MAC, &[(code, value)]));
    assert_eq!(of(52, &[4]), Err(Malformed::Overload { value: 4 }));
    assert_eq!(of(54, &[1, 2, 3]), Err(Malformed::OptionLength { code: 54, length: 3 }));
    assert_eq!(of(53, &[1]), Err(Malformed::OptionLength { code: 53, length: 2 }));
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    let packet =
        message(3, MAC, &[(52, &[3]), (50, &[10, 0, 0, 5]), (82, &[1, 2, 3, 4]), (175, &[0xb0, 1, 1])]);
    for length in 0..packet.len() {
        let _ = Request::parse(&packet[..length]);
    }
    for at in 0..packet.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut packet = packet.clone();
            packet[at] = byte;
            let _ = Request::parse(&packet);
        }
    }
}
