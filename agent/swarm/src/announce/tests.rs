use super::*;
use crate::Time;
use crate::graph::Rack;
use core::time::Duration;

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([1; 20]),
        peer_id: PeerId([2; 20]),
        downloaded: 3,
        left: 4,
        uploaded: 5,
        event: Event::Started,
        address: None,
        key: 6,
        want: Some(50),
        port: 6881,
    }
}

#[test]
fn requests_round_trip() {
    let (connection, transaction) = (7, 8);
    let hashes = alloc::vec![InfoHash([9; 20]); 3];
    for request in [
        Request::Connect { transaction },
        Request::Announce { connection, transaction, announce: announce() },
        Request::Scrape { connection, transaction, hashes },
    ] {
        let mut bytes = Vec::new();
        request.emit(&mut bytes);
        assert_eq!(Request::parse(&bytes).as_ref(), Some(&request));
        (0..bytes.len()).for_each(|n| assert_ne!(Request::parse(&bytes[..n]).as_ref(), Some(&request)));
    }
    let mut bytes = Vec::new();
    Request::Announce { connection, transaction, announce: announce() }.emit(&mut bytes);
    assert_eq!(bytes.len(), 98, "BEP 15's table ends at byte 98");
}

#[test]
fn responses_round_trip() {
    let peers = alloc::vec![SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 5), 6969); 2];
    for response in [
        Response::Connect { transaction: 1, connection: 2 },
        Response::Announce {
            transaction: 1,
            interval_s: 2,
            leechers: 3,
            seeders: 4,
            peers,
            rack: Some(Rack(0)),
        },
        Response::Scrape {
            transaction: 1,
            torrents: alloc::vec![Scraped { seeders: 1, completed: 2, leechers: 3 }],
        },
        Response::Error { transaction: 1, message: b"no".to_vec() },
    ] {
        let mut bytes = Vec::new();
        response.emit(&mut bytes);
        assert_eq!(Response::parse(&bytes), Some(response));
    }
    let own = |head: [u8; 6]| [&[0, 0, 0, 1][..], &[0; 16], &head, &[10, 0, 0, 5, 0x1a, 0xe1]].concat();
    let parsed = |head| match Response::parse(&own(head)) {
        Some(Response::Announce { rack, peers, .. }) => (rack, peers.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(parsed([0, 1, 2, 3, 0, 0]), (Some(Rack(0x01_02_03)), 1));
    assert_eq!(parsed([10, 0, 0, 9, 0, 0]), (None, 1), "a peer without a port");
    assert_eq!(parsed([0, 1, 2, 3, 0, 1]), (None, 2));
    assert_eq!(parse_compact(&[0; 5]), None);
    assert_eq!(parse_compact(&[10, 0, 0, 1, 0, 0]), Some(Vec::new()), "port 0 is nobody");
}

fn sent(client: &mut AnnounceClient, now: Time) -> Request {
    match client.poll(now) {
        Some(Step::Send(bytes)) => Request::parse(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn answer(client: &mut AnnounceClient, now: Time, response: Response) {
    let mut bytes = Vec::new();
    response.emit(&mut bytes);
    client.datagram(now, &bytes);
}

#[test]
fn a_lost_datagram_costs_a_quarter_second() {
    let mut client = AnnounceClient::new(1);
    client.announce(Time(0), announce());
    let Request::Connect { transaction } = sent(&mut client, Time(0)) else { panic!() };
    assert_eq!(client.poll(Time(0)), None);
    let mut at = client.wake_at().unwrap();
    assert_eq!(at, Time(250_000));
    assert_eq!(sent(&mut client, at), Request::Connect { transaction });
    assert_eq!(client.wake_at().unwrap() - at, Duration::from_millis(500));
    at = client.wake_at().unwrap();
    answer(&mut client, at, Response::Connect { transaction: transaction ^ 1, connection: 66 });
    answer(&mut client, at, Response::Connect { transaction, connection: 77 });
    let Request::Announce { connection, transaction, announce: a } = sent(&mut client, at) else { panic!() };
    assert_eq!((connection, a), (77, announce()));
    let peers = Vec::new();
    answer(
        &mut client,
        at,
        Response::Announce { transaction, interval_s: 9, leechers: 0, seeders: 0, peers, rack: None },
    );
    assert!(matches!(client.poll(at), Some(Step::Done(Outcome::Peers { interval_s: 9, .. }))));
    assert_eq!(client.wake_at(), None);

    client.announce(at, announce());
    assert!(matches!(sent(&mut client, at), Request::Announce { connection: 77, .. }), "id used again");
    let later = at + Duration::from_secs(60);
    client.announce(later, announce());
    assert!(matches!(sent(&mut client, later), Request::Connect { .. }), "an id lives for a minute");
}

#[test]
fn silence_is_told_after_a_few_seconds() {
    let mut client = AnnounceClient::new(1);
    client.announce(Time(0), announce());
    let mut now = Time(0);
    loop {
        match client.poll(now) {
            Some(Step::Done(outcome)) => break assert_eq!(outcome, Outcome::Silent),
            Some(Step::Send(_)) => {}
            None => now = client.wake_at().unwrap(),
        }
    }
    assert!(now < Time(6_000_000));
    assert_eq!(client.wake_at(), None);
}
