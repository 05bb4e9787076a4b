//! Router solicitations and advertisements (RFC 4861 sections 4.1, 4.2) and the checks of sections 6.1.1 and 6.1.2.
//! Decides what is valid; the checksum is the kernel's.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

pub(super) const SOLICITATION: u8 = 133;
pub(super) const ADVERTISEMENT: u8 = 134;

/// A packet that has crossed a router has less: it cannot be of a neighbour.
const HOP_LIMIT: u8 = 255;
/// Source link-layer address (section 4.6.1).
const OPTION_SOURCE: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Solicitation,
    /// Of somebody else; how long it is a router.
    Advertisement {
        lifetime: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Invalid {
    HopLimit,
    Short,
    Kind,
    Code,
    Option,
    /// An unspecified source cannot have a link-layer address.
    SourceOption,
    /// Routers advertise from link-local addresses.
    Source,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HopLimit => "its hop limit is not 255",
            Self::Short => "it is too short",
            Self::Kind => "its type is none that was asked for",
            Self::Code => "its code is not 0",
            Self::Option => "an option has no length or is cut",
            Self::SourceOption => "a source without an address names a link-layer address",
            Self::Source => "an advertisement's source is not link-local",
        })
    }
}

pub(super) fn parse(from: Ipv6Addr, hop_limit: Option<u8>, packet: &[u8]) -> Result<Message, Invalid> {
    let [kind, code, ..] = packet else { return Err(Invalid::Short) };
    let head = match *kind {
        SOLICITATION => 8,
        ADVERTISEMENT => 16,
        _ => return Err(Invalid::Kind),
    };
    if hop_limit != Some(HOP_LIMIT) {
        return Err(Invalid::HopLimit);
    }
    if *code != 0 {
        return Err(Invalid::Code);
    }
    let options = packet.get(head..).ok_or(Invalid::Short)?;
    let names_source = walk(options)?;
    if *kind == SOLICITATION {
        if from.is_unspecified() && names_source {
            return Err(Invalid::SourceOption);
        }
        return Ok(Message::Solicitation);
    }
    if !from.is_unicast_link_local() {
        return Err(Invalid::Source);
    }
    let [_, _, _, _, _, _, high, low, ..] = packet else { return Err(Invalid::Short) };
    let lifetime = Duration::from_secs(u16::from_be_bytes([*high, *low]).into());
    Ok(Message::Advertisement { lifetime })
}

/// Whether a source link-layer address is among the options; their lengths count in units of 8 bytes.
fn walk(mut options: &[u8]) -> Result<bool, Invalid> {
    let mut source = false;
    while let [kind, length, ..] = options {
        source |= *kind == OPTION_SOURCE;
        options = match length {
            0 => return Err(Invalid::Option),
            length => options.get(8 * usize::from(*length)..).ok_or(Invalid::Option)?,
        };
    }
    if options.is_empty() { Ok(source) } else { Err(Invalid::Option) }
}

/// "I am no router": lifetime 0, no flags, no prefix, nothing specified. A host that waits for a router learns that
/// there is none here, and changes nothing else.
pub(super) fn no_router() -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = ADVERTISEMENT;
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    /// As iPXE sends it: with its source link-layer address.
    const IPXE: [u8; 16] = [133, 0, 1, 2, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0, 0, 1];

    #[test]
    fn solicitations() {
        assert_eq!(parse(NODE, Some(255), &IPXE), Ok(Message::Solicitation));
        assert_eq!(parse(Ipv6Addr::UNSPECIFIED, Some(255), &IPXE[..8]), Ok(Message::Solicitation));
        assert_eq!(parse(Ipv6Addr::UNSPECIFIED, Some(255), &IPXE), Err(Invalid::SourceOption));
        assert_eq!(parse(NODE, Some(254), &IPXE), Err(Invalid::HopLimit));
        assert_eq!(parse(NODE, None, &IPXE), Err(Invalid::HopLimit));
        for cut in 0..16 {
            let expected = match cut {
                8 => Ok(Message::Solicitation),
                0..8 => Err(Invalid::Short),
                _ => Err(Invalid::Option),
            };
            assert_eq!(parse(NODE, Some(255), &IPXE[..cut]), expected, "{cut}");
        }
        let mut wrong = IPXE;
        wrong[9] = 0;
        assert_eq!(parse(NODE, Some(255), &wrong), Err(Invalid::Option));
        wrong = IPXE;
        wrong[1] = 7;
        assert_eq!(parse(NODE, Some(255), &wrong), Err(Invalid::Code));
    }

    #[test]
    fn advertisements() {
        let ours = no_router();
        assert_eq!(parse(NODE, Some(255), &ours), Ok(Message::Advertisement { lifetime: Duration::ZERO }));
        let mut router = ours;
        (router[6], router[7]) = (7, 8);
        let lifetime = Duration::from_secs(1800);
        assert_eq!(parse(NODE, Some(255), &router), Ok(Message::Advertisement { lifetime }));
        assert_eq!(parse(Ipv6Addr::LOCALHOST, Some(255), &router), Err(Invalid::Source));
        assert_eq!(parse(NODE, Some(255), &router[..15]), Err(Invalid::Short));
        assert_eq!(parse(NODE, Some(255), &[135, 0]), Err(Invalid::Kind));
    }
}
