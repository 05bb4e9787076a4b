//! Stage records: what anybody can send to the master's port 514.
#![no_main]

use boottorrent_fuzz::seeds;
use boottorrent_swarm::Mac;
use boottorrent_swarm::record::{Event, MAX_BYTES, Record};
use libfuzzer_sys::fuzz_target;

fn record() -> Record {
    Record {
        node: "n01".into(),
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        boot: 0xbeef,
        sequence: 12,
        stage: "download".into(),
        event: Event::End,
        elapsed_ms: 5321,
        params: vec![("os".into(), "a \"b\" [c] \\d".into()), ("bytes_peers".into(), "123".into())],
        text: "downloaded 174 MB ] from 3 peers".into(),
    }
}

fuzz_target!(init: seeds(&[record().emit().into_bytes()]), |data: &[u8]| {
    let Ok(record) = Record::parse(data) else { return };
    let line = record.emit();
    assert!(line.len() <= MAX_BYTES && !line.contains(char::is_control));
    let back = Record::parse(line.as_bytes()).expect("what we write, we read");
    let facts = |r: &Record| (r.mac, r.boot, r.sequence, r.event, r.elapsed_ms);
    assert_eq!(facts(&back), facts(&record));
    assert_eq!(Record::parse(back.emit().as_bytes()), Ok(back), "and from then on it does not change");
});
