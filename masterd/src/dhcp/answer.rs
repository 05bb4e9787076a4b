//! The content of an answer: which options, in which order, and where it is sent. It decides nothing about leases and
//! changes nothing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::MessageType;

use super::boot::BootClient;
use super::once;
use super::packet::{Request, code};
use super::plan::Plan;
use super::reply::{Draft, Emitted, LONGEST_FILE};
use crate::orders::Order;

const SERVER_PORT: u16 = 67;
pub(super) const CLIENT_PORT: u16 = 68;
const BROADCAST_FLAG: u16 = 0x8000;
/// iPXE's own option 175: do not wait 3 s for a ProxyDHCP server (sub-option 176).
const NO_PXEDHCP: [u8; 3] = [176, 1, 1];
/// PXE 2.1, option 43 sub-option 6, bit 3: fetch the file that is named here and ask no boot server.
const USE_THIS_FILE: [u8; 4] = [6, 1, 8, code::END];

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) packet: Vec<u8>,
    pub(super) to: SocketAddrV4,
}

/// What the server has decided to say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'t> {
    Offer {
        address: Ipv4Addr,
    },
    Ack {
        address: Ipv4Addr,
    },
    /// For a client that has an address already and wants only the options.
    Inform,
    Nak {
        why: &'t str,
    },
}

/// The bytes and the destination, and the options that found no place.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) reply: Reply,
    pub(super) left_out: Vec<u8>,
}

/// `order`: what this boot of the node is to be, where that is not the usual.
pub(super) fn answer(
    plan: &Plan,
    subnet: usize,
    request: &Request,
    verdict: Verdict<'_>,
    order: Option<&Order>,
) -> Answer {
    let (kind, address) = match verdict {
        Verdict::Nak { .. } => (MessageType::Nak, None),
        Verdict::Offer { address } => (MessageType::Offer, Some(address)),
        Verdict::Ack { address } => (MessageType::Ack, Some(address)),
        Verdict::Inform => (MessageType::Ack, None),
    };
    let draft = match verdict {
        Verdict::Nak { why } => refusal(plan, request, why),
        _ => grant(plan, subnet, request, kind, address, order),
    };
    let Emitted { packet, left_out } = draft.emit(request);
    let refused = matches!(verdict, Verdict::Nak { .. });
    Answer { reply: Reply { packet, to: destination(request, refused) }, left_out }
}

/// RFC 2131 4.1: to the relay, to the address that the client has, else to all: without a capability there is no way
/// to reach an address that nobody answers for yet.
fn destination(request: &Request, refused: bool) -> SocketAddrV4 {
    if !request.giaddr.is_unspecified() {
        SocketAddrV4::new(request.giaddr, SERVER_PORT)
    } else if !request.ciaddr.is_unspecified() && !refused {
        SocketAddrV4::new(request.ciaddr, CLIENT_PORT)
    } else {
        SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
    }
}

/// RFC 2131 table 3: a refusal carries no address and no configuration.
fn refusal(plan: &Plan, request: &Request, why: &str) -> Draft {
    let mut options = vec![
        (code::MESSAGE_TYPE, vec![MessageType::Nak.into()]),
        (code::SERVER_ID, plan.server().octets().to_vec()),
        (code::MESSAGE, why.as_bytes().to_vec()),
    ];
    options.extend(client_id(request));
    Draft {
        ciaddr: Ipv4Addr::UNSPECIFIED,
        yiaddr: Ipv4Addr::UNSPECIFIED,
        siaddr: Ipv4Addr::UNSPECIFIED,
        // RFC 2131 4.3.2: the relay must send it to all, since the client's address is the one that is refused.
        flags: if request.giaddr.is_unspecified() { request.flags } else { request.flags | BROADCAST_FLAG },
        file: Vec::new(),
        options,
        relay_agent: request.option(code::RELAY_AGENT).map(<[u8]>::to_vec),
    }
}

fn grant(
    plan: &Plan,
    subnet: usize,
    request: &Request,
    kind: MessageType,
    address: Option<Ipv4Addr>,
    order: Option<&Order>,
) -> Draft {
    let mut options = plan.options(subnet, request.mac);
    let lease_seconds = plan.lease_seconds(&options, request);
    options.remove(&code::LEASE_TIME);
    let mut file = add_boot_options(plan, request, &mut options);
    if let Some(order) = order {
        if once::hides_boot_file(request, order) {
            file.clear();
            options.remove(&code::BOOT_FILE);
            options.remove(&code::TFTP_SERVER);
        }
        options.extend(once::option(request, order));
    }
    let siaddr = next_server(plan, &options);

    let mut ordered =
        vec![(code::MESSAGE_TYPE, vec![kind.into()]), (code::SERVER_ID, plan.server().octets().to_vec())];
    if address.is_some() {
        ordered.push((code::LEASE_TIME, lease_seconds.to_be_bytes().to_vec()));
        // RFC 2131 4.4.5; only for those that ask, since these are what a client computes anyway.
        options.entry(code::RENEWAL).or_insert_with(|| (lease_seconds / 2).to_be_bytes().to_vec());
        let rebinding = lease_seconds - lease_seconds / 8;
        options.entry(code::REBINDING).or_insert_with(|| rebinding.to_be_bytes().to_vec());
    } else {
        options.remove(&code::RENEWAL);
        options.remove(&code::REBINDING);
    }
    ordered.extend(client_id(request));
    in_order(plan, subnet, request, options, &mut ordered);
    Draft {
        ciaddr: if kind == MessageType::Offer { Ipv4Addr::UNSPECIFIED } else { request.ciaddr },
        yiaddr: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
        siaddr,
        flags: request.flags,
        file: if file.len() <= LONGEST_FILE { file } else { Vec::new() },
        options: ordered,
        relay_agent: request.option(code::RELAY_AGENT).map(<[u8]>::to_vec),
    }
}

/// The mask first (RFC 2132 3.3), then what the client asked for in its order, then whatever else is configured, so
/// that a private option needs no asking. What nobody configured goes only to those that ask.
fn in_order(
    plan: &Plan,
    subnet: usize,
    request: &Request,
    mut options: BTreeMap<u8, Vec<u8>>,
    ordered: &mut Vec<(u8, Vec<u8>)>,
) {
    let asked = request.option(code::REQUESTED_OPTIONS).unwrap_or(&[]);
    let configured = plan.options(subnet, request.mac);
    let on_request = [code::RENEWAL, code::REBINDING];
    options
        .entry(code::BROADCAST)
        .or_insert_with(|| plan.subnet(subnet).network.broadcast().octets().to_vec());
    for code in std::iter::once(&code::SUBNET_MASK).chain(asked) {
        if let Some(value) = options.remove(code) {
            ordered.push((*code, value));
        }
    }
    let unasked = options.into_iter().filter(|(code, _)| {
        let default = on_request.contains(code) || *code == code::BROADCAST;
        !default || configured.contains_key(code)
    });
    ordered.extend(unasked);
}

/// Options of a boot client, unless the maintainer has set them. Returns the boot file.
fn add_boot_options(plan: &Plan, request: &Request, options: &mut BTreeMap<u8, Vec<u8>>) -> Vec<u8> {
    let Some(client) = BootClient::of(request) else { return Vec::new() };
    if client == BootClient::Ipxe {
        options.entry(code::IPXE).or_default().extend(NO_PXEDHCP);
    } else {
        options.entry(code::VENDOR_CLASS).or_insert_with(|| b"PXEClient".to_vec());
        options.entry(code::VENDOR_OPTIONS).or_insert_with(|| USE_THIS_FILE.to_vec());
    }
    if let Some(file) = client.file(request, plan.boot_rules()) {
        options.entry(code::BOOT_FILE).or_insert_with(|| file.as_bytes().to_vec());
    }
    let Some(file) = options.get(&code::BOOT_FILE).cloned() else { return Vec::new() };
    options.entry(code::TFTP_SERVER).or_insert_with(|| plan.server().to_string().into_bytes());
    file
}

/// Option 66 names another server than us, if it is an address.
fn next_server(plan: &Plan, options: &BTreeMap<u8, Vec<u8>>) -> Ipv4Addr {
    let named = options.get(&code::TFTP_SERVER).and_then(|name| std::str::from_utf8(name).ok()?.parse().ok());
    named.unwrap_or(plan.server())
}

/// RFC 6842: the client's identifier is repeated.
fn client_id(request: &Request) -> Option<(u8, Vec<u8>)> {
    request.option(code::CLIENT_ID).map(|id| (code::CLIENT_ID, id.to_vec()))
}
