//! The tracker: any datagrams from anywhere; it never answers with more than was asked until an address is proven.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_masterd::dhcp::config::Network;
use boottorrent_masterd::tracker::config::{RackConfig, TrackedTorrent, TrackerConfig};
use boottorrent_masterd::tracker::probe::Probe;
use boottorrent_swarm::announce::{Announce, Event, MAX_PEERS, Request, Response};
use boottorrent_swarm::{InfoHash, PeerId, Time};
use libfuzzer_sys::fuzz_target;

const SEED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 6881);

fn config() -> TrackerConfig {
    let torrent = |n: u8| TrackedTorrent { info_hash: InfoHash([n; 20]).to_string(), name: format!("os{n}") };
    let torrents = vec![torrent(1), torrent(2)];
    let network = Network::new(Ipv4Addr::new(10, 0, 0, 2), 31).into_iter().collect();
    let rack = RackConfig { name: "left".into(), networks: network, ..RackConfig::default() };
    TrackerConfig {
        interval_seconds: 10,
        seeds: vec![SEED],
        named_racks: vec![rack],
        torrents,
        ..TrackerConfig::default()
    }
}

fn announce(script: &mut Script<'_>, connection: u64) -> Option<Request> {
    let (torrent, id, port, say) = (script.below(4)?, script.byte()?, script.word()?, script.byte()?);
    let event = [Event::None, Event::Started, Event::Completed, Event::Stopped][usize::from(say % 4)];
    let announce = Announce {
        info_hash: InfoHash([torrent; 20]),
        peer_id: PeerId([id; 20]),
        downloaded: 0,
        left: u64::from(say >> 2) % 3,
        uploaded: 0,
        event,
        address: None,
        key: 0,
        want: Some(u32::from(say >> 4) * 40).filter(|n| *n > 0),
        port,
    };
    Some(Request::Announce { connection, transaction: 9, announce })
}

fn run(mut script: Script<'_>) -> Option<()> {
    let mut probe = Probe::new(config());
    let mut now = Time(1_000_000_000);
    let mut connection = [0_u64; 4];
    loop {
        let choice = script.byte()?;
        now = now + Duration::from_secs(u64::from(choice >> 4));
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, choice >> 2 & 3), 6881);
        let mut packet = Vec::new();
        match choice % 4 {
            0 => Request::Connect { transaction: 9 }.emit(&mut packet),
            1 => packet.extend_from_slice(script.packet()?),
            // What has a connection id of ours, whoever was given it.
            2 => announce(&mut script, connection[usize::from(choice >> 2 & 3)])?.emit(&mut packet),
            _ => {
                packet.extend_from_slice(script.packet()?);
                let id = connection[usize::from(choice >> 2 & 3)].to_be_bytes();
                packet.iter_mut().zip(id).for_each(|(to, from)| *to = from);
            }
        }
        // The same bytes as HTTP, which has to be told apart from what goes on.
        if let Some(answer) = probe.http(now, *from.ip(), &packet) {
            assert!(answer.starts_with(b"HTTP/1.1 "));
        }
        let (answer, odd) = probe.datagram(now, from, &packet);
        check(&packet, &answer, odd, from);
        if let Some(Response::Connect { connection: id, .. }) = Response::parse(&answer) {
            connection[usize::from(from.ip().octets()[3])] = id;
        }
        if choice & 0x80 != 0 {
            probe.expire(now);
        }
        assert!(probe.peers() <= 4096);
    }
}

fn check(packet: &[u8], answer: &[u8], odd: bool, from: SocketAddrV4) {
    let Some(request) = Request::parse(packet) else {
        assert!(answer.is_empty() && odd, "what is no request gets no answer");
        return;
    };
    let response = Response::parse(answer).expect("an answer that a client can read");
    assert_eq!(response.transaction().to_be_bytes(), packet[12..16]);
    match (&response, &request) {
        (Response::Connect { .. }, Request::Connect { .. }) => {
            assert!(answer.len() <= packet.len(), "unproven addresses get no more than they sent");
        }
        (Response::Error { .. }, _) => {
            assert!(odd && answer.len() <= 98, "{} bytes of an error", answer.len())
        }
        (Response::Announce { peers, interval_s, .. }, Request::Announce { announce, .. }) => {
            let wanted = announce.want.map_or(MAX_PEERS, |n| n as usize).min(MAX_PEERS);
            assert!(peers.len() <= wanted && [2, 10].contains(interval_s));
            assert!(!peers.contains(&SocketAddrV4::new(*from.ip(), announce.port)), "told of itself");
            let mut unique = peers.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), peers.len(), "a peer twice");
        }
        (Response::Scrape { torrents, .. }, Request::Scrape { hashes, .. }) => {
            assert_eq!(torrents.len(), hashes.len());
        }
        other => panic!("{other:?}"),
    }
}

fn talk() -> Vec<u8> {
    let mut out = Vec::new();
    for host in 0..4_u8 {
        out.extend_from_slice(&[host << 2, 2 | host << 2, 1, host, 0x1a, 0xe1, 0x15]);
    }
    let mut scrape = Vec::new();
    Request::Scrape { connection: 0, transaction: 9, hashes: vec![InfoHash([1; 20])] }.emit(&mut scrape);
    out.push(3);
    out.extend_from_slice(&framed(&scrape));
    let get = format!("GET /announce?info_hash={0}&peer_id={0}&port=9 HTTP/1.1\r\n\r\n", "%01".repeat(20));
    out.push(1);
    out.extend_from_slice(&framed(get.as_bytes()));
    out.extend_from_slice(&[0x92, 1, 0, 0x1a, 0xe1, 0x02]);
    out
}

fuzz_target!(init: seeds(&[talk()]), |data: &[u8]| {
    run(Script::new(data));
});
