//! The names of things on the wire: a torrent, a peer, a network card.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

/// SHA-1 of a torrent's info dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InfoHash(pub [u8; 20]);

/// A peer's name of itself, 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerId(pub [u8; 20]);

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mac(pub [u8; 6]);

/// The text is none of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed")
    }
}

impl core::error::Error for Malformed {}

const CLIENT: &[u8; 8] = b"-BT0100-";

impl PeerId {
    /// A node's id: `-BT0100-` and its MAC in hex, so that the tracker knows its nodes.
    #[must_use]
    pub fn for_node(mac: Mac) -> PeerId {
        let mut suffix = [0; 12];
        for (pair, byte) in suffix.as_chunks_mut::<2>().0.iter_mut().zip(mac.0) {
            *pair = [hex_digit(byte >> 4), hex_digit(byte & 15)];
        }
        PeerId::random(suffix)
    }

    /// An id off a node: the suffix is random.
    #[must_use]
    pub fn random(suffix: [u8; 12]) -> PeerId {
        let mut id = [0; 20];
        let (client, rest) = id.split_at_mut(8);
        client.copy_from_slice(CLIENT);
        rest.copy_from_slice(&suffix);
        PeerId(id)
    }

    /// Whether the client is ours, on a node or off one.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.starts_with(CLIENT)
    }

    /// The MAC, if this is a node's id.
    #[must_use]
    pub fn mac(&self) -> Option<Mac> {
        let suffix = self.0.strip_prefix(CLIENT)?;
        let mut mac = [0; 6];
        for (byte, pair) in mac.iter_mut().zip(suffix.as_chunks::<2>().0) {
            *byte = hex_byte(*pair)?;
        }
        Some(Mac(mac))
    }
}

impl Mac {
    /// `52-54-00-00-00-01`, the form in file names and in PXE's BOOTIF.
    #[must_use]
    pub fn hyphenated(self) -> String {
        self.joined('-')
    }

    fn joined(self, separator: char) -> String {
        let mut text = String::with_capacity(17);
        for (i, byte) in self.0.into_iter().enumerate() {
            if i > 0 {
                text.push(separator);
            }
            text.push(char::from(hex_digit(byte >> 4)));
            text.push(char::from(hex_digit(byte & 15)));
        }
        text
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.joined(':'))
    }
}

impl FromStr for Mac {
    type Err = Malformed;

    /// Six pairs of hex digits, with `:` or `-` between them.
    fn from_str(text: &str) -> Result<Mac, Malformed> {
        let bytes: [u8; 17] = text.as_bytes().try_into().map_err(|_| Malformed)?;
        let separators: [u8; 5] = [bytes[2], bytes[5], bytes[8], bytes[11], bytes[14]];
        if separators != [b':'; 5] && separators != [b'-'; 5] {
            return Err(Malformed);
        }
        let mut mac = [0; 6];
        for (byte, pair) in mac.iter_mut().zip(bytes.chunks(3)) {
            *byte = match pair {
                [a, b, ..] => hex_byte([*a, *b]).ok_or(Malformed)?,
                _ => return Err(Malformed),
            };
        }
        Ok(Mac(mac))
    }
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for InfoHash {
    type Err = Malformed;

    /// 40 hex digits.
    fn from_str(text: &str) -> Result<InfoHash, Malformed> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 20 || !rest.is_empty() {
            return Err(Malformed);
        }
        let mut hash = [0; 20];
        for (byte, pair) in hash.iter_mut().zip(pairs) {
            *byte = hex_byte(*pair).ok_or(Malformed)?;
        }
        Ok(InfoHash(hash))
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);

    #[test]
    fn names_read_back() {
        assert_eq!(MAC.to_string(), "52:54:00:ab:cd:ef");
        assert_eq!("52:54:00:AB:cd:ef".parse(), Ok(MAC));
        assert_eq!(MAC.hyphenated().parse(), Ok(MAC));
        let hash = InfoHash([0xa5; 20]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(PeerId::for_node(MAC).0, *b"-BT0100-525400abcdef");
        assert_eq!(PeerId::for_node(MAC).mac(), Some(MAC));
        assert!(PeerId::for_node(MAC).is_ours() && !PeerId(*b"-TR3000-525400abcdef").is_ours());
        assert_eq!(PeerId(*b"-BT0100-525400abcdeg").mac(), None);
        assert_eq!(PeerId(*b"-TR3000-525400abcdef").mac(), None);
    }

    #[test]
    fn malformed_names_are_refused() {
        for bad in [
            "",
            "52:54:00:ab:cd",
            "52:54:00:ab:cd-ef",
            "525400abcdef",
            "52:54:00:ab:cd:eg",
            "52:54:00:ab:cd:ef:00",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert!("a5".parse::<InfoHash>().is_err());
        assert!("zz".repeat(20).parse::<InfoHash>().is_err());
    }
}
