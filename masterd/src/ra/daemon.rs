//! The router advertiser's loop: packets and time into `answer`, answers out; the socket is opened again whenever its
//! interface has gone or come back. Decides nothing about packets.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use boottorrent_swarm::Time;
use nix::poll::{PollFd, PollFlags};
use serde::Serialize;

use super::answer::{Answer, Answerer, Counters, Oddity};
use super::config::RaConfig;
use super::packet::no_router;
use super::socket::{Obstacle, RaSocket};
use crate::service::{self, ConfigError, Service, ServiceError, Warnings};

const NAME: &str = "ra";
/// The interface is looked at this often: a cable that is plugged in is noticed before firmware asks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Status and state file change at most this often.
const REPORT_PAUSE: Duration = Duration::from_secs(1);
/// Packets before signals and the watchdog are looked at again.
const PACKETS_PER_TURN: usize = 256;
/// A solicitation has 16 bytes, a router's advertisement rarely more than 200.
const PACKET_BYTES: usize = 1500;

/// Why the advertiser ends.
#[derive(Debug)]
pub enum Error {
    Service(ServiceError),
    Config(ConfigError),
    NotPermitted(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(e) => e.fmt(f),
            Self::Config(e) => e.fmt(f),
            Self::NotPermitted(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Error {}

impl From<ServiceError> for Error {
    fn from(e: ServiceError) -> Self {
        Self::Service(e)
    }
}

/// `ra.json`.
#[derive(Debug, Serialize)]
struct State<'a> {
    interface: &'a str,
    /// What is in the way of answering, if anything is.
    waiting: Option<&'a str>,
    /// The router that answers instead of us.
    router: Option<String>,
    #[serde(flatten)]
    counters: Counters,
    warnings: BTreeMap<&'static str, u64>,
}

#[derive(Debug)]
struct Advertiser {
    interface: String,
    socket: Option<RaSocket>,
    /// Why there is no socket, as it was told to people.
    waiting: Option<String>,
    look_at: Time,
    answerer: Answerer,
    warnings: Warnings,
    /// What was told last, and when the next may be.
    told: String,
    tell_at: Time,
}

/// Answers until it is told to stop. `--interface` goes before `ra.toml`.
///
/// # Errors
/// No configuration, or no permission for raw sockets.
pub fn run(service: &Service) -> Result<(), Error> {
    let mut advertiser = Advertiser::new(interface(service)?);
    advertiser.look(service.now())?;
    service.ready(&advertiser.line(service.now()));
    loop {
        let due = [
            Some(advertiser.look_at),
            advertiser.answerer.due(),
            advertiser.warnings.due(),
            advertiser.report_due(service.now()),
        ];
        let mut fds: Vec<_> =
            advertiser.socket.iter().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN)).collect();
        let wake = service.wait(&mut fds, due.into_iter().flatten().min())?;
        if wake.stop {
            return Ok(());
        }
        if wake.reload {
            reload(service, &mut advertiser);
        }
        advertiser.receive(wake.now);
        if advertiser.look_at <= wake.now {
            advertiser.look(wake.now)?;
        }
        advertiser.warnings.flush(wake.now);
        advertiser.report(wake.now, service);
    }
}

fn interface(service: &Service) -> Result<String, Error> {
    if let Some(interface) = service.interface() {
        return Ok(interface.to_owned());
    }
    let config: RaConfig = service::read(service.store(), NAME).map_err(Error::Config)?;
    Ok(config.interface)
}

fn reload(service: &Service, advertiser: &mut Advertiser) {
    // What the command line says goes before the file.
    let own = service.interface().map(str::to_owned);
    match own.or_else(|| service.read_again(NAME).map(|config: RaConfig| config.interface)) {
        Some(interface) if interface == advertiser.interface => log::info!("configuration read again"),
        Some(interface) => {
            log::info!("configuration read again: from {} to {interface}", advertiser.interface);
            *advertiser = Advertiser::new(interface);
        }
        None => {}
    }
    service.ready(&advertiser.line(service.now()));
}

impl Advertiser {
    fn new(interface: String) -> Self {
        Self {
            interface,
            socket: None,
            waiting: None,
            look_at: Time(0),
            answerer: Answerer::default(),
            warnings: Warnings::default(),
            told: String::new(),
            tell_at: Time(0),
        }
    }

    /// Opens the socket, or finds out that it is of no use any more.
    fn look(&mut self, now: Time) -> Result<(), Error> {
        self.look_at = now + LOOK_AGAIN;
        if self.socket.as_ref().is_some_and(|s| s.check().is_ok()) {
            return Ok(());
        }
        self.socket = None;
        match RaSocket::open(&self.interface) {
            Ok(socket) => {
                self.socket = Some(socket);
                self.waiting = None;
                log::info!("answering router solicitations on {}", self.interface);
            }
            Err(e @ Obstacle::NotPermitted) => {
                return Err(Error::NotPermitted(format!("cannot answer on {}: {e}", self.interface)));
            }
            Err(e) => {
                let reason = e.to_string();
                if self.waiting.as_ref() != Some(&reason) {
                    let seconds = LOOK_AGAIN.as_secs();
                    log::warn!("waiting for {}: {reason}; looking again every {seconds} s", self.interface);
                }
                self.waiting = Some(reason);
            }
        }
        Ok(())
    }

    fn receive(&mut self, now: Time) {
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; PACKET_BYTES];
        for _ in 0..PACKETS_PER_TURN {
            let arrival = match socket.receive(&mut buffer) {
                Ok(Some(arrival)) => arrival,
                Ok(None) => break,
                Err(_) => {
                    // The interface has gone; it is looked for at once.
                    self.look_at = now;
                    break;
                }
            };
            let packet = buffer.get(..arrival.length).unwrap_or_default();
            match self.answerer.packet(now, arrival.from, arrival.hop_limit, packet) {
                Ok(Some(answer)) => send(now, socket, answer, &mut self.warnings),
                Ok(None) => {}
                Err(Oddity::Invalid(why)) => {
                    let detail = format!("{why}, from {}", arrival.from);
                    self.warnings.warn(now, "invalid packet", detail);
                }
                Err(Oddity::TooMany) => self.warnings.warn(now, "too many solicitations", arrival.from),
            }
        }
        if let Some(answer) = self.answerer.expired(now) {
            send(now, socket, answer, &mut self.warnings);
        }
    }

    fn line(&self, now: Time) -> String {
        let interface = &self.interface;
        let Counters { solicitations, left_to_router, .. } = self.answerer.counters;
        match (&self.waiting, self.answerer.router(now)) {
            (Some(reason), _) => format!("waiting for {interface}: {reason}"),
            (None, Some(router)) => {
                format!("{router} is a router on {interface}: {left_to_router} solicitations left to it")
            }
            (None, None) => format!("{solicitations} solicitations on {interface}"),
        }
    }

    fn report_due(&self, now: Time) -> Option<Time> {
        (self.line(now) != self.told).then_some(self.tell_at)
    }

    /// Status line and state file, when they have changed, at most once a second.
    fn report(&mut self, now: Time, service: &Service) {
        if self.report_due(now).is_none_or(|at| at > now) {
            return;
        }
        self.tell_at = now + REPORT_PAUSE;
        self.told = self.line(now);
        service.status(&self.told);
        let state = State {
            interface: &self.interface,
            waiting: self.waiting.as_deref(),
            router: self.answerer.router(now).map(|r| r.to_string()),
            counters: self.answerer.counters,
            warnings: self.warnings.totals(),
        };
        if let Err(e) = service.write_state(NAME, &state) {
            self.warnings.warn(now, "state file", e);
        }
    }
}

fn send(now: Time, socket: &RaSocket, answer: Answer, warnings: &mut Warnings) {
    let to = match answer {
        Answer::Unicast(to) => Some(to),
        Answer::Multicast => None,
    };
    match socket.send(to, &no_router()) {
        Ok(()) => log::debug!("answered {answer:?}"),
        Err(e) => warnings.warn(now, "cannot answer", format!("{answer:?}: {e}")),
    }
}
