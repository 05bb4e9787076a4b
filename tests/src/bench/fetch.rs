//! The engine without firmware: programs in namespaces on shaped links, one node at full speed and a room at 100 Mbit/s.
//! Clocks and bytes are the programs' statistics and the kernel's counters; every copy is compared afterwards.

use super::Figure;
use crate::clock::{now, wait_for};
use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Host;
use crate::process::{Launch, Process, read_text, run};
use crate::programs;
use crate::ram::Ram;
use crate::torrent::{self, Torrent};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const READY: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(300);
const SEED: &str = "10.0.0.1:6881";
const TRACKER: &str = "10.0.0.1:6969";
/// What 1448-byte segments leave of an Ethernet link.
const GOODPUT: f64 = 1448.0 / 1514.0;

/// One GiB to one node over an unlimited link.
///
/// # Errors
/// When a program fails or a copy is false.
pub fn one() -> Result<Vec<Figure>, LabError> {
    let lab = Lab::new()?;
    let ram = Ram::new(&lab)?;
    let torrent = torrent::make(&ram.folder, "gigabyte", 1024, 1 << 20)?;
    let master = lab.network.host("m", "10.0.0.1/24")?;
    let _seed = start_seed(&lab, &master, &torrent)?;
    let node = lab.network.host("n1", "10.0.0.11/24")?;
    let mut fetch = Fetch::start(&lab, &node, 1, &torrent, &ram.folder, &["--peer", SEED, "--linger", "0"])?;
    let stats = fetch.finish(&torrent)?;
    let rate = stats.bytes / 1e6 / stats.seconds;
    Ok(vec![
        Figure::new("one node, unlimited link, verified", format!("{rate:.0} MB/s"), "at least 400 MB/s"),
        Figure::new("  CPU of the node", format!("{:.2} s per GB", stats.cpu / (stats.bytes / 1e9)), ""),
        Figure::new("  memory beyond the image", format!("{:.1} MB", stats.anonymous / 1e6), "at most 24 MB"),
    ])
}

/// So many nodes at so many Mbit/s, all started at once.
///
/// # Errors
/// As `one`.
pub fn room(nodes: u8, mbit: u32) -> Result<Vec<Figure>, LabError> {
    let lab = Lab::new()?;
    let ram = Ram::new(&lab)?;
    let torrent = torrent::make(&ram.folder, "image", 256, 256 << 10)?;
    let master = lab.network.host("m", "10.0.0.1/24")?;
    master.limit(mbit)?;
    let _tracker = start_tracker(&lab, &master, &torrent)?;
    let _seed = start_seed(&lab, &master, &torrent)?;
    let hosts = (1..=nodes)
        .map(|n| lab.network.host(&format!("n{n}"), &format!("10.0.0.{}/24", 10 + u32::from(n))))
        .collect::<Result<Vec<Host>, _>>()?;
    hosts.iter().try_for_each(|host| host.limit(mbit))?;
    let before = sent(&master)?;
    let start = now();
    let mut fetches = Vec::new();
    for (number, host) in (1..).zip(&hosts) {
        let options = ["--tracker", TRACKER, "--peer", SEED, "--listen", "0.0.0.0:6881", "--linger", "auto"];
        let offset = start.elapsed().as_secs_f64();
        fetches.push((offset, Fetch::start(&lab, host, number, &torrent, &ram.folder, &options)?));
    }
    let mut makespan = 0.0_f64;
    let mut anonymous = 0.0_f64;
    let mut duplicates = 0.0_f64;
    for (offset, fetch) in &mut fetches {
        let stats = fetch.finish(&torrent)?;
        makespan = makespan.max(*offset + stats.seconds);
        anonymous = anonymous.max(stats.anonymous);
        duplicates += stats.duplicates;
    }
    let copies = (sent(&master)? - before) / count(torrent.bytes);
    let line = count(torrent.bytes) * 8.0 / (f64::from(mbit) * 1e6);
    let (times, times_goodput) = (makespan / line, makespan / line * GOODPUT);
    let what = format!("{nodes} nodes at {mbit} Mbit/s");
    Ok(vec![
        Figure::new(
            format!("{what}, last node over one copy at line rate"),
            format!("{times:.2} ({makespan:.1} s; {times_goodput:.2} of TCP's goodput)"),
            "below 1.5",
        ),
        Figure::new(format!("{what}, master's upload"), format!("{copies:.2} copies"), "below 1.5"),
        Figure::new(
            "  largest memory beyond the image",
            format!("{:.1} MB", anonymous / 1e6),
            "at most 24 MB",
        ),
        Figure::new("  received twice by all nodes", format!("{:.1} MB", duplicates / 1e6), ""),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
fn count(bytes: u64) -> f64 {
    bytes as f64
}

/// Bytes that left a host's link, headers included.
fn sent(host: &Host) -> Result<f64, LabError> {
    let text = host.run(&["cat", "/sys/class/net/eth0/statistics/tx_bytes"])?;
    Ok(text.trim().parse().unwrap_or(0.0))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn start_seed(lab: &Lab, host: &Host, torrent: &Torrent) -> Result<Process, LabError> {
    let program = text(&programs::path("boottorrent-seed"));
    let argv =
        [&program, "--torrent", &text(&torrent.file), "--data", &text(&torrent.data), "--listen", SEED];
    let seed = Launch::new(&argv, lab.path("seed.log")).netns(&host.netns).start()?;
    listening(host, "-lt", 6881, &seed)?;
    Ok(seed)
}

fn start_tracker(lab: &Lab, host: &Host, torrent: &Torrent) -> Result<Process, LabError> {
    let store = lab.path("store");
    let current = store.join("current");
    std::fs::create_dir_all(&current).map_err(LabError::io("make", &current))?;
    let config = current.join("tracker.toml");
    let toml = format!(
        "interval-seconds = 10\nseeds = [\"{SEED}\"]\n[[torrents]]\ninfo-hash = \"{}\"\nname = \"bench\"\n",
        torrent.info_hash
    );
    std::fs::write(&config, toml).map_err(LabError::io("write", config))?;
    let program = text(&programs::path("boottorrent-tracker"));
    let argv = [&program, "--store", &text(&store), "--listen", TRACKER];
    let tracker = Launch::new(&argv, lab.path("tracker.log")).netns(&host.netns).start()?;
    listening(host, "-lu", 6969, &tracker)?;
    Ok(tracker)
}

fn listening(host: &Host, kind: &str, port: u16, process: &Process) -> Result<(), LabError> {
    wait_for(&format!("port {port}"), READY, || {
        let sockets = host.run(&["ss", "-Hn", kind]).unwrap_or_default();
        if sockets.contains(&format!(":{port} ")) { Ok(()) } else { Err(process.log()) }
    })
}

/// One node's download.
struct Fetch {
    process: Process,
    copy: PathBuf,
    stats: PathBuf,
}

/// What a download's statistics say.
struct Cost {
    seconds: f64,
    bytes: f64,
    cpu: f64,
    anonymous: f64,
    duplicates: f64,
}

impl Fetch {
    fn start(
        lab: &Lab,
        host: &Host,
        number: u8,
        torrent: &Torrent,
        ram: &Path,
        options: &[&str],
    ) -> Result<Self, LabError> {
        let to = ram.join(format!("n{number}"));
        let stats = lab.path(&format!("n{number}.json"));
        let (program, file) = (text(&programs::agent()), text(&torrent.file));
        let (folder, json) = (text(&to), text(&stats));
        let mut argv = vec![&*program, "fetch", &file, "--to", &folder, "--stats", &json];
        argv.extend_from_slice(options);
        let log = lab.path(&format!("n{number}.log"));
        let process = Launch::new(&argv, log).netns(&host.netns).start()?;
        let copy = to.join(torrent.data.file_name().unwrap_or_default());
        Ok(Self { process, copy, stats })
    }

    /// Waits for its end and compares the copy.
    fn finish(&mut self, torrent: &Torrent) -> Result<Cost, LabError> {
        let status = self.process.wait(PATIENCE)?;
        if !status.success() {
            return Err(LabError::Ended { what: "boottorrent-agent fetch".into(), seen: self.process.log() });
        }
        run(&["cmp", &text(&torrent.data), &text(&self.copy)])?;
        let stats: Value = serde_json::from_str(&read_text(&self.stats)).unwrap_or_default();
        let number = |key: &str| stats.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        Ok(Cost {
            seconds: number("seconds"),
            bytes: number("bytes"),
            cpu: number("cpu_user_seconds") + number("cpu_system_seconds"),
            anonymous: number("memory_anonymous_peak_bytes"),
            duplicates: number("bytes_duplicate"),
        })
    }
}
