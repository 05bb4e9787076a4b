//! What a download cost: seconds, bytes from and to each peer, CPU and memory, as JSON. Decides nothing.

use boottorrent_net::driver::{Driver, TorrentId};
use boottorrent_swarm::PeerId;
use boottorrent_swarm::metainfo::Metainfo;
use boottorrent_swarm::swarm::{PeerStat, Progress};
use nix::sys::resource::{UsageWho, getrusage};
use std::fmt::Write;
use std::time::Duration;

/// Warnings shown in full; more are only counted.
const SHOWN: u64 = 20;

/// What is measured while the download runs.
pub(super) struct Meter {
    started: Duration,
    begun: Duration,
    ended: Option<Duration>,
    /// Bytes that were there before.
    pub(super) found: u64,
    pub(super) false_pieces: u64,
    warnings: u64,
    /// Bytes, the highest seen: the kernel keeps no mark of its own for it.
    anonymous_peak: u64,
}

impl Meter {
    pub(super) fn start(now: Duration) -> Meter {
        let (found, false_pieces, warnings, anonymous_peak) = (0, 0, 0, 0);
        Meter { started: now, begun: now, ended: None, found, false_pieces, warnings, anonymous_peak }
    }

    /// The network's part begins, with so many bytes there already.
    pub(super) fn begin(&mut self, now: Duration, found: u64) {
        (self.begun, self.found) = (now, found);
    }

    pub(super) fn end(&mut self, now: Duration) {
        self.ended = Some(now);
        self.look();
    }

    /// Takes a sample of the memory.
    pub(super) fn look(&mut self) {
        self.anonymous_peak = self.anonymous_peak.max(status_bytes("RssAnon:"));
    }

    /// Seconds from the first dial to the last verified piece.
    pub(super) fn seconds(&self) -> f64 {
        self.ended.map_or(0.0, |end| end.saturating_sub(self.begun).as_secs_f64())
    }

    pub(super) fn warn(&mut self, kind: &str, detail: &str) {
        self.warnings += 1;
        if self.warnings <= SHOWN {
            eprintln!("boottorrent-agent fetch: {kind}: {detail}");
        }
    }
}

/// A line of /proc/self/status, in bytes.
fn status_bytes(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().map_or(0, |kib: u64| kib * 1024)
}

pub(super) struct Stats {
    name: String,
    info_hash: String,
    complete: bool,
    seconds: f64,
    seconds_all: f64,
    found: u64,
    false_pieces: u64,
    warnings: u64,
    cpu_user: f64,
    cpu_system: f64,
    peak: u64,
    anonymous_peak: u64,
    progress: Progress,
    peers: Vec<PeerStat>,
}

impl Stats {
    pub(super) fn take(driver: &Driver, id: TorrentId, m: &Metainfo, meter: &Meter, complete: bool) -> Stats {
        let cpu = getrusage(UsageWho::RUSAGE_SELF);
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        Stats {
            name: m.name.clone(),
            info_hash: m.info_hash.to_string(),
            complete,
            seconds: meter.seconds(),
            seconds_all: crate::clock::now().saturating_sub(meter.started).as_secs_f64(),
            found: meter.found,
            false_pieces: meter.false_pieces,
            warnings: meter.warnings,
            cpu_user: cpu.map_or(0.0, |u| seconds(u.user_time())),
            cpu_system: cpu.map_or(0.0, |u| seconds(u.system_time())),
            peak: status_bytes("VmHWM:"),
            anonymous_peak: meter.anonymous_peak,
            progress: driver.progress(id).unwrap_or_default(),
            peers: driver.peers(id),
        }
    }

    pub(super) fn json(&self) -> String {
        let p = &self.progress;
        let from =
            |master| self.peers.iter().filter(|s| s.is_master == master).map(|s| s.bytes_in).sum::<u64>();
        let mut out = String::from("{\n");
        let mut field = |name: &str, value: String| {
            let _ = writeln!(out, "  \"{name}\": {value},");
        };
        field("name", quoted(&self.name));
        field("info_hash", quoted(&self.info_hash));
        field("complete", self.complete.to_string());
        field("bytes", p.bytes_total.to_string());
        field("bytes_found", self.found.to_string());
        field("pieces", p.pieces.to_string());
        field("seconds", format!("{:.6}", self.seconds));
        field("seconds_all", format!("{:.6}", self.seconds_all));
        field("bytes_in", p.bytes_in.to_string());
        field("bytes_out", p.bytes_out.to_string());
        field("bytes_from_named_peers", from(true).to_string());
        field("bytes_from_other_peers", from(false).to_string());
        field("bytes_duplicate", p.duplicates.to_string());
        field("false_pieces", self.false_pieces.to_string());
        field("warnings", self.warnings.to_string());
        field("cpu_user_seconds", format!("{:.6}", self.cpu_user));
        field("cpu_system_seconds", format!("{:.6}", self.cpu_system));
        field("memory_peak_bytes", self.peak.to_string());
        field("memory_anonymous_peak_bytes", self.anonymous_peak.to_string());
        out.push_str("  \"peers\": [");
        for (n, peer) in self.peers.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(out, "{comma}\n    {}", peer_json(peer));
        }
        out.push_str(if self.peers.is_empty() { "]\n}\n" } else { "\n  ]\n}\n" });
        out
    }
}

fn peer_json(peer: &PeerStat) -> String {
    format!(
        "{{\"address\": \"{}\", \"peer_id\": {}, \"named\": {}, \"bytes_in\": {}, \"bytes_out\": {}, \"bytes_duplicate\": {}}}",
        peer.addr,
        peer.peer_id.map_or("null".into(), printable),
        peer.is_master,
        peer.bytes_in,
        peer.bytes_out,
        peer.duplicates
    )
}

/// A peer id is any 20 bytes: those that are no plain characters are shown as hex, as in URLs.
fn printable(id: PeerId) -> String {
    let mut text = String::new();
    for byte in id.0 {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
                text.push(char::from(byte))
            }
            _ => {
                let _ = write!(text, "%{byte:02x}");
            }
        }
    }
    quoted(&text)
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_the_network_stay_strings() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
        assert_eq!(printable(PeerId(*b"-BT0100-\x00\"xyzxyzxyz1")), "\"-BT0100-%00%22xyzxyzxyz1\"");
    }

    #[test]
    fn memory_is_read_from_the_kernel() {
        assert!(status_bytes("VmHWM:") >= status_bytes("RssAnon:"));
        assert!(status_bytes("RssAnon:") > 0 && status_bytes("NoSuchKey:") == 0);
    }
}
