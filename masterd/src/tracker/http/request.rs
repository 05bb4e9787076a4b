//! An HTTP request's head into what it asks of the tracker (BEP 3, 23, 48).
//! Decides what is well-formed; knows neither torrents nor peers.

use std::net::Ipv4Addr;

use boottorrent_swarm::announce::{Announce, Event};
use boottorrent_swarm::{InfoHash, PeerId};
use percent_encoding::percent_decode_str;

use crate::tracker::limits::HTTP_HEADERS;

/// What comes to a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Announce {
        announce: Announce,
        /// Six bytes a peer (BEP 23).
        compact: bool,
        /// Peers without their ids.
        no_ids: bool,
    },
    /// No hashes: all torrents.
    Scrape(Vec<InfoHash>),
}

/// Why there is no answer but a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotHttp,
    TooLong,
    Method,
    NotFound,
    /// A parameter that is missing or makes no sense: said in bencode, which clients show.
    Parameter(&'static str),
}

impl Refusal {
    /// What is counted under.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NotHttp => "HTTP connection that brings no HTTP",
            Self::TooLong => "HTTP request that is too long",
            Self::Method => "HTTP request that is no GET",
            Self::NotFound => "HTTP request that is no announce or scrape",
            Self::Parameter(_) => "HTTP announce that is malformed",
        }
    }
}

impl Request {
    /// `None`: the head goes on.
    pub(super) fn parse(input: &[u8]) -> Result<Option<Self>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HTTP_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        match head.parse(input) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLong),
            Err(_) => return Err(Refusal::NotHttp),
        }
        if head.method != Some("GET") {
            return Err(Refusal::Method);
        }
        let target = head.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        match path {
            "/announce" => Self::announce(query).map(Some),
            "/scrape" => {
                let hashes = values(query, "info_hash").map(|v| twenty(v).map(InfoHash));
                let hashes = hashes.collect::<Option<_>>();
                hashes.map(|h| Some(Self::Scrape(h))).ok_or(Refusal::Parameter("info_hash has not 20 bytes"))
            }
            _ => Err(Refusal::NotFound),
        }
    }

    fn announce(query: &str) -> Result<Self, Refusal> {
        let value = |name| values(query, name).next();
        let number = |name| value(name).map_or(Some(0), |v| v.parse().ok());
        let flag = |name| value(name) == Some("1");
        let required = |name, words| value(name).and_then(twenty).ok_or(Refusal::Parameter(words));
        let announce = Announce {
            info_hash: InfoHash(required("info_hash", "info_hash is missing or has not 20 bytes")?),
            peer_id: PeerId(required("peer_id", "peer_id is missing or has not 20 bytes")?),
            downloaded: number("downloaded").ok_or(Refusal::Parameter("downloaded is no number"))?,
            // Who does not say, in a hurry or for a magnet link, still needs something.
            left: value("left")
                .map_or(Some(1), |v| v.parse().ok())
                .ok_or(Refusal::Parameter("left is no number"))?,
            uploaded: number("uploaded").ok_or(Refusal::Parameter("uploaded is no number"))?,
            event: match value("event") {
                Some("started") => Event::Started,
                Some("completed") => Event::Completed,
                Some("stopped") => Event::Stopped,
                _ => Event::None,
            },
            // What it says of its own address is not believed: the connection has proved one.
            address: None::<Ipv4Addr>,
            key: 0,
            // Negative, or no number: the tracker's choice, as in BEP 15.
            want: value("numwant").and_then(|v| v.parse().ok()),
            port: value("port")
                .and_then(|v| v.parse().ok())
                .ok_or(Refusal::Parameter("port is missing or none"))?,
        };
        Ok(Self::Announce { announce, compact: flag("compact"), no_ids: flag("no_peer_id") })
    }
}

/// The values of a key, as they are spelt.
fn values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).filter(move |(k, _)| *k == name).map(|(_, v)| v)
}

/// Percent-decoded. A plus is a plus: clients write bytes, not forms.
fn twenty(value: &str) -> Option<[u8; 20]> {
    let mut bytes = percent_decode_str(value);
    let mut out = [0; 20];
    for byte in &mut out {
        *byte = bytes.next()?;
    }
    bytes.next().is_none().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "%AA%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa%aa+z";

    fn get(target: &str) -> Result<Option<Request>, Refusal> {
        Request::parse(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
    }

    #[test]
    fn aria2s_own_announce_reads() {
        // As aria2 1.36 sends it.
        let text = format!(
            "/announce?info_hash={HASH}&peer_id=A2-1-36-0-%F3%8B%89%CFA%9E%F4g%F6%B3&uploaded=0&downloaded=17&left=\
             20971520&compact=1&key=%F3%8B%89%CFA%9E%F4g%F6%B3&numwant=50&no_peer_id=1&port=6881&event=started\
             &supportcrypto=1"
        );
        let Ok(Some(Request::Announce { announce, compact: true, no_ids: true })) = get(&text) else {
            panic!("{:?}", get(&text))
        };
        let mut hash = [0xaa; 20];
        hash[18..].copy_from_slice(b"+z");
        assert_eq!((announce.info_hash, announce.port), (InfoHash(hash), 6881));
        assert_eq!(&announce.peer_id.0[..10], b"A2-1-36-0-");
        assert_eq!((announce.downloaded, announce.left, announce.want), (17, 20_971_520, Some(50)));
        assert_eq!(announce.event, Event::Started);
    }

    #[test]
    fn what_may_be_missing_has_its_meaning() {
        let text = format!("/announce?peer_id={HASH}&port=1&info_hash={HASH}&numwant=-1&event=empty");
        let Ok(Some(Request::Announce { announce, compact: false, no_ids: false })) = get(&text) else {
            panic!()
        };
        assert_eq!((announce.left, announce.want, announce.event), (1, None, Event::None));
        assert_eq!(get("/scrape"), Ok(Some(Request::Scrape(vec![]))));
        let Ok(Some(Request::Scrape(hashes))) = get(&format!("/scrape?info_hash={HASH}&info_hash={HASH}"))
        else {
            panic!()
        };
        assert_eq!(hashes.len(), 2);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |target: &str, words: &str| match get(target) {
            Err(Refusal::Parameter(said)) => assert!(said.starts_with(words), "{target}: {said}"),
            other => panic!("{target}: {other:?}"),
        };
        refused("/announce", "info_hash");
        refused(&format!("/announce?info_hash={HASH}x&peer_id={HASH}&port=1"), "info_hash");
        refused(&format!("/announce?info_hash={HASH}&port=1"), "peer_id");
        refused(&format!("/announce?info_hash={HASH}&peer_id={HASH}"), "port");
        refused(&format!("/announce?info_hash={HASH}&peer_id={HASH}&port=65536"), "port");
        refused(&format!("/announce?info_hash={HASH}&peer_id={HASH}&port=1&left=-1"), "left");
        refused("/scrape?info_hash=short", "info_hash");
        assert_eq!(get("/"), Err(Refusal::NotFound));
        assert_eq!(Request::parse(b"POST /announce HTTP/1.1\r\n\r\n"), Err(Refusal::Method));
        assert_eq!(Request::parse(b"\x13BitTorrent protocol"), Err(Refusal::NotHttp));
        let long = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HTTP_HEADERS + 1));
        assert_eq!(Request::parse(long.as_bytes()), Err(Refusal::TooLong));
    }

    #[test]
    fn half_a_head_is_waited_for() {
        let whole = format!("GET /announce?info_hash={HASH}&peer_id={HASH}&port=9 HTTP/1.0\r\nA: b\r\n\r\n");
        for length in 0..whole.len() {
            assert_eq!(Request::parse(&whole.as_bytes()[..length]), Ok(None), "{length}");
        }
        assert!(matches!(Request::parse(whole.as_bytes()), Ok(Some(_))));
    }
}
