//! The tracker's loop: datagrams, HTTP requests and time into `core`, answers out.
//! Decides nothing about them.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use boottorrent_swarm::Time;
use nix::poll::{PollFd, PollFlags};

use super::config::TrackerConfig;
use super::connection::Key;
use super::core::Tracker;
use super::http::Http;
use super::limits::REQUEST_BYTES;
use super::racks::Leases;
use super::state::State;
use crate::service::{self, ConfigError, Service, ServiceError, Warnings};

const NAME: &str = "tracker";
const PORT: u16 = 6969;
/// Datagrams of one socket before signals and the watchdog are looked at again.
const DATAGRAMS_PER_TURN: usize = 256;
/// Peers are expired and the state file is written at most this often.
const PAUSE: Duration = Duration::from_secs(1);

/// Why the tracker ends.
#[derive(Debug)]
pub enum Error {
    Service(ServiceError),
    Config(ConfigError),
    Random(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(e) => e.fmt(f),
            Self::Config(e) => e.fmt(f),
            Self::Random(e) => write!(f, "cannot read /dev/urandom: {e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ServiceError> for Error {
    fn from(e: ServiceError) -> Self {
        Self::Service(e)
    }
}

/// Serves until it is told to stop.
///
/// # Errors
/// No configuration, no socket, or no random numbers.
pub fn run(service: &Service) -> Result<(), Error> {
    let config = service::read(service.store(), NAME).map_err(Error::Config)?;
    let (sockets, mut http) = sockets(service)?;
    let seed = u64::from_be_bytes(random().map_err(Error::Random)?);
    let mut tracker = Tracker::new(key(service.run_dir())?, seed);
    let mut warnings = Warnings::default();
    configure(&mut tracker, config);
    let mut leases = Leases::new(service.run_dir());
    log::info!("serves {}", status(&tracker));
    service.ready(&status(&tracker));
    let mut reporter = Reporter::default();
    loop {
        let due = [warnings.due(), reporter.due(&tracker, &warnings), http.due()].into_iter().flatten().min();
        let datagrams = sockets.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<_> = datagrams.chain(http.fds()).collect();
        let wake = service.wait(&mut fds, due)?;
        if wake.stop {
            return Ok(());
        }
        if wake.reload {
            reload(service, &mut tracker);
            leases.forget();
        }
        // Before anybody is told of peers: a node announces itself seconds after it got its lease.
        if let Err(e) = leases.refresh(wake.now, &mut tracker.racks) {
            warnings.warn(wake.now, "racks not known, the DHCP server's state file cannot be read", e);
        }
        for socket in &sockets {
            serve(wake.now, socket, &mut tracker, &mut warnings);
        }
        http.turn(wake.now, &mut tracker, &mut warnings);
        warnings.flush(wake.now);
        reporter.report(wake.now, service, &mut tracker, &mut warnings);
    }
}

/// UDP and TCP. An inherited set without a listener is that of a socket unit from before there was one.
fn sockets(service: &Service) -> Result<(Vec<UdpSocket>, Http), Error> {
    let inherits = service.inherits(NAME);
    let datagrams = service.datagram(NAME, PORT)?;
    if inherits && !service.inherits(NAME) {
        log::warn!(
            "announces over HTTP are not answered: restart boottorrent-tracker.socket, it lacks the TCP port"
        );
        return Ok((datagrams, Http::new(Vec::new())));
    }
    Ok((datagrams, Http::new(service.listener(NAME, PORT)?)))
}

/// Expires peers and tells the state once a second, as long as there is a peer or anything has changed.
#[derive(Debug, Default)]
struct Reporter {
    told: Option<u64>,
    next: Time,
}

impl Reporter {
    fn changes(tracker: &Tracker, warnings: &Warnings) -> u64 {
        let counters = tracker.counters;
        counters.connects + counters.announces + counters.scrapes + warnings.totals().values().sum::<u64>()
    }

    fn due(&self, tracker: &Tracker, warnings: &Warnings) -> Option<Time> {
        let quiet = tracker.torrents.peers() == 0 && self.told == Some(Self::changes(tracker, warnings));
        (!quiet).then_some(self.next)
    }

    fn report(&mut self, now: Time, service: &Service, tracker: &mut Tracker, warnings: &mut Warnings) {
        if self.due(tracker, warnings).is_none_or(|at| at > now) {
            return;
        }
        self.next = now + PAUSE;
        self.told = Some(Self::changes(tracker, warnings));
        tracker.expire(now);
        service.status(&status(tracker));
        let state = State::of(tracker, now, service.unix_time(), warnings.totals());
        if let Err(e) = service.write_state(NAME, &state) {
            warnings.warn(now, "state file", e);
        }
    }
}

fn serve(now: Time, socket: &UdpSocket, tracker: &mut Tracker, warnings: &mut Warnings) {
    let mut buffer = [0; REQUEST_BYTES];
    let mut out = Vec::with_capacity(REQUEST_BYTES);
    for _ in 0..DATAGRAMS_PER_TURN {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok((length, SocketAddr::V4(from))) => (length, from),
            Ok((_, SocketAddr::V6(from))) => {
                warnings.warn(now, "request over IPv6, which is not served", from);
                continue;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(e) => {
                warnings.warn(now, "cannot receive", e);
                return;
            }
        };
        out.clear();
        if let Err(odd) = tracker.handle(now, from, buffer.get(..length).unwrap_or_default(), &mut out) {
            warnings.warn(now, odd.kind(), odd.detail(from));
        }
        if !out.is_empty()
            && let Err(e) = socket.send_to(&out, from)
        {
            warnings.warn(now, "cannot answer", format!("{from}: {e}"));
        }
    }
}

fn configure(tracker: &mut Tracker, config: TrackerConfig) {
    for unreadable in tracker.configure(config) {
        log::error!(
            "tracker.toml: info-hash {unreadable:?} is none and passed over: run boottorrent-gen again"
        );
    }
}

fn reload(service: &Service, tracker: &mut Tracker) {
    if let Some(config) = service.read_again(NAME) {
        configure(tracker, config);
        log::info!("configuration read again: {}", status(tracker));
    }
    service.ready(&status(tracker));
}

fn status(tracker: &Tracker) -> String {
    format!("{} torrents, {} peers", tracker.torrents.iter().count(), tracker.torrents.peers())
}

/// The key of the connection ids. It outlives a restart of the service, so that no node has to connect again.
fn key(run: Option<&Path>) -> Result<Key, Error> {
    let path = run.map(|run| run.join("tracker.key"));
    if let Some(kept) = path.as_deref().and_then(|path| std::fs::read(path).ok())
        && let Ok(key) = kept.try_into()
    {
        return Ok(key);
    }
    let key = random::<32>().map_err(Error::Random)?;
    if let Some(path) = path
        && let Err(e) = keep(&path, &key)
    {
        log::warn!("{} cannot be written, a restart will make nodes connect again: {e}", path.display());
    }
    Ok(key)
}

fn keep(path: &Path, key: &Key) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(key)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
