//! How far a node is, from its progress records: the latest numbers, and rates from the last few.
//! Decides what a rate is; whether a record is taken at all is decided before.

use std::collections::VecDeque;

use boottorrent_swarm::record::Record;
use serde::{Deserialize, Serialize};

use super::limits::{NAME_BYTES, RATE_SAMPLES, RATE_WINDOW};
use super::text::kept;

/// The latest progress of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    /// The stage that it was told of.
    pub(crate) stage: String,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    pub(crate) peers: u32,
    pub(crate) bytes_sent: u64,
    /// Bytes a second, received and sent.
    pub(crate) rate: u64,
    pub(crate) rate_sent: u64,
    /// Seconds since 1970.
    pub(crate) at: u64,
    #[serde(skip)]
    samples: VecDeque<Sample>,
}

/// The node's own clock, and all that it had received and sent by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    ms: u64,
    received: u64,
    sent: u64,
}

impl Figures {
    pub(super) fn note(&mut self, unix_time: u64, record: &Record) {
        let number = |name| record.param(name).and_then(|value| value.parse::<u64>().ok());
        self.stage = kept(&record.stage, NAME_BYTES);
        self.bytes_total = number("bytes_total").unwrap_or(self.bytes_total);
        self.bytes_done = number("bytes_done").unwrap_or(self.bytes_done).min(self.bytes_total);
        self.peers = number("peers").and_then(|n| u32::try_from(n).ok()).unwrap_or(self.peers);
        self.at = unix_time;
        let total = |name| number(name).unwrap_or(0);
        self.bytes_sent = total("bytes_sent");
        self.measure(Sample {
            ms: record.elapsed_ms,
            received: total("bytes_master").saturating_add(total("bytes_peers")),
            sent: total("bytes_sent"),
        });
    }

    fn measure(&mut self, now: Sample) {
        // Another worker counts from nothing, and a late datagram is no news of the rate.
        if self.samples.back().is_some_and(|last| now.ms <= last.ms || now.received < last.received) {
            self.samples.clear();
        }
        let window = u64::try_from(RATE_WINDOW.as_millis()).unwrap_or(u64::MAX);
        self.samples.push_back(now);
        while self.samples.len() > RATE_SAMPLES
            || self.samples.front().is_some_and(|first| now.ms.saturating_sub(first.ms) > window)
        {
            self.samples.pop_front();
        }
        let Some(first) = self.samples.front().filter(|first| first.ms < now.ms) else { return };
        let per_second = |bytes: u64| bytes.saturating_mul(1000) / (now.ms - first.ms);
        self.rate = per_second(now.received.saturating_sub(first.received));
        self.rate_sent = per_second(now.sent.saturating_sub(first.sent));
    }

    /// The stage has ended well: nothing is missing, and nothing comes any more.
    pub(super) fn complete(&mut self) {
        self.bytes_done = self.bytes_total;
        self.rate = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::Mac;
    use boottorrent_swarm::record::Event;

    fn record(ms: u64, done: u64, peers: u64) -> Record {
        let params =
            [("bytes_done", done), ("bytes_total", 100_000_000), ("bytes_peers", done), ("peers", peers)];
        Record {
            node: "n01".into(),
            mac: Mac([2, 0, 0, 0, 0, 1]),
            boot: 1,
            sequence: 1,
            stage: "download".into(),
            event: Event::Progress,
            elapsed_ms: ms,
            params: params.map(|(name, value)| (name.to_owned(), value.to_string())).to_vec(),
            text: String::new(),
        }
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds() {
        let mut figures = Figures::default();
        figures.note(7, &record(10_000, 0, 3));
        assert_eq!((figures.rate, figures.peers, figures.at), (0, 3, 7));
        for second in 1..4 {
            figures.note(8, &record(10_000 + second * 1000, second * 10_000_000, 3));
        }
        assert_eq!((figures.rate, figures.bytes_done), (10_000_000, 30_000_000));
        for second in 4..10 {
            figures.note(9, &record(10_000 + second * 1000, 30_000_000, 3));
        }
        assert_eq!(figures.rate, 0, "a stall shows");
        assert!(figures.samples.len() <= RATE_SAMPLES);
    }

    #[test]
    fn a_new_worker_and_nonsense_count_from_nothing() {
        let mut figures = Figures::default();
        figures.note(1, &record(10_000, 50_000_000, 3));
        figures.note(1, &record(11_000, u64::MAX, u64::MAX));
        assert_eq!((figures.bytes_done, figures.peers), (100_000_000, 3), "no more than all of it");
        figures.note(1, &record(12_000, 1000, 3));
        assert_eq!(figures.samples.len(), 1);
        figures.note(1, &record(12_000, 2000, 3));
        assert_eq!(figures.samples.len(), 1, "no time has passed");
    }
}
