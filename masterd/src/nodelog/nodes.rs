//! The table of nodes: what each has told of its present boot, keyed by MAC. It is the content of `log.json`, and is
//! read back from there after a restart. Repeats, late arrivals and other people's records are recognised here; nothing
//! is shown here.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use boottorrent_swarm::record::{Event, Record};
use boottorrent_swarm::{Mac, Time};
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::known::Known;
use super::limits::{
    FACTS, KEPT_BYTES, NAME_BYTES, NEW_ADDRESS, NEW_ADDRESS_OF_NAMED, NODES_PER_ADDRESS, STEPS,
};
use super::text::kept;

/// When and from where a datagram came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) now: Time,
    /// Seconds since 1970.
    pub(super) unix_time: u64,
    pub(super) from: Ipv4Addr,
}

/// One record of the present boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) stage: String,
    /// begin, end, fail or note.
    pub(crate) event: String,
    /// Of the stage for end and fail, else since the node's kernel started.
    pub(crate) seconds: f64,
    /// The record's sentence: for a failure, why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) cause: String,
    /// When it came; seconds since 1970.
    #[serde(default)]
    pub(crate) at: u64,
    sequence: u32,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// Boots seen, the present one included.
    pub(crate) boots: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) os: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_master: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_peers: Option<u64>,
    /// How far its download is, while it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Figures>,
    /// Everything else that its records name, each with its latest value.
    pub(crate) facts: BTreeMap<String, String>,
    /// In the order in which the node wrote them.
    #[serde(rename = "stages")]
    pub(crate) steps: Vec<Step>,
    /// The last line from its address that was no record: of the OS that it booted, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<String>,
    /// Seconds since 1970.
    pub(crate) last_seen: u64,
    boot: u32,
    previous_boot: Option<u32>,
    seen: Seen,
    /// When it last said something; nothing is known of that after a restart.
    #[serde(skip)]
    heard: Time,
    /// Whether the site names it.
    #[serde(skip)]
    named: bool,
}

/// Which sequence numbers of a boot have come: the highest, and which of the 64 up to it (as RFC 4303's window).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    highest: u32,
    window: u64,
}

impl Seen {
    /// Below the window: numbers are milliseconds of the node's time, so that is soon.
    fn is_far_behind(self, sequence: u32) -> bool {
        self.window != 0 && self.highest.saturating_sub(sequence) >= u64::BITS
    }

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
    /// Numbers for the table alone.
    Progress,
    /// From an address that is not the node's.
    Refused,
}

/// Whose address a line came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Speaker {
    pub(super) name: String,
    pub(super) mac: String,
    pub(super) boot: u32,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Nodes {
    by_mac: BTreeMap<String, Node>,
}

impl Nodes {
    /// Notes a record; with no room left, the node that was silent for longest goes.
    pub(super) fn record(
        &mut self,
        arrival: Arrival,
        record: &Record,
        known: &Known,
        room: usize,
    ) -> Novelty {
        let mac = record.mac.to_string();
        match self.by_mac.get(&mac) {
            Some(node) if !node.believes(arrival, record.mac, known) => return Novelty::Refused,
            Some(_) => {}
            None => {
                if !known.has(record.mac) {
                    self.limit_address(arrival.from);
                }
                self.make_room(room.max(1) - 1);
            }
        }
        let node = self.by_mac.entry(mac).or_insert_with(|| Node::new(record.boot));
        if node.address != arrival.from {
            // The last words may have been a forger's: the real node's boot is not old because of them.
            node.previous_boot = None;
        }
        let novelty = node.note(arrival.unix_time, record);
        if novelty != Novelty::Repeat {
            node.name = known.name(record.mac, &record.node);
            node.address = arrival.from;
            node.last_seen = arrival.unix_time;
            node.heard = arrival.now;
            node.named = known.has(record.mac);
        }
        novelty
    }

    /// Notes a line that is no record; the node whose address it came from, if that is known.
    pub(super) fn line(&mut self, arrival: Arrival, line: &str) -> Option<Speaker> {
        let of_address = self.by_mac.iter_mut().filter(|(_, node)| node.address == arrival.from);
        let (mac, node) = of_address.max_by_key(|(_, node)| node.last_seen)?;
        node.line = Some(kept(line, KEPT_BYTES));
        node.last_seen = arrival.unix_time;
        node.heard = arrival.now;
        Some(Speaker { name: node.name.clone(), mac: mac.clone(), boot: node.boot })
    }

    pub(super) fn len(&self) -> usize {
        self.by_mac.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.by_mac.iter().map(|(mac, node)| (mac.as_str(), node))
    }

    /// Forgets those that were silent for longest until no more than `room` are left, and the site's own last.
    pub(super) fn make_room(&mut self, room: usize) {
        while self.by_mac.len() > room {
            let dispensable = self.by_mac.iter().min_by_key(|(_, node)| (node.named, node.last_seen));
            let Some(mac) = dispensable.map(|(mac, _)| mac.clone()) else { return };
            self.by_mac.remove(&mac);
        }
    }

    /// What the site says now: its names hold from here on, also for who is silent.
    pub(super) fn recognise(&mut self, known: &Known) {
        for (mac, node) in &mut self.by_mac {
            let Ok(mac) = mac.parse() else { continue };
            node.named = known.has(mac);
            node.name = known.name(mac, &node.name);
        }
    }

    /// Before one more: an address that invents nodes replaces its own inventions, and nobody else's entry.
    fn limit_address(&mut self, address: Ipv4Addr) {
        loop {
            let of_address = self.by_mac.iter().filter(|(_, node)| node.address == address && !node.named);
            if of_address.clone().count() < NODES_PER_ADDRESS {
                return;
            }
            let Some(mac) = of_address.min_by_key(|(_, node)| node.last_seen).map(|(mac, _)| mac.clone())
            else {
                return;
            };
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
            progress: None,
            facts: BTreeMap::new(),
            steps: Vec::new(),
            line: None,
            last_seen: 0,
            boot,
            previous_boot: None,
            seen: Seen::default(),
            heard: Time::default(),
            named: false,
        }
    }

    /// Whether a record that came from elsewhere than the last one may still be this node's.
    fn believes(&self, arrival: Arrival, mac: Mac, known: &Known) -> bool {
        let silence = if known.fits(mac, self.address) { NEW_ADDRESS_OF_NAMED } else { NEW_ADDRESS };
        self.address == arrival.from
            || known.fits(mac, arrival.from)
            || arrival.now.since(self.heard) >= silence
    }

    fn note(&mut self, unix_time: u64, record: &Record) -> Novelty {
        if self.boots > 0 && self.previous_boot == Some(record.boot) {
            return Novelty::Repeat;
        }
        let mut novelty = Novelty::News;
        if self.boots == 0 || self.boot != record.boot {
            let previous_boot = (self.boots > 0).then_some(self.boot);
            *self = Self { boots: self.boots.saturating_add(1), previous_boot, ..Self::new(record.boot) };
            novelty = Novelty::NewBoot;
        }
        let is_belated = self.seen.is_far_behind(record.sequence);
        let is_new = self.seen.first(record.sequence) || is_belated && self.lacks(record);
        if !is_new {
            return Novelty::Repeat;
        }
        if record.event == Event::Progress {
            let bytes = |name| record.param(name).and_then(|value| value.parse().ok());
            self.bytes_master = bytes("bytes_master").or(self.bytes_master);
            self.bytes_peers = bytes("bytes_peers").or(self.bytes_peers);
            self.progress.get_or_insert_default().note(unix_time, record);
            return Novelty::Progress;
        }
        self.step(unix_time, record);
        if !is_belated {
            self.learn(record);
            self.follow(record);
        }
        novelty
    }

    /// What a node could not say while the master was out of its reach it says again later; the list knows what came.
    fn lacks(&self, record: &Record) -> bool {
        record.event != Event::Progress && self.steps.iter().all(|step| step.sequence != record.sequence)
    }

    /// What a stage's begin and end mean for its numbers.
    fn follow(&mut self, record: &Record) {
        let Some(figures) = self.progress.as_mut().filter(|figures| figures.stage == record.stage) else {
            return;
        };
        match record.event {
            Event::Begin | Event::Fail => self.progress = None,
            Event::End => figures.complete(),
            Event::Note | Event::Progress => {}
        }
    }

    fn learn(&mut self, record: &Record) {
        for (name, value) in &record.params {
            match name.as_str() {
                "os" => self.os = Some(kept(value, NAME_BYTES)),
                "bytes_master" => self.bytes_master = value.parse().ok().or(self.bytes_master),
                "bytes_peers" => self.bytes_peers = value.parse().ok().or(self.bytes_peers),
                _ => {
                    let name = kept(name, NAME_BYTES);
                    if self.facts.len() < FACTS || self.facts.contains_key(&name) {
                        self.facts.insert(name, kept(value, KEPT_BYTES));
                    }
                }
            }
        }
    }

    /// Datagrams may overtake one another; the node's own order counts.
    fn step(&mut self, unix_time: u64, record: &Record) {
        if self.steps.len() == STEPS {
            self.drop_step();
        }
        let at = self.steps.partition_point(|s| s.sequence < record.sequence);
        let step = Step {
            stage: kept(&record.stage, NAME_BYTES),
            event: record.event.word().to_owned(),
            seconds: record.elapsed_ms as f64 / 1000.0,
            cause: kept(&record.text, KEPT_BYTES),
            at: unix_time,
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
