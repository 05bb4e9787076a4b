//! The log: any datagrams; its table stays small, is fit for a terminal, and survives a restart.
#![no_main]

use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_fuzz::{Script, framed, seeds};
use boottorrent_masterd::nodelog::probe::Probe;
use boottorrent_swarm::record::{Event, Record};
use boottorrent_swarm::{Mac, Time};
use libfuzzer_sys::fuzz_target;

/// Nodes that the table may hold.
const ROOM: usize = 3;
/// Bytes of a node in the table: 96 steps and 32 facts, each with a sentence, and what JSON adds.
const NODE_BYTES: usize = (96 + 32) * 12_000;

fn record(mac: u8, sequence: u32, event: Event) -> Record {
    Record {
        node: format!("n{mac}"),
        mac: Mac([2, 0, 0, 0, 0, mac]),
        boot: 1,
        sequence,
        stage: "download".into(),
        event,
        elapsed_ms: 5321,
        params: vec![
            ("os".into(), "debian".into()),
            ("bytes_peers".into(), "123".into()),
            ("bytes_done".into(), sequence.to_string()),
            ("bytes_total".into(), "100".into()),
        ],
        text: "174 MB".into(),
    }
}

fn run(mut script: Script<'_>) -> Option<()> {
    let mut probe = Probe::default();
    let mut now = Time(1_000_000_000);
    loop {
        let Some(choice) = script.byte() else { break };
        now = now + Duration::from_millis(u64::from(choice >> 3) * 10);
        let from = Ipv4Addr::new(10, 0, 0, choice % 8);
        let packet = if choice & 0x80 == 0 {
            script.packet()?.to_vec()
        } else {
            let events = [Event::Begin, Event::End, Event::Fail, Event::Note, Event::Progress];
            let event = events[usize::from(choice) % events.len()];
            let mut record = record(script.below(6)?, script.below(128)?.into(), event);
            record.boot = script.below(3)?.into();
            record.text = String::from_utf8_lossy(script.packet()?).into_owned();
            record.emit().into_bytes()
        };
        probe.datagram(now, from, &packet, ROOM);
        assert!(probe.nodes() <= ROOM);
    }
    let (saved, again) = probe.saved_and_read().expect("the service reads what it wrote");
    assert_eq!(saved, again, "a restart has changed the table");
    assert!(saved.len() <= ROOM * NODE_BYTES, "{} bytes", saved.len());
    // JSON escapes the rest, and a terminal shows what jq makes of it.
    let table: serde_json::Value = serde_json::from_str(&saved).expect("JSON");
    plain(&table);
    Some(())
}

fn plain(value: &serde_json::Value) {
    match value {
        serde_json::Value::String(text) => assert!(!text.contains(char::is_control), "{text:?}"),
        serde_json::Value::Array(items) => items.iter().for_each(plain),
        serde_json::Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            assert!(!name.contains(char::is_control), "{name:?}");
            plain(value);
        }),
        _ => {}
    }
}

fn talk() -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&framed(record(1, 1, Event::Begin).emit().as_bytes()));
    out.push(1);
    out.extend_from_slice(&framed(record(1, 2, Event::End).emit().as_bytes()));
    out.push(1);
    out.extend_from_slice(&framed(b"<13>Oct 11 22:14:15 n01 login: tty1"));
    out.extend_from_slice(&[0x82, 2, 9, 1]);
    out.extend_from_slice(&framed(b"no carrier"));
    out
}

fuzz_target!(init: seeds(&[talk()]), |data: &[u8]| {
    run(Script::new(data));
});
