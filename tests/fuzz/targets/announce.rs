//! BEP 15 both ways: what a tracker is asked, what a node is answered, and the client that waits for it.
#![no_main]

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_swarm::announce::{Announce, AnnounceClient, Event, Request, Response, Step};
use boottorrent_swarm::{InfoHash, PeerId, Time};
use libfuzzer_sys::fuzz_target;

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        downloaded: 1,
        left: 2,
        uploaded: 3,
        event: Event::Started,
        address: None,
        key: 4,
        want: Some(50),
        port: 6881,
    }
}

fn inputs() -> Vec<Vec<u8>> {
    let requests = [
        Request::Connect { transaction: 7 },
        Request::Announce { connection: 8, transaction: 7, announce: announce() },
        Request::Scrape { connection: 8, transaction: 7, hashes: vec![InfoHash([1; 20]); 2] },
    ];
    let peers = vec!["10.0.0.5:6969".parse().expect("an address")];
    let responses = [
        Response::Connect { transaction: 7, connection: 8 },
        Response::Announce { transaction: 7, interval_s: 10, leechers: 1, seeders: 1, peers, rack: None },
        Response::Error { transaction: 7, message: b"no".to_vec() },
    ];
    let mut inputs = Vec::new();
    requests.iter().for_each(|r| {
        let mut out = Vec::new();
        r.emit(&mut out);
        inputs.push(framed(&out));
    });
    let mut talk = Vec::new();
    for response in responses {
        let mut out = Vec::new();
        response.emit(&mut out);
        inputs.push(framed(&out));
        talk.extend_from_slice(&[0, 1]);
        talk.extend_from_slice(&framed(&out));
    }
    inputs.push(talk);
    inputs
}

/// Datagrams at any time, with or without the transaction that the client waits for: it stays bounded and comes to
/// an end by itself.
fn converse(mut script: Script<'_>) {
    let mut client = AnnounceClient::new(5);
    let mut now = Time(0);
    let mut transaction = [0; 4];
    client.announce(now, announce());
    while let Some(choice) = script.byte() {
        now = Time(now.0 + u64::from(choice) * 10_000);
        let mut steps = 0;
        while let Some(step) = client.poll(now) {
            steps += 1;
            assert!(steps < 16, "a client that never waits");
            match step {
                Step::Send(datagram) => {
                    assert!(Request::parse(&datagram).is_some());
                    transaction.copy_from_slice(&datagram[12..16]);
                }
                Step::Done(_) => client.announce(now, announce()),
            }
        }
        let Some(packet) = script.packet() else { return };
        let mut packet = packet.to_vec();
        if choice % 2 == 1 && packet.len() >= 8 {
            packet[4..8].copy_from_slice(&transaction);
        }
        client.datagram(now, &packet);
    }
}

fuzz_target!(init: seeds(&inputs()), |data: &[u8]| {
    let mut script = Script::new(data);
    converse(script.clone());
    let Some(packet) = script.packet() else { return };
    let mut out = Vec::new();
    if let Some(request) = Request::parse(packet) {
        request.emit(&mut out);
        assert_eq!(Request::parse(&out), Some(request));
    }
    out.clear();
    if let Some(response) = Response::parse(packet) {
        response.emit(&mut out);
        assert_eq!(Response::parse(&out).as_ref(), Some(&response));
        assert!(out.len() <= packet.len());
    }
});
