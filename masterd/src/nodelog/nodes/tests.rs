use super::*;
use boottorrent_swarm::Mac;
use boottorrent_swarm::record::Event;
use std::time::Duration;

const MAC: &str = "52:54:00:00:00:01";
const FROM: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);

fn record(boot: u32, sequence: u32, stage: &str, event: Event, elapsed_ms: u64) -> Record {
    Record {
        node: "n01".into(),
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        boot,
        sequence,
        stage: stage.into(),
        event,
        elapsed_ms,
        params: vec![],
        text: format!("{stage} {}", event.word()),
    }
}

fn note(nodes: &mut Nodes, unix_time: u64, record: &Record, room: usize) -> Novelty {
    let arrival = Arrival { now: Time(0), unix_time, from: FROM };
    nodes.record(arrival, record, &Known::default(), room)
}

fn say(nodes: &mut Nodes, from: Ipv4Addr, line: &str) -> Option<String> {
    nodes.line(Arrival { now: Time(0), unix_time: 5, from }, line).map(|speaker| speaker.name)
}

fn steps(nodes: &Nodes) -> Vec<(&str, &str, f64)> {
    let node = nodes.get(MAC).unwrap();
    node.steps.iter().map(|s| (s.stage.as_str(), s.event.as_str(), s.seconds)).collect()
}

#[test]
fn a_boot_from_begin_to_end() {
    let mut nodes = Nodes::default();
    let mut end = record(7, 4, "download", Event::End, 5321);
    end.params = [("os", "debian"), ("bytes_master", "100"), ("bytes_peers", "200"), ("peers", "3")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec();
    let records = [
        record(7, 1, "link", Event::Begin, 900),
        record(7, 2, "link", Event::Fail, 1500),
        record(7, 3, "download", Event::Begin, 2500),
        end,
    ];
    assert_eq!(note(&mut nodes, 10, &records[0], 9), Novelty::NewBoot);
    for record in &records[1..] {
        assert_eq!(note(&mut nodes, 11, record, 9), Novelty::News);
    }
    for record in &records {
        assert_eq!(note(&mut nodes, 99, record, 9), Novelty::Repeat);
    }
    let node = nodes.get(MAC).unwrap();
    assert_eq!((node.name.as_str(), node.boots, node.last_seen), ("n01", 1, 11));
    assert_eq!(
        (node.os.as_deref(), node.bytes_master, node.bytes_peers),
        (Some("debian"), Some(100), Some(200))
    );
    assert_eq!((node.facts["peers"].as_str(), node.steps[1].cause.as_str()), ("3", "link fail"));
    let expected = [
        ("link", "begin", 0.9),
        ("link", "fail", 1.5),
        ("download", "begin", 2.5),
        ("download", "end", 5.321),
    ];
    assert_eq!(steps(&nodes), expected);
}

#[test]
fn a_new_boot_begins_the_list_anew_and_late_records_of_the_old_one_change_nothing() {
    let mut nodes = Nodes::default();
    note(&mut nodes, 1, &record(7, 1, "link", Event::Begin, 1), 9);
    assert_eq!(note(&mut nodes, 2, &record(8, 0, "lease", Event::Begin, 1), 9), Novelty::NewBoot);
    assert_eq!(note(&mut nodes, 3, &record(7, 2, "link", Event::End, 1), 9), Novelty::Repeat);
    assert_eq!(nodes.get(MAC).unwrap().boots, 2);
    assert_eq!(steps(&nodes), [("lease", "begin", 0.001)]);
}

#[test]
fn a_forged_boot_does_not_make_the_real_one_old() {
    let mut nodes = Nodes::default();
    note(&mut nodes, 1, &record(7, 1, "link", Event::Begin, 1), 9);
    let forger = Ipv4Addr::new(10, 0, 0, 66);
    let at =
        |seconds, from| Arrival { now: Time(0) + Duration::from_secs(seconds), unix_time: seconds, from };
    let forged = record(99, 1, "link", Event::Begin, 1);
    assert_eq!(nodes.record(at(400, forger), &forged, &Known::default(), 9), Novelty::NewBoot);
    let fail = record(7, 2, "lease", Event::Fail, 1);
    assert_eq!(nodes.record(at(800, FROM), &fail, &Known::default(), 9), Novelty::NewBoot);
    assert_eq!(steps(&nodes), [("lease", "fail", 0.001)]);
}

#[test]
fn overtaken_datagrams_are_put_in_order() {
    let mut nodes = Nodes::default();
    note(&mut nodes, 1, &record(7, 5, "link", Event::End, 100), 9);
    assert_eq!(note(&mut nodes, 1, &record(7, 4, "link", Event::Begin, 50), 9), Novelty::News);
    assert_eq!(steps(&nodes), [("link", "begin", 0.05), ("link", "end", 0.1)]);
}

#[test]
fn a_node_that_tries_for_ever_keeps_what_came_before() {
    let mut nodes = Nodes::default();
    note(&mut nodes, 1, &record(7, 0, "link", Event::Begin, 1), 9);
    note(&mut nodes, 1, &record(7, 1, "link", Event::End, 2), 9);
    for sequence in 2..1000 {
        let event = if sequence % 2 == 0 { Event::Begin } else { Event::Fail };
        note(&mut nodes, 1, &record(7, sequence, "lease", event, u64::from(sequence)), 9);
    }
    let steps = steps(&nodes);
    assert_eq!(steps.len(), STEPS);
    assert_eq!(steps[..2], [("link", "begin", 0.001), ("link", "end", 0.002)]);
    assert_eq!(steps[STEPS - 1], ("lease", "fail", 0.999));
}

#[test]
fn sequence_window() {
    let mut seen = Seen::default();
    assert!(seen.first(0) && !seen.first(0));
    assert!(seen.first(70) && seen.first(7) && !seen.first(7) && !seen.first(70));
    assert!(!seen.first(6), "older than the window counts as seen");
    assert!(seen.first(u32::MAX) && !seen.first(u32::MAX) && !seen.first(70));
}

#[test]
fn everything_is_bounded_and_clean() {
    let mut nodes = Nodes::default();
    for n in 0..200_u32 {
        let mut r = record(7, n, &format!("stage\u{1b}{n}"), Event::Begin, 1);
        r.node = "x".repeat(500);
        r.text = "\u{1f512}\n".repeat(2000);
        r.params = (0..16).map(|p| (format!("p{}", n * 16 + p), "\u{1f512}".repeat(300))).collect();
        note(&mut nodes, 1, &r, 9);
    }
    let node = nodes.get(MAC).unwrap();
    assert_eq!((node.steps.len(), node.facts.len()), (STEPS, FACTS));
    assert!(serde_json::to_string(node).unwrap().len() < 56 << 10);
    assert!(!node.steps.iter().any(|s| (s.stage.clone() + &s.cause).contains(char::is_control)));
    for n in 0..50_u8 {
        let mut r = record(1, 1, "link", Event::Begin, 1);
        r.mac = Mac([2, 0, 0, 0, 0, n]);
        let from = Ipv4Addr::new(10, 0, 1, n);
        let arrival = Arrival { now: Time(0), unix_time: 100 + u64::from(n), from };
        nodes.record(arrival, &r, &Known::default(), 10);
    }
    assert_eq!(nodes.len(), 10);
    assert!(nodes.get("02:00:00:00:00:31").is_some() && nodes.get(MAC).is_none());
}

#[test]
fn the_table_survives_a_restart() {
    let mut nodes = Nodes::default();
    note(&mut nodes, 1, &record(7, 1, "link", Event::Fail, 100), 9);
    let text = serde_json::to_string(&nodes).unwrap();
    let mut back: Nodes = serde_json::from_str(&text).unwrap();
    assert_eq!(back, nodes);
    assert_eq!(note(&mut back, 2, &record(7, 1, "link", Event::Fail, 100), 9), Novelty::Repeat);
    assert_eq!(say(&mut back, FROM, "hello").as_deref(), Some("n01"));
    assert_eq!(say(&mut back, Ipv4Addr::LOCALHOST, "hello"), None);
}

#[test]
fn what_comes_again_after_a_break_is_taken_once_and_undoes_nothing() {
    let mut nodes = Nodes::default();
    let mut end = record(7, 60_000, "lease", Event::End, 300);
    end.params = vec![("ip".to_owned(), "10.0.0.12".to_owned())];
    note(&mut nodes, 1, &end, 9);
    let mut missed = record(7, 20_000, "lease", Event::Fail, 20_000);
    missed.params = vec![("ip".to_owned(), "10.0.0.99".to_owned())];
    assert_eq!(note(&mut nodes, 2, &missed, 9), Novelty::News);
    for again in [&end, &missed] {
        assert_eq!(note(&mut nodes, 3, again, 9), Novelty::Repeat);
    }
    assert_eq!(steps(&nodes), [("lease", "fail", 20.0), ("lease", "end", 0.3)]);
    assert_eq!(nodes.get(MAC).unwrap().facts.get("ip").map(String::as_str), Some("10.0.0.12"));
    let old_figures = record(7, 19_000, "download", Event::Progress, 0);
    assert_eq!(note(&mut nodes, 4, &old_figures, 9), Novelty::Repeat);
}
