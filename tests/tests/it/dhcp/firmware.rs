//! What real firmware sent once (tests/captures/dhcp), answered again: the right boot file for each, at once.

use super::wire::{Client, OFFER, Reply};
use super::{Dhcp, SITE, SOON};
use boottorrent_tests::programs;
use std::fs;

fn capture(name: &str) -> Vec<u8> {
    let path = programs::repository().join("tests/captures/dhcp").join(format!("{name}.hex"));
    let text = fs::read_to_string(path).unwrap();
    let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn offer(client: &Client, name: &str) -> Reply {
    client.send(&capture(name));
    let reply = client.receive(SOON).unwrap_or_else(|| panic!("no answer to {name}"));
    assert_eq!(reply.kind, OFFER, "{name}");
    assert_eq!(reply.next_server.to_string(), "10.0.0.1");
    reply
}

#[test]
fn each_firmware_is_told_its_file() {
    let dhcp = Dhcp::serving(SITE);
    let client = Client::on(&dhcp.client.netns);
    for name in ["ipxe-bios-discover", "undionly-discover", "snponly-discover"] {
        let offer = offer(&client, name);
        assert_eq!(
            (offer.file.as_str(), offer.option(67)),
            ("boot/boot.ipxe", Some(&b"boot/boot.ipxe"[..])),
            "{name}"
        );
        assert_eq!(offer.option(175), Some(&[176, 1, 1][..]), "{name} must not wait for a ProxyDHCP server");
        assert_eq!(offer.option(60), None, "{name}");
    }
    let offer = offer(&client, "ovmf-discover");
    assert_eq!(offer.file, "boot/snponly.efi");
    assert_eq!((offer.option(60), offer.option(66)), (Some(&b"PXEClient"[..]), Some(&b"10.0.0.1"[..])));
    assert_eq!(offer.option(175), None);
}

#[test]
fn firmware_and_what_it_starts_keep_one_address() {
    let dhcp = Dhcp::serving(SITE);
    let client = Client::on(&dhcp.client.netns);
    let firmware = offer(&client, "ovmf-discover").address;
    assert_eq!(offer(&client, "snponly-discover").address, firmware, "other client, same card");
    let first = offer(&client, "ipxe-bios-discover").address;
    assert_ne!(first, firmware);
    assert_eq!(offer(&client, "undionly-discover").address, first);
}

#[test]
fn a_request_for_another_servers_offer_is_left_alone() {
    let dhcp = Dhcp::serving(&SITE.replace("server = \"10.0.0.1\"", "server = \"10.0.0.2\""));
    let client = Client::on(&dhcp.client.netns);
    // Both name 10.0.0.1, which is another server now.
    for name in ["ipxe-bios-request", "ovmf-request"] {
        client.send(&capture(name));
    }
    dhcp.expect_state("two requests that were left alone", |state| {
        state["counters"]["requests"] == 2
            && state["counters"]["ignored"] == 2
            && state["counters"]["acks"] == 0
    });
}
