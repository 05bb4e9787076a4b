//! One datagram in: a record or a stranger's line, noted in the table and made into a journal entry.
//! Asks for neither clock nor socket; a sender that says too much is cut off, nobody else.

use boottorrent_swarm::Time;
use boottorrent_swarm::record::{Event, Record};
use serde::{Deserialize, Serialize};

use super::journal::{Entry, Journal};
use super::known::Known;
use super::limits::{NAME_CHARS, TEXT_CHARS, TOGETHER_BURST, TOGETHER_PER_SECOND};
use super::nodes::{Arrival, Nodes, Novelty, Speaker};
use super::rate::{Bucket, Rates};
use super::text::{clean, foreign};

/// Messages by kind, over all restarts since the master was switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counters {
    pub(super) records: u64,
    pub(super) repeated: u64,
    /// Progress records, which are not in `records`.
    pub(super) progress: u64,
    pub(super) lines: u64,
}

/// Something to count. The datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    Empty,
    TooMuch,
    /// All those together say too much to whom the site gives no address.
    Flood,
    /// All those together to whom it gives one.
    ListedFlood,
    NotItsOwn,
}

impl Oddity {
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Empty => "message without a text",
            Self::TooMuch => "messages dropped, the sender says too much",
            Self::Flood => "messages dropped, strangers say too much altogether",
            Self::ListedFlood => "messages dropped, the site's own addresses say too much altogether",
            Self::NotItsOwn => "record dropped, its node speaks from another address",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) nodes: Nodes,
    pub(super) counters: Counters,
    /// What the site says of its nodes.
    pub(super) known: Known,
    rates: Rates,
    strangers: Share,
    listed: Share,
}

/// What many senders may say together. Systems that have started log as they like: what boots meanwhile has a bucket of
/// its own.
#[derive(Debug, Default)]
struct Share {
    records: Bucket,
    lines: Bucket,
}

impl Share {
    fn take(&mut self, now: Time, is_record: bool) -> bool {
        let bucket = if is_record { &mut self.records } else { &mut self.lines };
        bucket.take(now, TOGETHER_PER_SECOND, TOGETHER_BURST)
    }
}

impl Log {
    /// `room` is how many nodes are remembered.
    pub(super) fn datagram(
        &mut self,
        arrival: Arrival,
        datagram: &[u8],
        room: usize,
        journal: &Journal,
    ) -> Result<(), Oddity> {
        if !self.rates.take(arrival.now, arrival.from) {
            return Err(Oddity::TooMuch);
        }
        let record = Record::parse(datagram).ok();
        let (share, flood) = if self.known.is_a_nodes(arrival.from) {
            (&mut self.listed, Oddity::ListedFlood)
        } else {
            (&mut self.strangers, Oddity::Flood)
        };
        if !share.take(arrival.now, record.is_some()) {
            return Err(flood);
        }
        if let Some(record) = record {
            return self.record(arrival, &record, room, journal);
        }
        let line = foreign(datagram).ok_or(Oddity::Empty)?;
        self.counters.lines += 1;
        let address = arrival.from.to_string();
        let message = |node: &str| format!("{node} ({address}): {}", line.text);
        let severity = line.severity;
        match self.nodes.line(arrival, &line.text) {
            Some(Speaker { name, mac, boot }) => journal.show(&Entry {
                severity,
                message: message(&name),
                fields: &[
                    ("NODE", &name),
                    ("MAC", &mac),
                    ("ADDRESS", &address),
                    ("BOOT", &format!("{boot:08x}")),
                ],
            }),
            None => journal.show(&Entry {
                severity,
                message: message("unknown"),
                fields: &[("NODE", "unknown"), ("ADDRESS", &address)],
            }),
        }
        Ok(())
    }

    fn record(
        &mut self,
        arrival: Arrival,
        record: &Record,
        room: usize,
        journal: &Journal,
    ) -> Result<(), Oddity> {
        match self.nodes.record(arrival, record, &self.known, room) {
            Novelty::Refused => return Err(Oddity::NotItsOwn),
            Novelty::Progress => {
                self.counters.progress += 1;
                return Ok(());
            }
            Novelty::Repeat => {
                self.counters.records += 1;
                self.counters.repeated += 1;
                return Ok(());
            }
            Novelty::News | Novelty::NewBoot => self.counters.records += 1,
        }
        let node = self.known.name(record.mac, &record.node);
        let stage = clean(&record.stage, NAME_CHARS);
        let (mac, address) = (record.mac.to_string(), arrival.from.to_string());
        let seconds = format!("{:.3}", record.elapsed_ms as f64 / 1000.0);
        journal.show(&Entry {
            severity: severity(record.event),
            message: message(record, &node, &stage),
            fields: &[
                ("NODE", &node),
                ("MAC", &mac),
                ("ADDRESS", &address),
                ("BOOT", &format!("{:08x}", record.boot)),
                ("STAGE", &stage),
                ("EVENT", record.event.word()),
                ("SECONDS", &seconds),
            ],
        });
        Ok(())
    }
}

fn severity(event: Event) -> u8 {
    match event {
        Event::Fail => 4,
        Event::Note => 5,
        Event::Begin | Event::End => 6,
        Event::Progress => 7,
    }
}

/// `n01 download: ended after 5.32 s: 174 MB from 3 peers (os=debian bytes_master=1 bytes_peers=2)`
fn message(record: &Record, node: &str, stage: &str) -> String {
    let seconds = record.elapsed_ms as f64 / 1000.0;
    let event = match record.event {
        Event::Begin => format!("begins at {seconds:.2} s"),
        Event::End => format!("ended after {seconds:.2} s"),
        Event::Fail => format!("failed after {seconds:.2} s"),
        Event::Note | Event::Progress => format!("at {seconds:.2} s"),
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
mod tests;
