//! TFTP packets (RFC 1350 section 5, RFC 2347): what a client may send is parsed, what a server sends is emitted.
//! Decides what is well-formed, never what is granted.

use std::fmt;

use super::limits::REQUEST_BYTES;

const RRQ: u16 = 1;
const WRQ: u16 = 2;
const DATA: u16 = 3;
const ACK: u16 = 4;
const ERROR: u16 = 5;
const OACK: u16 = 6;

/// Bytes before the data of a DATA packet: opcode and block number.
pub(super) const DATA_HEADER: usize = 4;

/// RFC 1350's error codes that a read-only server sends, and 8 of RFC 2347.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    Undefined = 0,
    NotFound = 1,
    AccessViolation = 2,
    IllegalOperation = 4,
    UnknownTransfer = 5,
    Options = 8,
}

/// How the file's bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Octet,
    Netascii,
}

/// A read request. Names and values are the client's bytes, unchecked beyond their framing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadRequest<'a> {
    pub(super) name: &'a [u8],
    pub(super) mode: Mode,
    pub(super) options: Vec<(&'a [u8], &'a [u8])>,
}

/// What may arrive at port 69.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    Read(ReadRequest<'a>),
    /// Refused: this server is read only. The name is for the log.
    Write(&'a [u8]),
}

/// What may arrive at a transfer's own port.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply<'a> {
    Ack(u16),
    Error { code: u16, text: &'a [u8] },
}

/// Why a packet is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    Short,
    Long,
    /// A string without its closing zero, or an option without its value.
    Unterminated,
    NoName,
    /// Neither octet nor netascii: "mail" of RFC 1350 is long obsolete.
    Mode,
    /// No opcode of TFTP, or none that a client sends to a transfer's port.
    Opcode(u16),
    /// Part of a transfer, but sent to the port for requests.
    Stray(u16),
}

impl Malformed {
    /// Whether the sender gets an error packet. An ERROR packet never does (two servers would talk for ever), and
    /// nothing that is not even TFTP.
    pub(super) fn answer(self) -> Option<ErrorCode> {
        match self {
            Self::Stray(_) | Self::Short | Self::Long => None,
            Self::Unterminated | Self::NoName | Self::Mode | Self::Opcode(_) => {
                Some(ErrorCode::IllegalOperation)
            }
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("shorter than a TFTP packet"),
            Self::Long => write!(f, "longer than the {REQUEST_BYTES} bytes of a request"),
            Self::Unterminated => f.write_str("a string has no end"),
            Self::NoName => f.write_str("no file name"),
            Self::Mode => f.write_str("the mode is neither octet nor netascii"),
            Self::Opcode(code) | Self::Stray(code) => write!(f, "opcode {code} has no place here"),
        }
    }
}

fn opcode(packet: &[u8]) -> Result<(u16, &[u8]), Malformed> {
    let (code, rest) = packet.split_first_chunk::<2>().ok_or(Malformed::Short)?;
    Ok((u16::from_be_bytes(*code), rest))
}

/// Cuts the next zero-terminated string off.
fn string<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let end = rest.iter().position(|&b| b == 0).ok_or(Malformed::Unterminated)?;
    let (text, tail) = rest.split_at(end);
    *rest = tail.get(1..).unwrap_or_default();
    Ok(text)
}

impl<'a> Request<'a> {
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let (code, mut rest) = opcode(packet)?;
        match code {
            RRQ | WRQ => {}
            DATA | ACK | ERROR | OACK => return Err(Malformed::Stray(code)),
            other => return Err(Malformed::Opcode(other)),
        }
        if packet.len() > REQUEST_BYTES {
            return Err(Malformed::Long);
        }
        let name = string(&mut rest)?;
        if name.is_empty() {
            return Err(Malformed::NoName);
        }
        let mode = string(&mut rest)?;
        if code == WRQ {
            return Ok(Self::Write(name));
        }
        let mode = if mode.eq_ignore_ascii_case(b"octet") {
            Mode::Octet
        } else if mode.eq_ignore_ascii_case(b"netascii") {
            Mode::Netascii
        } else {
            return Err(Malformed::Mode);
        };
        // Some boot ROMs pad their requests: zeros after the last option are no further option.
        let mut options = Vec::new();
        while rest.iter().any(|&b| b != 0) {
            options.push((string(&mut rest)?, string(&mut rest)?));
        }
        Ok(Self::Read(ReadRequest { name, mode, options }))
    }
}

impl<'a> Reply<'a> {
    pub(super) fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let (code, rest) = opcode(packet)?;
        let (number, rest) = rest.split_first_chunk::<2>().ok_or(Malformed::Short)?;
        let number = u16::from_be_bytes(*number);
        match code {
            ACK => Ok(Self::Ack(number)),
            ERROR => {
                Ok(Self::Error { code: number, text: rest.split(|&b| b == 0).next().unwrap_or_default() })
            }
            other => Err(Malformed::Opcode(other)),
        }
    }
}

/// Header of a DATA packet; the block number rolls over to 0 after 65535.
pub(super) fn data_header(block: u64) -> [u8; DATA_HEADER] {
    let [a, b] = DATA.to_be_bytes();
    // Truncation is the roll-over that every client of large files expects.
    let [c, d] = (block as u16).to_be_bytes();
    [a, b, c, d]
}

pub(super) fn emit_error(code: ErrorCode, text: &str) -> Vec<u8> {
    let mut packet = Vec::with_capacity(5 + text.len());
    packet.extend(ERROR.to_be_bytes());
    packet.extend((code as u16).to_be_bytes());
    packet.extend(text.bytes().filter(|&b| b != 0));
    packet.push(0);
    packet
}

pub(super) fn emit_oack(options: &[(&'static str, u64)]) -> Vec<u8> {
    let mut packet = OACK.to_be_bytes().to_vec();
    for (name, value) in options {
        packet.extend(name.bytes());
        packet.push(0);
        packet.extend(value.to_string().bytes());
        packet.push(0);
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_firmware_sends_them() {
        let ipxe = b"\0\x01boot/boot.ipxe\0octet\0blksize\x001432\0tsize\x000\0";
        let Ok(Request::Read(read)) = Request::parse(ipxe) else { panic!("refused") };
        assert_eq!((read.name, read.mode), (&b"boot/boot.ipxe"[..], Mode::Octet));
        assert_eq!(read.options, [(&b"blksize"[..], &b"1432"[..]), (b"tsize", b"0")]);
        let padded = b"\0\x01a\0NetASCII\0\0\0\0\0\0";
        let Ok(Request::Read(read)) = Request::parse(padded) else { panic!("refused") };
        assert_eq!((read.mode, read.options.len()), (Mode::Netascii, 0));
        assert_eq!(Request::parse(b"\0\x02a\0octet\0"), Ok(Request::Write(b"a")));
    }

    #[test]
    fn malformed_requests_are_told_apart() {
        let cases: [(&[u8], Malformed, Option<ErrorCode>); 10] = [
            (b"", Malformed::Short, None),
            (b"\0", Malformed::Short, None),
            (b"\0\x01", Malformed::Unterminated, Some(ErrorCode::IllegalOperation)),
            (b"\0\x01abc", Malformed::Unterminated, Some(ErrorCode::IllegalOperation)),
            (b"\0\x01abc\0octet", Malformed::Unterminated, Some(ErrorCode::IllegalOperation)),
            (b"\0\x01\0octet\0", Malformed::NoName, Some(ErrorCode::IllegalOperation)),
            (b"\0\x01a\0mail\0", Malformed::Mode, Some(ErrorCode::IllegalOperation)),
            (b"\0\x01a\0octet\0blksize\0", Malformed::Unterminated, Some(ErrorCode::IllegalOperation)),
            (b"\0\x05\0\0no\0", Malformed::Stray(5), None),
            (b"\0\x63", Malformed::Opcode(0x63), Some(ErrorCode::IllegalOperation)),
        ];
        for (packet, why, answer) in cases {
            assert_eq!(Request::parse(packet), Err(why), "{packet:?}");
            assert_eq!(why.answer(), answer, "{packet:?}");
        }
        let long = [&b"\0\x01"[..], &[b'a'; REQUEST_BYTES], b"\0octet\0"].concat();
        assert_eq!(Request::parse(&long), Err(Malformed::Long));
    }

    #[test]
    fn replies() {
        assert_eq!(Reply::parse(b"\0\x04\xff\xff"), Ok(Reply::Ack(65535)));
        assert_eq!(Reply::parse(b"\0\x05\0\x08no\0rest"), Ok(Reply::Error { code: 8, text: b"no" }));
        assert_eq!(Reply::parse(b"\0\x05\0\x08"), Ok(Reply::Error { code: 8, text: b"" }));
        assert_eq!(Reply::parse(b"\0\x04\xff"), Err(Malformed::Short));
        assert_eq!(Reply::parse(b"\0\x03\0\x01x"), Err(Malformed::Opcode(3)));
    }

    #[test]
    fn emitted_bytes() {
        assert_eq!(data_header(65537), [0, 3, 0, 1]);
        assert_eq!(emit_error(ErrorCode::NotFound, "no\0pe"), b"\0\x05\0\x01nope\0");
        assert_eq!(emit_oack(&[("blksize", 1468), ("tsize", 9)]), b"\0\x06blksize\x001468\0tsize\x009\0");
    }
}
