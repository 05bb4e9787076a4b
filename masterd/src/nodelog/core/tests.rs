use super::*;
use crate::nodelog::config::NamedNode;
use boottorrent_swarm::Mac;
use std::net::Ipv4Addr;

/// Nodes that are remembered here.
const ROOM: usize = 32;
const FROM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);

fn record(mac: Mac, sequence: u32, event: Event) -> Record {
    Record {
        node: "n01".into(),
        mac,
        boot: 1,
        sequence,
        stage: "link".into(),
        event,
        elapsed_ms: 5321,
        params: vec![("os".into(), "debian".into())],
        text: "carrier".into(),
    }
}

fn say(log: &mut Log, now: u64, from: Ipv4Addr, bytes: &[u8]) -> Result<(), Oddity> {
    let arrival = Arrival { now: Time(now * 1_000_000), unix_time: 1000 + now, from };
    log.datagram(arrival, bytes, ROOM, &Journal::Nowhere)
}

#[test]
fn records_lines_and_floods() {
    let mut log = Log::default();
    let record = record(Mac([2, 0, 0, 0, 0, 1]), 1, Event::End);
    assert_eq!(message(&record, "n01", "link"), "n01 link: ended after 5.32 s: carrier (os=debian)");
    let sent = record.emit();
    for _ in 0..5 {
        assert_eq!(say(&mut log, 1, FROM, sent.as_bytes()), Ok(()));
    }
    assert_eq!(say(&mut log, 1, FROM, b"<13>login: \x1b[2J"), Ok(()));
    assert_eq!(say(&mut log, 1, FROM, b"\0\0"), Err(Oddity::Empty));
    assert_eq!(log.counters, Counters { records: 5, repeated: 4, progress: 0, lines: 1 });
    let node = log.nodes.get("02:00:00:00:00:01").unwrap();
    assert_eq!(node.line.as_deref(), Some("login:  [2J"));
    let flood = (0..1000).map(|_| say(&mut log, 1, FROM, b"x"));
    assert!(flood.filter(|r| *r == Err(Oddity::TooMuch)).count() > 700);
}

#[test]
fn progress_is_counted_and_shown_in_the_table_alone() {
    let mut log = Log::default();
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let mut progress = record(mac, 2, Event::Progress);
    progress.params = [("bytes_done", "40"), ("bytes_total", "100"), ("peers", "7")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    say(&mut log, 1, FROM, record(mac, 1, Event::Begin).emit().as_bytes()).unwrap();
    say(&mut log, 2, FROM, progress.emit().as_bytes()).unwrap();
    assert_eq!(log.counters, Counters { records: 1, repeated: 0, progress: 1, lines: 0 });
    let node = log.nodes.get(&mac.to_string()).unwrap();
    let figures = node.progress.as_ref().unwrap();
    assert_eq!((figures.bytes_done, figures.peers, node.last_seen), (40, 7, 1002));
    assert_eq!((node.steps.len(), node.facts.len()), (1, 0), "nothing of it is kept twice");
    say(&mut log, 3, FROM, record(mac, 3, Event::End).emit().as_bytes()).unwrap();
    assert_eq!(log.nodes.get(&mac.to_string()).unwrap().progress.as_ref().unwrap().bytes_done, 100);
    say(&mut log, 4, FROM, record(mac, 4, Event::Begin).emit().as_bytes()).unwrap();
    assert_eq!(log.nodes.get(&mac.to_string()).unwrap().progress, None, "a new try counts from nothing");
}

/// Two nodes of the site, of which the first has an address of its own.
fn site() -> Log {
    let node =
        |last, address| NamedNode { mac: Mac([2, 0, 0, 0, 0, last]), name: format!("n{last:02}"), address };
    let known = Known::new(&[node(1, Some(FROM)), node(2, None)]);
    Log { known, ..Log::default() }
}

#[test]
fn one_liar_replaces_only_its_own_inventions() {
    let mut log = site();
    let (own, liar) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 66));
    say(&mut log, 0, FROM, record(own, 1, Event::Begin).emit().as_bytes()).unwrap();
    for n in 0..60_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let invented = record(Mac([6, 0, 0, a, b, c]), 1, Event::Begin);
        let _ = say(&mut log, u64::from(n / 40), liar, invented.emit().as_bytes());
    }
    assert!(log.nodes.len() <= 9, "{} nodes", log.nodes.len());
    assert_eq!(log.nodes.get(&own.to_string()).unwrap().name, "n01");
}

#[test]
fn a_flood_from_everywhere_takes_no_named_node_away_and_stays_small() {
    let mut log = site();
    let own = Mac([2, 0, 0, 0, 0, 1]);
    // Silent for longest, and yet not the one to go.
    say(&mut log, 0, FROM, record(own, 1, Event::Begin).emit().as_bytes()).unwrap();
    let mut dropped = 0;
    for n in 0..100_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let mut invented = record(Mac([6, 0, 0, a, b, c]), n, Event::Fail);
        invented.text = if n % 100 == 0 { "ü".repeat(600) } else { String::new() };
        let result = say(&mut log, 1, Ipv4Addr::from_bits(0xc000_0000 + n), invented.emit().as_bytes());
        dropped += u32::from(result == Err(Oddity::Flood));
    }
    assert_eq!(dropped, 100_000 - TOGETHER_BURST);
    assert_eq!(log.nodes.len(), ROOM);
    assert!(log.nodes.get(&own.to_string()).is_some());
    // Other lines have a share of their own, and so would records where these are the flood.
    say(&mut log, 1, Ipv4Addr::new(10, 0, 0, 99), b"<13>sshd: hello").unwrap();
    // A node of the site is heard in the middle of it.
    say(&mut log, 1, FROM, record(own, 2, Event::End).emit().as_bytes()).unwrap();
    assert_eq!(log.nodes.get(&own.to_string()).unwrap().steps.len(), 2);
    let bytes = serde_json::to_vec(&log.nodes).unwrap().len();
    assert!(bytes < ROOM * 4096, "{bytes} bytes");
}

#[test]
fn a_generation_with_other_names_renames_who_is_there() {
    let mut log = site();
    let (own, visitor) = (Mac([2, 0, 0, 0, 0, 1]), Mac([6, 0, 0, 0, 0, 1]));
    say(&mut log, 0, FROM, record(own, 1, Event::Begin).emit().as_bytes()).unwrap();
    let mut calls_itself = record(visitor, 1, Event::Begin);
    calls_itself.node = "front".into();
    say(&mut log, 0, Ipv4Addr::new(10, 0, 0, 100), calls_itself.emit().as_bytes()).unwrap();
    log.known = Known::new(&[NamedNode { mac: own, name: "front".into(), address: None }]);
    log.nodes.recognise(&log.known);
    let name = |mac: Mac| log.nodes.get(&mac.to_string()).unwrap().name.clone();
    assert_eq!((name(own), name(visitor)), ("front".into(), "06-00-00-00-00-01".into()));
}

#[test]
fn nobody_speaks_for_a_node_that_speaks_itself() {
    let mut log = site();
    let (own, elsewhere) = (Mac([2, 0, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 0, 66));
    say(&mut log, 0, FROM, record(own, 1, Event::Begin).emit().as_bytes()).unwrap();
    let forged = record(own, 2, Event::Fail).emit();
    assert_eq!(say(&mut log, 60, elsewhere, forged.as_bytes()), Err(Oddity::NotItsOwn));
    assert_eq!(log.nodes.get(&own.to_string()).unwrap().address, FROM);
    // A machine whose address the site does not set may get another one with its next lease.
    let free = Mac([2, 0, 0, 0, 0, 2]);
    say(&mut log, 100, Ipv4Addr::new(10, 0, 0, 100), record(free, 1, Event::Begin).emit().as_bytes())
        .unwrap();
    let moved = record(free, 2, Event::End).emit();
    let new = Ipv4Addr::new(10, 0, 0, 101);
    assert_eq!(say(&mut log, 103, new, moved.as_bytes()), Err(Oddity::NotItsOwn));
    assert_eq!(say(&mut log, 106, new, moved.as_bytes()), Ok(()));
    assert_eq!(log.nodes.get(&free.to_string()).unwrap().address, new);
    // Whoever was first to speak for a node, the site's address ends it at once.
    let mut log = site();
    say(&mut log, 0, elsewhere, forged.as_bytes()).unwrap();
    say(&mut log, 0, FROM, record(own, 3, Event::Begin).emit().as_bytes()).unwrap();
    assert_eq!(log.nodes.get(&own.to_string()).unwrap().address, FROM);
}

#[test]
fn forged_addresses_of_the_site_are_bounded_together_and_silence_nobody_else() {
    let address = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n);
    let mac = |n: u32| {
        let [_, a, b, c] = n.to_be_bytes();
        Mac([2, 0, 0, a, b, c])
    };
    let listed: Vec<NamedNode> = (0..1000)
        .map(|n| NamedNode { mac: mac(n), name: format!("n{n}"), address: Some(address(n)) })
        .collect();
    let mut log = Log { known: Known::new(&listed), ..Log::default() };
    // Each of them stays below what one address may say.
    let (mut dropped, mut taken) = (0, 0);
    for round in 1..=190 {
        for n in 0..1000 {
            match say(&mut log, 1, address(n), record(mac(n), round, Event::Note).emit().as_bytes()) {
                Err(Oddity::ListedFlood) => dropped += 1,
                _ => taken += 1,
            }
        }
    }
    assert_eq!((taken, dropped), (TOGETHER_BURST, 190_000 - TOGETHER_BURST));
    assert_eq!(say(&mut log, 1, address(7), b"<13>sshd: hello"), Ok(()), "lines have a bucket of their own");
    let visitor = record(Mac([6, 0, 0, 0, 0, 1]), 1, Event::Begin);
    assert_eq!(say(&mut log, 1, Ipv4Addr::new(192, 0, 2, 1), visitor.emit().as_bytes()), Ok(()));
    assert_eq!(say(&mut log, 2, address(7), record(mac(7), 200, Event::Note).emit().as_bytes()), Ok(()));
}
