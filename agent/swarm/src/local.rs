//! Local announces (BEP 14), for when no tracker answers: one multicast datagram says who listens where for what.
//! Decides the layout of the datagram; when it is sent is the swarm's, to which interfaces the driver's.

use crate::InfoHash;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{Ipv4Addr, SocketAddrV4};

/// Where everybody listens.
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), 6771);
/// Headers of one datagram: BEP 14 wants it below 1,400 bytes, which are 26 hashes and the rest.
const HEADERS: usize = 32;

/// What somebody says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalAnnounce {
    /// Where it listens; its address is the datagram's source.
    pub port: u16,
    pub hashes: Vec<InfoHash>,
    /// By which the sender knows its own.
    pub cookie: Option<u32>,
}

impl LocalAnnounce {
    /// `None` for anything else. A cookie that is none of ours is nobody's, and hashes of BEP 52 are passed over.
    #[must_use]
    pub fn parse(datagram: &[u8]) -> Option<LocalAnnounce> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        if !head.parse(datagram).ok()?.is_complete() || head.method != Some("BT-SEARCH") {
            return None;
        }
        let all = |name: &'static str| {
            let named = head.headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name));
            named.filter_map(|h| core::str::from_utf8(h.value).ok()).map(str::trim)
        };
        let port = all("Port").next()?.parse().ok().filter(|port| *port != 0)?;
        let hashes: Vec<InfoHash> = all("Infohash").filter_map(|text| text.parse().ok()).collect();
        let cookie = all("cookie").next().and_then(|text| u32::from_str_radix(text, 16).ok());
        (!hashes.is_empty()).then_some(LocalAnnounce { port, hashes, cookie })
    }

    /// Appends the datagram.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let mut text = String::new();
        // Writing into memory cannot fail.
        let _ = write!(text, "BT-SEARCH * HTTP/1.1\r\nHost: {GROUP}\r\nPort: {}\r\n", self.port);
        for hash in &self.hashes {
            let _ = write!(text, "Infohash: {hash}\r\n");
        }
        if let Some(cookie) = self.cookie {
            let _ = write!(text, "cookie: {cookie:08x}\r\n");
        }
        text.push_str("\r\n\r\n");
        out.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_emitted_parses() {
        for (hashes, cookie) in [(1, None), (2, Some(0xbeef)), (26, Some(u32::MAX))] {
            let hashes = (0..hashes).map(|n| InfoHash([n; 20])).collect();
            let announce = LocalAnnounce { port: 6881, hashes, cookie };
            let mut bytes = Vec::new();
            announce.emit(&mut bytes);
            assert!(bytes.len() < 1400 + 200);
            assert_eq!(LocalAnnounce::parse(&bytes), Some(announce));
        }
    }

    #[test]
    fn libtorrents_datagram_reads() {
        let text = b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6882\r\n\
            Infohash: 00112233445566778899AABBCCDDEEFF00112233\r\ncookie: 1a2b3c\r\n\r\n\r\n";
        let announce = LocalAnnounce::parse(text).unwrap();
        assert_eq!((announce.port, announce.cookie), (6882, Some(0x1a_2b3c)));
        assert_eq!(announce.hashes[0].0[..3], [0, 0x11, 0x22]);
        // A cookie that is no number of ours is somebody else's.
        let text = String::from_utf8(text.to_vec()).unwrap().replace("1a2b3c", "utorrent-77");
        assert_eq!(LocalAnnounce::parse(text.as_bytes()).unwrap().cookie, None);
    }

    #[test]
    fn what_is_none_is_refused() {
        let good =
            "BT-SEARCH * HTTP/1.1\r\nPort: 1\r\nInfohash: 00112233445566778899aabbccddeeff00112233\r\n\r\n";
        assert!(LocalAnnounce::parse(good.as_bytes()).is_some());
        for length in 0..good.len() {
            assert_eq!(LocalAnnounce::parse(&good.as_bytes()[..length]), None, "{length}");
        }
        for (from, to) in [("BT-SEARCH", "M-SEARCH"), ("Port: 1", "Port: 0"), ("Port: 1", "Port: 65536")] {
            assert_eq!(LocalAnnounce::parse(good.replace(from, to).as_bytes()), None, "{to}");
        }
        assert_eq!(LocalAnnounce::parse(good.replace("0011", "xx11").as_bytes()), None);
        assert_eq!(LocalAnnounce::parse(&[0xff; 100]), None);
    }
}
