//! One datagram in: a record or a stranger's line, noted in the table and made into a journal entry.
//! Asks for neither clock nor socket; a sender that says too much is cut off, nobody else.

use std::net::Ipv4Addr;

use boottorrent_swarm::Time;
use boottorrent_swarm::record::{Event, Record};
use serde::{Deserialize, Serialize};

use super::journal::{Entry, Journal};
use super::limits::{NAME_CHARS, TEXT_CHARS};
use super::nodes::{Nodes, Novelty};
use super::rate::Rates;
use super::text::{clean, foreign};

/// Messages by kind, over all restarts since the master was switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    pub(super) records: u64,
    pub(super) repeated: u64,
    pub(super) lines: u64,
}

/// Something to count. The datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    Empty,
    TooMuch,
}

impl Oddity {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Empty => "message without a text",
            Self::TooMuch => "messages dropped, the sender says too much",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) nodes: Nodes,
    pub(super) counters: Counters,
    rates: Rates,
}

impl Log {
    /// `room` is how many nodes are remembered.
    pub(super) fn datagram(
        &mut self,
        now: Time,
        unix_time: u64,
        from: Ipv4Addr,
        datagram: &[u8],
        room: usize,
        journal: &Journal,
    ) -> Result<(), Oddity> {
        if !self.rates.take(now, from) {
            return Err(Oddity::TooMuch);
        }
        if let Ok(record) = Record::parse(datagram) {
            self.record(unix_time, from, &record, room, journal);
            return Ok(());
        }
        let line = foreign(datagram).ok_or(Oddity::Empty)?;
        self.counters.lines += 1;
        let address = from.to_string();
        let node = self.nodes.line(unix_time, from, &line.text).unwrap_or("unknown").to_owned();
        journal.show(&Entry {
            severity: line.severity,
            message: format!("{node} ({address}): {}", line.text),
            fields: &[("NODE", &node), ("ADDRESS", &address)],
        });
        Ok(())
    }

    fn record(&mut self, unix_time: u64, from: Ipv4Addr, record: &Record, room: usize, journal: &Journal) {
        self.counters.records += 1;
        if self.nodes.record(unix_time, from, record, room) == Novelty::Repeat {
            self.counters.repeated += 1;
            return;
        }
        let node = clean(&record.node, NAME_CHARS);
        let stage = clean(&record.stage, NAME_CHARS);
        let (mac, address) = (record.mac.to_string(), from.to_string());
        let seconds = format!("{:.3}", record.elapsed_ms as f64 / 1000.0);
        journal.show(&Entry {
            severity: severity(record.event),
            message: message(record, &node, &stage),
            fields: &[
                ("NODE", &node),
                ("MAC", &mac),
                ("ADDRESS", &address),
                ("STAGE", &stage),
                ("EVENT", record.event.word()),
                ("SECONDS", &seconds),
            ],
        });
    }
}

fn severity(event: Event) -> u8 {
    match event {
        Event::Fail => 4,
        Event::Note => 5,
        Event::Begin | Event::End => 6,
    }
}

/// `n01 download: ended after 5.32 s: 174 MB from 3 peers (os=debian bytes_master=1 bytes_peers=2)`
fn message(record: &Record, node: &str, stage: &str) -> String {
    let seconds = record.elapsed_ms as f64 / 1000.0;
    let event = match record.event {
        Event::Begin => format!("begins at {seconds:.2} s"),
        Event::End => format!("ended after {seconds:.2} s"),
        Event::Fail => format!("failed after {seconds:.2} s"),
        Event::Note => format!("at {seconds:.2} s"),
    };
    let mut message = format!("{node} {stage}: {event}");
    if !record.text.is_empty() {
        message.push_str(": ");
        message.push_str(&clean(&record.text, TEXT_CHARS));
    }
    let facts: Vec<_> = record
        .params
        .iter()
        .map(|(name, value)| format!("{}={}", clean(name, NAME_CHARS), clean(value, NAME_CHARS)))
        .collect();
    if !facts.is_empty() {
        message.push_str(&format!(" ({})", facts.join(" ")));
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::Mac;

    #[test]
    fn records_lines_and_floods() {
        let (mut log, journal, from) = (Log::default(), Journal::open(), Ipv4Addr::new(10, 0, 0, 11));
        let record = Record {
            node: "n01".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            boot: 1,
            sequence: 1,
            stage: "link".into(),
            event: Event::End,
            elapsed_ms: 5321,
            params: vec![("os".into(), "debian".into())],
            text: "carrier".into(),
        };
        assert_eq!(message(&record, "n01", "link"), "n01 link: ended after 5.32 s: carrier (os=debian)");
        let sent = record.emit();
        for _ in 0..5 {
            assert_eq!(log.datagram(Time(1), 9, from, sent.as_bytes(), 9, &journal), Ok(()));
        }
        assert_eq!(log.datagram(Time(1), 9, from, b"<13>login: \x1b[2J", 9, &journal), Ok(()));
        assert_eq!(log.datagram(Time(1), 9, from, b"\0\0", 9, &journal), Err(Oddity::Empty));
        assert_eq!(log.counters, Counters { records: 5, repeated: 4, lines: 1 });
        let node = log.nodes.get("02:00:00:00:00:01").unwrap();
        assert_eq!(node.line.as_deref(), Some("login:  [2J"));
        let flood = (0..1000).map(|_| log.datagram(Time(1), 9, from, b"x", 9, &journal));
        assert!(flood.filter(|r| *r == Err(Oddity::TooMuch)).count() > 700);
    }
}
