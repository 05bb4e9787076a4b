//! The tracker's answers as HTTP clients read them: bencode with a short head.
//! Decides the layout only.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use boottorrent_swarm::announce::{Scraped, emit_compact};
use boottorrent_swarm::bencode::Writer;
use boottorrent_swarm::{InfoHash, Time};

use super::request::{Refusal, Request};
use crate::tracker::core::{Answer, Oddity, Tracker};

/// The bytes to send, and what was odd about the request, if anything was.
pub(super) fn answer(
    now: Time,
    from: Ipv4Addr,
    request: &Request,
    tracker: &mut Tracker,
) -> (Vec<u8>, Option<Oddity>) {
    match request {
        Request::Announce { announce, compact, no_ids } => match tracker.announce(now, from, announce) {
            Ok(told) if *compact => (ok(&announced(&told, |w| compact_peers(w, &told.peers))), None),
            Ok(told) => {
                let id = |peer| tracker.peer_id(&announce.info_hash, peer).filter(|_| !no_ids).map(|id| id.0);
                (ok(&announced(&told, |w| listed_peers(w, &told.peers, id))), None)
            }
            Err(odd) => (failure(odd.message()), Some(odd)),
        },
        Request::Scrape(hashes) => (ok(&scraped(&tracker.scrape_all(hashes))), None),
    }
}

/// What a client is told whose request could not be read.
pub(super) fn refusal(refusal: &Refusal) -> Vec<u8> {
    match refusal {
        Refusal::NotHttp => plain("400 Bad Request", "this is an HTTP server"),
        Refusal::TooLong => plain("431 Request Header Fields Too Large", "the request is too long"),
        Refusal::Method => plain("405 Method Not Allowed", "only GET is answered"),
        Refusal::NotFound => plain("404 Not Found", "this is a BitTorrent tracker: /announce and /scrape"),
        Refusal::Parameter(words) => failure(words),
    }
}

fn announced(told: &Answer, peers: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::new();
    w.dict(|w| {
        w.str("complete").int(told.counts.seeders.into());
        w.str("incomplete").int(told.counts.leechers.into());
        w.str("interval").int(told.interval_s.into());
        w.str("peers");
        peers(w);
    });
    w.finish()
}

fn compact_peers(w: &mut Writer, peers: &[SocketAddrV4]) {
    let mut bytes = Vec::with_capacity(peers.len() * 6);
    emit_compact(peers, &mut bytes);
    w.bytes(&bytes);
}

fn listed_peers(
    w: &mut Writer,
    peers: &[SocketAddrV4],
    mut id: impl FnMut(SocketAddrV4) -> Option<[u8; 20]>,
) {
    w.list(|w| {
        for peer in peers {
            w.dict(|w| {
                w.str("ip").str(&peer.ip().to_string());
                if let Some(id) = id(*peer) {
                    w.str("peer id").bytes(&id);
                }
                w.str("port").int(peer.port().into());
            });
        }
    });
}

fn scraped(torrents: &BTreeMap<InfoHash, Scraped>) -> Vec<u8> {
    let mut w = Writer::new();
    w.dict(|w| {
        w.str("files").dict(|w| {
            for (hash, counts) in torrents {
                w.bytes(&hash.0).dict(|w| {
                    w.str("complete").int(counts.seeders.into());
                    w.str("downloaded").int(counts.completed.into());
                    w.str("incomplete").int(counts.leechers.into());
                });
            }
        });
    });
    w.finish()
}

fn failure(words: &str) -> Vec<u8> {
    let mut w = Writer::new();
    w.dict(|w| {
        w.str("failure reason").str(words);
    });
    ok(&w.finish())
}

fn ok(body: &[u8]) -> Vec<u8> {
    page("200 OK", body)
}

fn plain(status: &str, sentence: &str) -> Vec<u8> {
    page(status, format!("{sentence}\n").as_bytes())
}

fn page(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
