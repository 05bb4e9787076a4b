//! What every daemon of the master does alike: its command line, log, signals, sockets, readiness, watchdog and
//! state file. It decides nothing about a protocol, and it is the only place in this package that reads a clock.

mod options;
mod sockets;
mod journal;
mod config;
mod warnings;

pub use config::{ConfigError, read};
pub use options::{Options, Program};
pub use warnings::Warnings;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boottorrent_swarm::Time;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use sd_notify::NotifyState;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The watchdog is fed three times within its limit, so that one late wake-up costs nothing.
const FEEDS_PER_WATCHDOG: u32 = 3;

/// Why a daemon cannot start or go on. Each is one sentence for people: what, where, and what to do.
#[derive(Debug)]
pub enum ServiceError {
    /// Signals, the clock or poll(2) failed: nothing that a maintainer could have set wrong.
    System { what: &'static str, source: io::Error },
    /// A socket could not be opened at `address`.
    Listen { address: SocketAddr, kind: &'static str, source: io::Error },
    /// `--listen` names an IPv6 address.
    Ipv4Only { address: SocketAddr },
    /// The service manager handed over something that is not the socket we need.
    Inherited { name: String, what: String },
    /// `--interface` names one that cannot be bound to.
    Interface { name: String, source: io::Error },
    /// The state file could not be replaced.
    State { path: PathBuf, source: io::Error },
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { what, source } => write!(f, "{what}: {source}"),
            Self::Listen { address, kind, source } if source.kind() == io::ErrorKind::AddrInUse => write!(
                f,
                "{kind} port {} is in use at {}: find its owner with `ss -lnp 'sport = {}'` and stop it, or give \
                 another --listen",
                address.port(),
                address.ip(),
                address.port()
            ),
            Self::Listen { address, kind, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "cannot listen on {kind} {address}: {source}; start it by systemd (boottorrent.target), as root, or \
                 give --listen a port above 1023"
                )
            }
            Self::Listen { address, kind, source } => write!(
                f,
                "cannot listen on {kind} {address}: {source}; give --listen an address of this machine"
            ),
            Self::Ipv4Only { address } => {
                write!(
                    f,
                    "--listen {address}: only IPv4 is served; give an address such as 10.0.0.1:{}",
                    address.port()
                )
            }
            Self::Inherited { name, what } => write!(
                f,
                "the socket \"{name}\" from the service manager {what}; run boottorrent-gen again, it writes the \
                 socket units"
            ),
            Self::Interface { name, source } => {
                write!(f, "cannot bind to interface {name}: {source}; `ip link` lists the interfaces")
            }
            Self::State { path, source } => write!(f, "cannot write {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ServiceError {}

/// What ended a wait. Descriptors that are ready are told by their own `revents`.
#[derive(Debug, Clone, Copy)]
pub struct Wake {
    /// SIGHUP: read the configuration again.
    pub reload: bool,
    /// SIGTERM or SIGINT: end.
    pub stop: bool,
    pub now: Time,
}

/// A running daemon's ties to the system. Single-threaded; every method takes `&self`, so that poll sets may borrow
/// descriptors beside it.
#[derive(Debug)]
pub struct Service {
    options: Options,
    signals: SignalFd,
    inherited: RefCell<Vec<sockets::Inherited>>,
    watchdog: Option<Duration>,
    feed_at: Cell<Time>,
}

impl Service {
    /// Blocks the signals (so call it before any thread is made), starts the log and takes the inherited sockets.
    pub fn start(program: &Program, options: Options) -> Result<Self, ServiceError> {
        journal::start(program.name);
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            mask.add(signal);
        }
        mask.thread_block().map_err(|e| system("cannot block signals", e))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|e| system("cannot make a signalfd", e))?;
        let inherited = RefCell::new(sockets::inherited()?);
        let watchdog = sd_notify::watchdog_enabled();
        Ok(Self { options, signals, inherited, watchdog, feed_at: Cell::new(now()) })
    }

    /// The store that gen wrote.
    pub fn store(&self) -> &Path {
        &self.options.store
    }

    /// Where this service keeps what must survive a restart, if it was given such a folder.
    pub fn state_dir(&self) -> Option<&Path> {
        self.options.state.as_deref()
    }

    /// Where the service's own file `<name>.json` goes, if it was given such a folder.
    pub fn run_dir(&self) -> Option<&Path> {
        self.options.run.as_deref()
    }

    /// The interface of `--interface`; sockets opened here are bound to it already.
    pub fn interface(&self) -> Option<&str> {
        self.options.interface.as_deref()
    }

    /// Microseconds of the boot-time clock: it goes on while the machine sleeps, so that leases do, too.
    pub fn now(&self) -> Time {
        now()
    }

    /// Seconds since 1970, for what is written to disk or shown to people; never for timeouts.
    pub fn unix_time(&self) -> u64 {
        unix_time()
    }

    /// Whether the service manager gave sockets of this name that nobody has taken yet.
    pub fn inherits(&self, name: &str) -> bool {
        self.inherited.borrow().iter().any(|socket| socket.is_named(name))
    }

    /// UDP sockets named `name` from the service manager, else those of `--listen`, else one on `default_port` of
    /// every IPv4 address. Non-blocking.
    pub fn datagram(&self, name: &str, default_port: u16) -> Result<Vec<UdpSocket>, ServiceError> {
        let inherited = sockets::take_datagram(&mut self.inherited.borrow_mut(), name)?;
        if !inherited.is_empty() {
            return Ok(inherited);
        }
        let interface = self.interface();
        self.addresses(default_port)?.into_iter().map(|at| sockets::open_datagram(at, interface)).collect()
    }

    /// The same for TCP listeners.
    pub fn listener(&self, name: &str, default_port: u16) -> Result<Vec<TcpListener>, ServiceError> {
        let inherited = sockets::take_listener(&mut self.inherited.borrow_mut(), name)?;
        if !inherited.is_empty() {
            return Ok(inherited);
        }
        let interface = self.interface();
        self.addresses(default_port)?.into_iter().map(|at| sockets::open_listener(at, interface)).collect()
    }

    /// No daemon answers over IPv6: a socket there would look alive and serve nobody.
    fn addresses(&self, default_port: u16) -> Result<Vec<SocketAddr>, ServiceError> {
        match self.options.listen.iter().find(|address| address.is_ipv6()) {
            Some(address) => Err(ServiceError::Ipv4Only { address: *address }),
            None if self.options.listen.is_empty() => {
                Ok(vec![SocketAddr::from(([0, 0, 0, 0], default_port))])
            }
            None => Ok(self.options.listen.clone()),
        }
    }

    /// Tells the service manager that requests are answered from now on.
    pub fn ready(&self, status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, status: &str) {
        notify(&[NotifyState::Status(status)]);
    }

    /// On SIGHUP: the configuration `name` as it is now, or none where it cannot be read: then the old one stays, and
    /// people are told. The service manager waits for `ready`.
    pub fn read_again<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.reloading();
        read(self.store(), name).map_err(|e| log::error!("the old configuration stays: {e}")).ok()
    }

    fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(at) => notify(&[NotifyState::Reloading, at]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
    }

    /// Waits until a descriptor is ready, a signal comes or `deadline` has passed; feeds the watchdog meanwhile.
    pub fn wait<'a>(&'a self, fds: &mut [PollFd<'a>], deadline: Option<Time>) -> Result<Wake, ServiceError> {
        let mut polled = fds.to_vec();
        polled.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        loop {
            let at = self.now();
            let fed_until = self.feed(at);
            let until = [deadline, fed_until].into_iter().flatten().min();
            let timeout =
                until.map(|t| TimeSpec::from_duration(Duration::from_micros(t.0.saturating_sub(at.0))));
            let ready = match ppoll(&mut polled, timeout, None) {
                Ok(n) => n > 0,
                Err(Errno::EINTR) => false,
                Err(e) => return Err(system("poll", e)),
            };
            let wake = self.signals();
            if ready || wake.stop || wake.reload || deadline.is_some_and(|d| d <= wake.now) {
                // `polled` is one longer, by our own entry, which the zip leaves out.
                fds.iter_mut().zip(polled).for_each(|(fd, polled)| *fd = polled);
                return Ok(wake);
            }
        }
    }

    /// For loops with an epoll of their own: readable when `signals` has something to tell.
    pub fn signal_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Takes the signals that have come so far.
    pub fn signals(&self) -> Wake {
        let mut wake = Wake { reload: false, stop: false, now: self.now() };
        while let Ok(Some(info)) = self.signals.read_signal() {
            match i32::try_from(info.ssi_signo).ok().and_then(|n| Signal::try_from(n).ok()) {
                Some(Signal::SIGHUP) => wake.reload = true,
                _ => wake.stop = true,
            }
        }
        wake
    }

    /// Feeds the watchdog if that is due and returns the time of the next feeding, or `None` without a watchdog.
    pub fn feed(&self, now: Time) -> Option<Time> {
        let period = self.watchdog? / FEEDS_PER_WATCHDOG;
        if self.feed_at.get() <= now {
            notify(&[NotifyState::Watchdog]);
            self.feed_at.set(now + period);
        }
        Some(self.feed_at.get())
    }

    /// When the watchdog wants to be fed next.
    pub fn watchdog_due(&self) -> Option<Time> {
        self.watchdog.map(|_| self.feed_at.get())
    }

    /// Replaces `<run>/<name>.json` atomically; does nothing without a run folder. Callers limit the rate.
    pub fn write_state(&self, name: &str, state: &impl Serialize) -> Result<(), ServiceError> {
        let Some(run) = self.run_dir() else { return Ok(()) };
        let path = run.join(format!("{name}.json"));
        let temporary = run.join(format!(".{name}.json.new"));
        let write = || {
            let mut bytes = serde_json::to_vec_pretty(state)?;
            bytes.push(b'\n');
            std::fs::write(&temporary, bytes)?;
            std::fs::rename(&temporary, &path)
        };
        write().map_err(|source| ServiceError::State { path: path.clone(), source })
    }
}

/// The whole of a daemon's `main` after its command line: start, run, and one sentence if it fails.
pub fn run<E: fmt::Display>(
    program: &Program,
    options: Options,
    body: impl FnOnce(&Service) -> Result<(), E>,
) -> ExitCode {
    let failure = match Service::start(program, options) {
        Ok(service) => match body(&service) {
            Ok(()) => {
                notify(&[NotifyState::Stopping]);
                return ExitCode::SUCCESS;
            }
            Err(e) => e.to_string(),
        },
        Err(e) => e.to_string(),
    };
    log::error!("{failure}");
    notify(&[NotifyState::Status(&failure)]);
    ExitCode::FAILURE
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        log::debug!("the service manager cannot be told: {e}");
    }
}

fn now() -> Time {
    // CLOCK_BOOTTIME exists on every Linux since 2.6.39, and a valid clock id is the call's only condition.
    let at = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    Time(u64::try_from(at.as_micros()).unwrap_or(u64::MAX))
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn system(what: &'static str, errno: Errno) -> ServiceError {
    ServiceError::System { what, source: errno.into() }
}

#[cfg(test)]
mod tests;
