//! The table of nodes: what each has told of its present boot, keyed by MAC. It is the content of `log.json`, and is
//! read back from there after a restart. Repeats and late arrivals are recognised here; nothing is shown here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use boottorrent_swarm::record::Record;
use serde::{Deserialize, Serialize};

use super::limits::{FACTS, KEPT_CHARS, NAME_CHARS, STEPS};
use super::text::clean;

/// One record of the present boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) stage: String,
    /// begin, end, fail or note.
    pub(super) event: String,
    /// Of the stage for end and fail, else since the node's kernel started.
    pub(super) seconds: f64,
    /// The record's sentence: for a failure, why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) cause: String,
    sequence: u32,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    /// Boots seen, the present one included.
    pub(super) boots: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) os: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes_master: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes_peers: Option<u64>,
    /// Everything else that its records name, each with its latest value.
    pub(super) facts: BTreeMap<String, String>,
    /// In the order in which the node wrote them.
    #[serde(rename = "stages")]
    pub(super) steps: Vec<Step>,
    /// The last line from its address that was no record: of the OS that it booted, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) line: Option<String>,
    /// Seconds since 1970.
    pub(super) last_seen: u64,
    boot: u32,
    previous_boot: Option<u32>,
    seen: Seen,
}

/// Which sequence numbers of a boot have come: the highest, and which of the 64 up to it (as RFC 4303's window).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    highest: u32,
    window: u64,
}

impl Seen {
    /// True the first time.
    fn first(&mut self, sequence: u32) -> bool {
        if self.window == 0 || sequence > self.highest {
            let ahead = sequence.saturating_sub(self.highest);
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = sequence;
            return true;
        }
        let bit = 1_u64.checked_shl(self.highest - sequence).unwrap_or(0);
        let first = bit != 0 && self.window & bit == 0;
        self.window |= bit;
        first
    }
}

/// What a record was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    News,
    /// The node is new, or has started anew.
    NewBoot,
    /// Counted before, or of an earlier boot.
    Repeat,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Nodes {
    by_mac: BTreeMap<String, Node>,
}

impl Nodes {
    /// Notes a record that came from `address`; with no room left, the node that was silent for longest goes.
    pub(super) fn record(
        &mut self,
        unix_time: u64,
        address: Ipv4Addr,
        record: &Record,
        room: usize,
    ) -> Novelty {
        let mac = record.mac.to_string();
        if !self.by_mac.contains_key(&mac) {
            self.make_room(room.max(1) - 1);
        }
        let node = self.by_mac.entry(mac).or_insert_with(|| Node::new(record.boot));
        let novelty = node.note(record);
        if novelty != Novelty::Repeat {
            node.address = address;
            node.last_seen = unix_time;
        }
        novelty
    }

    /// Notes a line that is no record; the name of the node whose address it came from, if that is known.
    pub(super) fn line(&mut self, unix_time: u64, address: Ipv4Addr, line: &str) -> Option<&str> {
        let node = self.by_mac.values_mut().filter(|n| n.address == address).max_by_key(|n| n.last_seen)?;
        node.line = Some(line.to_owned());
        node.last_seen = unix_time;
        Some(&node.name)
    }

    pub(super) fn len(&self) -> usize {
        self.by_mac.len()
    }

    /// Forgets those that were silent for longest until no more than `room` are left.
    pub(super) fn make_room(&mut self, room: usize) {
        while self.by_mac.len() > room {
            let silent = self.by_mac.iter().min_by_key(|(_, n)| n.last_seen).map(|(mac, _)| mac.clone());
            let Some(mac) = silent else { return };
            self.by_mac.remove(&mac);
        }
    }

    #[cfg(test)]
    pub(super) fn get(&self, mac: &str) -> Option<&Node> {
        self.by_mac.get(mac)
    }
}

impl Node {
    fn new(boot: u32) -> Self {
        Self {
            name: String::new(),
            address: Ipv4Addr::UNSPECIFIED,
            boots: 0,
            os: None,
            bytes_master: None,
            bytes_peers: None,
            facts: BTreeMap::new(),
            steps: Vec::new(),
            line: None,
            last_seen: 0,
            boot,
            previous_boot: None,
            seen: Seen::default(),
        }
    }

    fn note(&mut self, record: &Record) -> Novelty {
        if self.boots > 0 && self.previous_boot == Some(record.boot) {
            return Novelty::Repeat;
        }
        let mut novelty = Novelty::News;
        if self.boots == 0 || self.boot != record.boot {
            let previous_boot = (self.boots > 0).then_some(self.boot);
            *self = Self { boots: self.boots.saturating_add(1), previous_boot, ..Self::new(record.boot) };
            novelty = Novelty::NewBoot;
        }
        if !self.seen.first(record.sequence) {
            return Novelty::Repeat;
        }
        self.name = clean(&record.node, NAME_CHARS);
        self.learn(record);
        self.step(record);
        novelty
    }

    fn learn(&mut self, record: &Record) {
        for (name, value) in &record.params {
            match name.as_str() {
                "os" => self.os = Some(clean(value, NAME_CHARS)),
                "bytes_master" => self.bytes_master = value.parse().ok().or(self.bytes_master),
                "bytes_peers" => self.bytes_peers = value.parse().ok().or(self.bytes_peers),
                _ => {
                    let name = clean(name, NAME_CHARS);
                    if self.facts.len() < FACTS || self.facts.contains_key(&name) {
                        self.facts.insert(name, clean(value, KEPT_CHARS));
                    }
                }
            }
        }
    }

    /// Datagrams may overtake one another; the node's own order counts.
    fn step(&mut self, record: &Record) {
        if self.steps.len() == STEPS {
            self.drop_step();
        }
        let at = self.steps.partition_point(|s| s.sequence < record.sequence);
        let step = Step {
            stage: clean(&record.stage, NAME_CHARS),
            event: record.event.word().to_owned(),
            seconds: record.elapsed_ms as f64 / 1000.0,
            cause: clean(&record.text, KEPT_CHARS),
            sequence: record.sequence,
        };
        self.steps.insert(at, step);
    }

    /// Drops the oldest step that a later one of the same kind has overtaken (a try that was repeated), so that a
    /// node that tries for ever keeps what came before.
    fn drop_step(&mut self) {
        let overtaken = self.steps.iter().enumerate().position(|(at, step)| {
            self.steps
                .iter()
                .skip(at + 1)
                .any(|later| (&later.stage, &later.event) == (&step.stage, &step.event))
        });
        self.steps.remove(overtaken.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests;
