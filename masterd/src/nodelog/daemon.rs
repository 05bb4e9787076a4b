//! The log service's loop: datagrams and time into `core`, the table into `log.json`.
//! Decides nothing about them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use boottorrent_swarm::Time;
use nix::poll::{PollFd, PollFlags};
use serde::{Deserialize, Serialize};

use super::config::LogConfig;
use super::core::{Counters, Log};
use super::journal::Journal;
use super::known::Known;
use super::limits::{MESSAGE_BYTES, STATE_PAUSE, STATE_SHARE};
use super::nodes::{Arrival, Nodes};
use crate::service::{self, ConfigError, Service, ServiceError, Warnings};

const NAME: &str = "log";
const PORT: u16 = 514;
/// Datagrams of one socket before signals and the watchdog are looked at again.
const DATAGRAMS_PER_TURN: usize = 256;

/// Why the service ends.
#[derive(Debug)]
pub enum Error {
    Service(ServiceError),
    Config(ConfigError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(e) => e.fmt(f),
            Self::Config(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<ServiceError> for Error {
    fn from(e: ServiceError) -> Self {
        Self::Service(e)
    }
}

/// `log.json` as it is written.
#[derive(Serialize)]
struct State<'a> {
    #[serde(flatten)]
    counters: Counters,
    nodes: &'a Nodes,
    warnings: BTreeMap<&'static str, u64>,
}

/// `log.json` as it is read back: what an older version did not write is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Kept {
    #[serde(flatten)]
    counters: Counters,
    nodes: Nodes,
}

/// Serves until it is told to stop.
///
/// # Errors
/// No configuration or no socket.
pub fn run(service: &Service) -> Result<(), Error> {
    let mut config: LogConfig = service::read(service.store(), NAME).map_err(Error::Config)?;
    let sockets = service.datagram(NAME, PORT)?;
    let mut log = restore(service, &config);
    let journal = Journal::open();
    let mut warnings = Warnings::default();
    log::info!("serves {}", status(&log));
    service.ready(&status(&log));
    let mut reporter = Reporter::default();
    loop {
        let due = [warnings.due(), reporter.due(&log, &warnings)].into_iter().flatten().min();
        let mut fds: Vec<_> = sockets.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        let wake = service.wait(&mut fds, due)?;
        if wake.reload {
            reload(service, &mut config, &mut log);
        }
        for socket in &sockets {
            serve(wake.now, service.unix_time(), socket, &config, &mut log, &journal, &mut warnings);
        }
        warnings.flush(wake.now);
        if wake.stop {
            reporter.write(wake.now, service, &log, &mut warnings);
            return Ok(());
        }
        if reporter.due(&log, &warnings).is_some_and(|at| at <= wake.now) {
            reporter.write(wake.now, service, &log, &mut warnings);
        }
    }
}

fn serve(
    now: Time,
    unix_time: u64,
    socket: &UdpSocket,
    config: &LogConfig,
    log: &mut Log,
    journal: &Journal,
    warnings: &mut Warnings,
) {
    let mut buffer = [0; MESSAGE_BYTES];
    for _ in 0..DATAGRAMS_PER_TURN {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Ok((_, SocketAddr::V6(from))) => {
                warnings.warn(now, "message over IPv6, which is not served", from);
                continue;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(e) => {
                warnings.warn(now, "cannot receive", e);
                return;
            }
        };
        let message = buffer.get(..length).unwrap_or_default();
        let arrival = Arrival { now, unix_time, from: *from.ip() };
        if let Err(odd) = log.datagram(arrival, message, config.max_nodes, journal) {
            warnings.warn(now, odd.kind(), from);
        }
    }
}

/// The table that this service wrote before it was restarted.
fn restore(service: &Service, config: &LogConfig) -> Log {
    let mut log = Log::default();
    log.known = Known::new(&config.nodes);
    let Some(path) = service.run_dir().map(|run| run.join("log.json")) else { return log };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return log,
        Err(e) => {
            log::warn!("{} cannot be read, the table begins empty: {e}", path.display());
            return log;
        }
    };
    match serde_json::from_slice::<Kept>(&text) {
        Ok(kept) => {
            (log.nodes, log.counters) = (kept.nodes, kept.counters);
            log.nodes.recognise(&log.known);
            log.nodes.make_room(config.max_nodes);
        }
        Err(e) => log::warn!("{} is not of this version's form, the table begins empty: {e}", path.display()),
    }
    log
}

fn reload(service: &Service, config: &mut LogConfig, log: &mut Log) {
    if let Some(fresh) = service.read_again(NAME) {
        *config = fresh;
        log.known = Known::new(&config.nodes);
        log.nodes.recognise(&log.known);
        log::info!("configuration read again");
    }
    service.ready(&status(log));
}

fn status(log: &Log) -> String {
    let s = |n: u64| if n == 1 { "" } else { "s" };
    let (nodes, records) = (log.nodes.len() as u64, log.counters.records);
    format!("{nodes} node{}, {records} record{}", s(nodes), s(records))
}

/// Writes the table when it has changed, a few times a second at most, and for a small part of the time at most.
#[derive(Debug, Default)]
struct Reporter {
    written: Option<(Counters, u64)>,
    next: Time,
}

impl Reporter {
    fn changes(log: &Log, warnings: &Warnings) -> (Counters, u64) {
        (log.counters, warnings.totals().values().sum())
    }

    fn due(&self, log: &Log, warnings: &Warnings) -> Option<Time> {
        (self.written != Some(Self::changes(log, warnings))).then_some(self.next)
    }

    fn write(&mut self, now: Time, service: &Service, log: &Log, warnings: &mut Warnings) {
        self.written = Some(Self::changes(log, warnings));
        service.status(&status(log));
        let state = State { counters: log.counters, nodes: &log.nodes, warnings: warnings.totals() };
        if let Err(e) = service.write_state(NAME, &state) {
            warnings.warn(now, "state file", e);
        }
        let end = service.now();
        self.next = end + STATE_PAUSE.max(end.since(now) * STATE_SHARE);
    }
}
