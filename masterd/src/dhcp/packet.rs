//! A client's message, read once at the edge: the fixed header (RFC 2131 2) and the options, walked by our own reader,
//! with overload (RFC 2132 9.3) and split options (RFC 3396). It decides what is well formed, never what to answer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use boottorrent_swarm::Mac;
use dhcproto::v4::MessageType;

/// Where things stand in a message (RFC 2131 2, figure 1).
pub(super) const SNAME: std::ops::Range<usize> = 44..108;
pub(super) const FILE: std::ops::Range<usize> = 108..236;
pub(super) const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Option numbers that the server itself reads or writes.
pub(super) mod code {
    pub(crate) const PAD: u8 = 0;
    pub(crate) const SUBNET_MASK: u8 = 1;
    pub(crate) const HOST_NAME: u8 = 12;
    pub(crate) const BROADCAST: u8 = 28;
    pub(crate) const VENDOR_OPTIONS: u8 = 43;
    pub(crate) const REQUESTED_ADDRESS: u8 = 50;
    pub(crate) const LEASE_TIME: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const MESSAGE_TYPE: u8 = 53;
    pub(crate) const SERVER_ID: u8 = 54;
    pub(crate) const REQUESTED_OPTIONS: u8 = 55;
    pub(crate) const MESSAGE: u8 = 56;
    pub(crate) const MAX_SIZE: u8 = 57;
    pub(crate) const RENEWAL: u8 = 58;
    pub(crate) const REBINDING: u8 = 59;
    pub(crate) const VENDOR_CLASS: u8 = 60;
    pub(crate) const CLIENT_ID: u8 = 61;
    pub(crate) const TFTP_SERVER: u8 = 66;
    pub(crate) const BOOT_FILE: u8 = 67;
    pub(crate) const USER_CLASS: u8 = 77;
    pub(crate) const RELAY_AGENT: u8 = 82;
    pub(crate) const ARCHITECTURE: u8 = 93;
    pub(crate) const IPXE: u8 = 175;
    pub(crate) const END: u8 = 255;
}

/// A well-formed message of an Ethernet client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: MessageType,
    pub(super) xid: u32,
    pub(super) flags: u16,
    pub(super) hops: u8,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) mac: Mac,
    options: BTreeMap<u8, Vec<u8>>,
}

/// Why a datagram is not such a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    Short { bytes: usize },
    NotARequest { op: u8 },
    Hardware { kind: u8, length: u8 },
    HardwareAddress(Mac),
    Cookie,
    OptionCut { code: u8 },
    OptionLength { code: u8, length: usize },
    Overload { value: u8 },
    Type { value: u8 },
    Bootp,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { bytes } => write!(f, "{bytes} bytes are too short"),
            Self::NotARequest { op } => write!(f, "operation {op} is not a request"),
            Self::Hardware { kind, length } => {
                write!(f, "hardware type {kind} of length {length} is not Ethernet")
            }
            Self::HardwareAddress(mac) => write!(f, "{mac} is no station's address"),
            Self::Cookie => write!(f, "the options do not begin with the magic cookie"),
            Self::OptionCut { code } => write!(f, "option {code} is cut off"),
            Self::OptionLength { code, length } => write!(f, "option {code} cannot have {length} bytes"),
            Self::Overload { value } => write!(f, "option overload {value} is not defined"),
            Self::Type { value } => write!(f, "message type {value} is not for a server"),
            Self::Bootp => write!(f, "BOOTP without a message type is not served"),
        }
    }
}

impl std::error::Error for Malformed {}

impl Request {
    /// Reads a datagram. Bytes after the end of the options are padding and are not looked at.
    pub(super) fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let (header, tail) =
            packet.split_at_checked(OPTIONS).ok_or(Malformed::Short { bytes: packet.len() })?;
        let [op, kind, length, hops, ..] = *header else {
            return Err(Malformed::Short { bytes: packet.len() });
        };
        if op != 1 {
            return Err(Malformed::NotARequest { op });
        }
        if (kind, length) != (1, 6) {
            return Err(Malformed::Hardware { kind, length });
        }
        if header[236..] != COOKIE {
            return Err(Malformed::Cookie);
        }
        let mac = Mac(array(&header[28..34]));
        if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
            return Err(Malformed::HardwareAddress(mac));
        }
        let options = read_options(header, tail)?;
        let kind = match options.get(&code::MESSAGE_TYPE).map(Vec::as_slice) {
            None => return Err(Malformed::Bootp),
            Some(&[value]) => match MessageType::from(value) {
                kind @ (MessageType::Discover
                | MessageType::Request
                | MessageType::Decline
                | MessageType::Release
                | MessageType::Inform) => kind,
                _ => return Err(Malformed::Type { value }),
            },
            Some(other) => {
                return Err(Malformed::OptionLength { code: code::MESSAGE_TYPE, length: other.len() });
            }
        };
        Ok(Self {
            kind,
            xid: u32::from_be_bytes(array(&header[4..8])),
            flags: u16::from_be_bytes(array(&header[10..12])),
            hops,
            ciaddr: Ipv4Addr::from(array(&header[12..16])),
            giaddr: Ipv4Addr::from(array(&header[24..28])),
            mac,
            options,
        })
    }

    pub(super) fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Vec::as_slice)
    }

    /// The address of an option; an all-zero one counts as absent (RFC 2131 4.3.2 lets clients write it so).
    pub(super) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let octets: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
    }

    /// The largest message that the client takes (option 57), as a whole IP packet.
    pub(super) fn max_size(&self) -> Option<u16> {
        self.option(code::MAX_SIZE)?.try_into().ok().map(u16::from_be_bytes)
    }
}

/// The option field, then `file`, then `sname` where overload says so: the order of RFC 3396 5.
fn read_options(header: &[u8], tail: &[u8]) -> Result<BTreeMap<u8, Vec<u8>>, Malformed> {
    let mut options = BTreeMap::new();
    walk(tail, &mut options)?;
    let overload = match options.get(&code::OVERLOAD).map(Vec::as_slice) {
        None => 0,
        Some(&[value @ 1..=3]) => value,
        Some(&[value]) => return Err(Malformed::Overload { value }),
        Some(other) => return Err(Malformed::OptionLength { code: code::OVERLOAD, length: other.len() }),
    };
    if overload & 1 != 0 {
        walk(&header[FILE], &mut options)?;
    }
    if overload & 2 != 0 {
        walk(&header[SNAME], &mut options)?;
    }
    for (code, expected) in [(code::REQUESTED_ADDRESS, 4), (code::SERVER_ID, 4), (code::MAX_SIZE, 2)] {
        if let Some(value) = options.get(&code).filter(|value| value.len() != expected) {
            return Err(Malformed::OptionLength { code, length: value.len() });
        }
    }
    Ok(options)
}

/// A field that ends without the end option is accepted: several boot ROMs fill it to the last byte.
fn walk(mut field: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Result<(), Malformed> {
    loop {
        match field {
            [] | [code::END, ..] => return Ok(()),
            [code::PAD, rest @ ..] => field = rest,
            [code] => return Err(Malformed::OptionCut { code: *code }),
            [code, length, rest @ ..] => {
                let (value, rest) = rest
                    .split_at_checked(usize::from(*length))
                    .ok_or(Malformed::OptionCut { code: *code })?;
                options.entry(*code).or_default().extend_from_slice(value);
                field = rest;
            }
        }
    }
}

/// Callers give a slice of constant bounds within the checked header, so the lengths agree.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
pub(super) mod tests;
