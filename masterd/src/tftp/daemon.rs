//! The TFTP server's loop: one thread, one epoll set, a socket per transfer.
//! Moves packets and time into `server`; decides nothing about them.

use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use boottorrent_swarm::Time;
use nix::poll::{PollFd, PollFlags};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::limits::{REQUEST_BYTES, REQUESTS_PER_TURN};
use super::server::Server;
use super::sockets;
use crate::service::{self, ConfigError, Service, ServiceError};

const NAME: &str = "tftp";
const PORT: u16 = 69;
/// Tokens from here on are sockets of port 69; below, slots of sessions.
const REQUESTS: u64 = 1 << 32;
/// Ready sockets taken at once.
const EVENTS: usize = 256;
/// Rounds before signals and the watchdog are looked at again, however busy it is.
const ROUNDS: usize = 64;
/// The state file is written at most this often.
const STATE_PAUSE: Duration = Duration::from_secs(1);

/// Why the server ends.
#[derive(Debug)]
pub enum Error {
    Service(ServiceError),
    Config(ConfigError),
    System { what: &'static str, source: io::Error },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(e) => e.fmt(f),
            Self::Config(e) => e.fmt(f),
            Self::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ServiceError> for Error {
    fn from(e: ServiceError) -> Self {
        Self::Service(e)
    }
}

fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |e| Error::System { what, source: e.into() }
}

/// Serves until it is told to stop.
///
/// # Errors
/// No configuration, no socket, or a system call that cannot fail has failed.
pub fn run(service: &Service) -> Result<(), Error> {
    let config = service::read(service.store(), NAME).map_err(Error::Config)?;
    let sockets = service.datagram(NAME, PORT)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system("epoll_create"))?;
    for (token, socket) in (REQUESTS..).zip(&sockets) {
        sockets::prepare(socket).map_err(system("cannot learn where packets were sent to"))?;
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token)).map_err(system("epoll_ctl"))?;
    }
    let root = service.store().join("current/tftp");
    let mut server = Server::new(root, config);
    log::info!("serves {}", server.root().display());
    service.ready("waiting for the first request");
    let mut reporter = Reporter::default();
    loop {
        let due = [server.due(), server.warnings.due(), reporter.due(&server)].into_iter().flatten().min();
        let wake = service.wait(&mut [PollFd::new(epoll.0.as_fd(), PollFlags::POLLIN)], due)?;
        if wake.stop {
            return Ok(());
        }
        if wake.reload {
            reload(service, &mut server);
        }
        server.unix_time = service.unix_time();
        for _ in 0..ROUNDS {
            if !round(service.now(), &epoll, &sockets, &mut server)? {
                break;
            }
        }
        let now = service.now();
        server.sweep(now);
        server.warnings.flush(now);
        reporter.report(now, service, &mut server);
    }
}

/// Handles what is ready now; false if nothing was.
fn round(now: Time, epoll: &Epoll, sockets: &[UdpSocket], server: &mut Server) -> Result<bool, Error> {
    let mut events = [EpollEvent::empty(); EVENTS];
    let ready = match epoll.wait(&mut events, EpollTimeout::ZERO) {
        Ok(ready) => ready,
        Err(nix::errno::Errno::EINTR) => 0,
        Err(e) => return Err(system("epoll_wait")(e)),
    };
    for event in events.iter().take(ready) {
        let token = event.data();
        match token.checked_sub(REQUESTS).and_then(|n| usize::try_from(n).ok()).and_then(|n| sockets.get(n)) {
            Some(socket) => requests(now, epoll, socket, server)?,
            None => server.readable(now, usize::try_from(token).unwrap_or(usize::MAX)),
        }
    }
    Ok(ready > 0)
}

fn requests(now: Time, epoll: &Epoll, socket: &UdpSocket, server: &mut Server) -> Result<(), Error> {
    let mut buffer = [0; REQUEST_BYTES + 1];
    for _ in 0..REQUESTS_PER_TURN {
        let arrival = match sockets::receive(socket, &mut buffer) {
            Ok(Some(arrival)) => arrival,
            Ok(None) => break,
            Err(e) => {
                server.warnings.warn(now, "cannot receive", e);
                break;
            }
        };
        let packet = buffer.get(..arrival.length).unwrap_or_default();
        if let Some(slot) = server.request(now, &arrival, packet, socket)
            && let Some(transfer) = server.socket(slot)
        {
            // A closed socket leaves the set by itself.
            let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
            epoll.add(transfer, event).map_err(system("epoll_ctl"))?;
        }
    }
    Ok(())
}

fn reload(service: &Service, server: &mut Server) {
    if let Some(config) = service.read_again(NAME) {
        server.config = config;
        log::info!("configuration read again");
    }
    service.ready(&server.state.line());
}

/// Tells the state when it has changed, at most once a second.
#[derive(Debug, Default)]
struct Reporter {
    told: Option<(u64, usize, u64)>,
    next: Time,
}

impl Reporter {
    fn fingerprint(server: &Server) -> (u64, usize, u64) {
        let warnings = server.warnings.totals().values().sum();
        (server.state.requests + server.state.completed + server.state.failed, server.active(), warnings)
    }

    fn due(&self, server: &Server) -> Option<Time> {
        (self.told != Some(Self::fingerprint(server))).then_some(self.next)
    }

    fn report(&mut self, now: Time, service: &Service, server: &mut Server) {
        if self.due(server).is_none_or(|at| at > now) {
            return;
        }
        self.told = Some(Self::fingerprint(server));
        self.next = now + STATE_PAUSE;
        server.state.active = server.active();
        server.state.warnings = server.warnings.totals();
        if server.state.requests > 0 {
            service.status(&server.state.line());
        }
        if let Err(e) = service.write_state(NAME, &server.state) {
            server.warnings.warn(now, "state file", e);
        }
    }
}
