use dhcproto::v4::{Decodable, Decoder, DhcpOption, OptionCode};

use super::*;
use crate::dhcp::packet::tests::message;

fn request(options: &[(u8, &[u8])]) -> Request {
    Request::parse(&message(1, [2, 0, 0, 0, 0, 1], options)).unwrap()
}

/// Of a client's type, so that our own reader takes it too.
fn draft(mut options: Vec<(u8, Vec<u8>)>) -> Draft {
    if options.iter().all(|(code, _)| *code != code::MESSAGE_TYPE) {
        options.insert(0, (code::MESSAGE_TYPE, vec![1]));
    }
    Draft {
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::new(10, 0, 0, 100),
        siaddr: Ipv4Addr::new(10, 0, 0, 1),
        flags: 0x8000,
        file: b"boot/undionly.kpxe".to_vec(),
        options,
        relay_agent: None,
    }
}

/// The options as our own reader sees them, which follows overload and joins what was split.
fn read_back(packet: &[u8]) -> Request {
    let mut request = packet.to_vec();
    request[0] = 1;
    Request::parse(&request).unwrap()
}

#[test]
fn another_decoder_reads_the_header() {
    let offer = draft(vec![(53, vec![1]), (54, vec![10, 0, 0, 1])]).emit(&request(&[]));
    let message = Message::decode(&mut Decoder::new(&offer.packet)).unwrap();
    assert_eq!(message.opcode(), Opcode::BootReply);
    assert_eq!((message.xid(), message.yiaddr()), (0xdead_beef, Ipv4Addr::new(10, 0, 0, 100)));
    assert_eq!(message.siaddr(), Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(message.chaddr(), [2, 0, 0, 0, 0, 1]);
    assert!(message.flags().broadcast());
    assert_eq!(message.fname(), Some(&b"boot/undionly.kpxe\0"[..]), "with its NUL");
    let server = message.opts().get(OptionCode::ServerIdentifier);
    assert_eq!(server, Some(&DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 0, 1))));
    assert_eq!(offer.packet.len(), MIN_MESSAGE);
    assert!(offer.left_out.is_empty());
}

#[test]
fn the_order_stays() {
    let offer = draft(vec![(53, vec![1]), (1, vec![255; 4]), (15, b"x".to_vec()), (3, vec![1; 4])])
        .emit(&request(&[]));
    assert_eq!(
        offer.packet[OPTIONS..OPTIONS + 18],
        *b"\x35\x01\x01\x01\x04\xff\xff\xff\xff\x0f\x01x\x03\x04\x01\x01\x01\x01"
    );
}

#[test]
fn long_options_are_split_and_come_back_whole() {
    let long: Vec<u8> = (0..=255).chain(0..100).collect();
    let offer =
        draft(vec![(53, vec![1]), (119, long.clone())]).emit(&request(&[(57, &1500_u16.to_be_bytes())]));
    assert_eq!(read_back(&offer.packet).option(119), Some(&long[..]));
    assert!(offer.left_out.is_empty());
    let exact = draft(vec![(53, vec![1]), (43, vec![7; 255]), (44, vec![])]).emit(&request(&[]));
    let back = read_back(&exact.packet);
    assert_eq!((back.option(43), back.option(44)), (Some(&[7; 255][..]), Some(&[][..])));
}

#[test]
fn a_small_client_gets_the_rest_in_the_other_fields() {
    let options =
        vec![(53, vec![1]), (200, vec![1; 250]), (201, vec![2; 100]), (202, vec![3; 50]), (203, vec![4; 40])];
    let mut small = draft(options);
    small.file.clear();
    let offer = small.emit(&request(&[]));
    assert!(offer.packet.len() <= 576 - IP_AND_UDP, "{}", offer.packet.len());
    let back = read_back(&offer.packet);
    assert_eq!(back.option(52), Some(&[3][..]));
    for (code, byte, length) in [(200, 1, 250), (201, 2, 100), (202, 3, 50), (203, 4, 40)] {
        assert_eq!(back.option(code), Some(&vec![byte; length][..]), "{code}");
    }
    assert!(offer.left_out.is_empty());
}

#[test]
fn a_boot_file_keeps_its_field_and_what_does_not_fit_is_told() {
    let options = vec![(53, vec![1]), (200, vec![1; 250]), (201, vec![2; 100]), (202, vec![3; 60])];
    let offer = draft(options.clone()).emit(&request(&[]));
    let back = read_back(&offer.packet);
    assert_eq!((back.option(52), &offer.left_out), (Some(&[2][..]), &vec![201]));
    assert!(offer.packet[FILE].starts_with(b"boot/undionly.kpxe\0"));
    assert!(draft(options).emit(&request(&[(57, &1500_u16.to_be_bytes())])).left_out.is_empty());
}

#[test]
fn no_answer_exceeds_what_the_client_takes_or_an_ethernet_carries() {
    for asked in [0_u16, 100, 576, 577, 700, 1500, 9000, 65535] {
        let options = (0..40_u8).map(|n| (150 + n, vec![n; 60])).collect();
        let offer = draft(options).emit(&request(&[(57, &asked.to_be_bytes())]));
        let limit = usize::from(asked.clamp(576, 1500)) - IP_AND_UDP;
        assert!(
            offer.packet.len() <= limit && offer.packet.len() > limit - 70,
            "{asked}: {}",
            offer.packet.len()
        );
        read_back(&offer.packet);
    }
}

#[test]
fn what_a_relay_added_comes_last_and_is_never_left_out() {
    let mut relayed = draft((0..20_u8).map(|n| (150 + n, vec![n; 60])).collect());
    relayed.relay_agent = Some(vec![9; 300]);
    let offer = relayed.emit(&request(&[]));
    assert!(offer.packet.len() <= 576 - IP_AND_UDP);
    assert_eq!(read_back(&offer.packet).option(82), Some(&[9; 300][..]));
    assert_eq!(offer.packet[offer.packet.len() - 48..][..2], [82, 45]);
}
