use super::*;
use crate::dhcp::packet::tests::message;

const NODE: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;
/// Circuit 00 04, remote end "sw7", and a sub-option that nobody knows.
const AGENT: &[u8] = &[1, 2, 0, 4, 2, 3, b's', b'w', b'7', 9, 1, 0];

fn request(kind: u8, ciaddr: [u8; 4], giaddr: [u8; 4], options: &[(u8, &[u8])]) -> Request {
    let mut packet = message(kind, NODE, options);
    packet[12..16].copy_from_slice(&ciaddr);
    packet[24..28].copy_from_slice(&giaddr);
    Request::parse(&packet).unwrap()
}

fn id(text: &str) -> Option<RelayId> {
    Some(text.parse().unwrap())
}

#[test]
fn the_relay_says_where_a_node_is() {
    let of = |options: &[(u8, &[u8])]| Origin::of(&request(DISCOVER, [0; 4], [10, 1, 0, 1], options));
    let relay = Some(Ipv4Addr::new(10, 1, 0, 1));
    let whole = Origin { relay, circuit_id: id("0004"), remote_id: id("737737") };
    assert_eq!(of(&[(82, AGENT)]), whole);
    assert_eq!(of(&[]), Origin { relay, ..Origin::default() });
    assert_eq!(of(&[(82, &AGENT[..8])]), Origin { remote_id: None, ..whole.clone() }, "cut off");
    let long = [&[1, 65][..], &[7; 65], &[2, 0]].concat();
    assert_eq!(of(&[(82, &long)]), Origin { relay, ..Origin::default() }, "neither too long nor empty ones");
    assert_eq!(Origin::of(&request(DISCOVER, [0; 4], [0; 4], &[])), Origin::default());
}

/// It goes past the relay, which is no news of the node; but whoever asks anew, without a relay, has moved.
#[test]
fn a_renewal_does_not_forget_it() {
    let address = Ipv4Addr::new(10, 1, 0, 100);
    let mut origins = Origins::default();
    let server = (54, &[10, 0, 0, 1][..]);
    origins.acknowledged(address, &request(REQUEST, [0; 4], [10, 1, 0, 1], &[server, (82, AGENT)]));
    let there = origins.of(address, Mac(NODE)).cloned().unwrap();
    assert_eq!(there.circuit_id, id("0004"));
    assert_eq!(origins.of(address, Mac([2; 6])), None, "another node's");
    origins.acknowledged(address, &request(REQUEST, address.octets(), [0; 4], &[]));
    assert_eq!(origins.of(address, Mac(NODE)), Some(&there));
    origins.retain(|a, mac| (a, mac) == (address, Mac(NODE)));
    assert_eq!(origins.of(address, Mac(NODE)), Some(&there));
    origins.acknowledged(address, &request(REQUEST, [0; 4], [0; 4], &[server]));
    assert_eq!(origins.of(address, Mac(NODE)), None);
    origins.acknowledged(address, &request(REQUEST, [0; 4], [10, 1, 0, 1], &[server]));
    origins.retain(|_, _| false);
    assert_eq!(origins.of(address, Mac(NODE)), None);
}

#[test]
fn what_a_state_file_says_is_recalled() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dhcp.json");
    assert!(read(&path).is_err());
    std::fs::write(
        &path,
        r#"{"written": 1, "leases": [
            {"address": "10.1.0.100", "mac": "52:54:00:00:00:01", "name": "n01", "until": 5,
             "via": {"relay": "10.1.0.1", "circuit-id": "0004", "colour": "red"}},
            {"address": "10.0.0.101", "mac": "52:54:00:00:00:02", "until": 5},
            {"address": "10.0.0.102", "until": 5}]}"#,
    )
    .unwrap();
    let told = read(&path).unwrap();
    assert_eq!(told.len(), 3);
    let mut origins = Origins::default();
    origins.recall(told);
    let expected =
        Origin { relay: Some(Ipv4Addr::new(10, 1, 0, 1)), circuit_id: id("0004"), remote_id: None };
    assert_eq!(origins.of(Ipv4Addr::new(10, 1, 0, 100), Mac(NODE)), Some(&expected));
    assert_eq!(serde_json::to_string(&expected).unwrap(), r#"{"relay":"10.1.0.1","circuit-id":"0004"}"#);
    for wrong in ["[]", "{}", r#"{"leases": [{"address": "10.1.0.1", "via": {"circuit-id": "x"}}]}"#] {
        std::fs::write(&path, wrong).unwrap();
        assert!(read(&path).is_err(), "{wrong}");
    }
}
