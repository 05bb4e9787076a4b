//! The seed's loop: the driver beside signals, watchdog and state file. Decides when to reload and when to write; who is
//! served is the core's to decide.

use super::config::SeedConfig;
use super::foreground::{Foreign, ForeignError};
use super::limits::{FAREWELL, MAX_PEERS, STATE_EVERY};
use super::roster::Roster;
use super::state::{State, mark};
use crate::service::{self, ConfigError, Service, ServiceError, Warnings};
use boottorrent_net::driver::{self, Driver, Event, MAX_LINKS, Torrent};
use boottorrent_swarm::Time;
use boottorrent_swarm::swarm::Have;
use nix::poll::{PollFd, PollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::Duration;

/// The port that BitTorrent has used since its beginning, for a foreign torrent without `--listen`.
const FOREIGN_PORT: u16 = 6881;

/// Why the seed can't start or go on.
#[derive(Debug)]
pub enum Error {
    Service(ServiceError),
    Config(ConfigError),
    Driver(driver::Error),
    Foreign(ForeignError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Service(e) => e.fmt(f),
            Error::Config(e) => e.fmt(f),
            Error::Driver(e) => e.fmt(f),
            Error::Foreign(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<ServiceError> for Error {
    fn from(e: ServiceError) -> Error {
        Error::Service(e)
    }
}

impl From<driver::Error> for Error {
    fn from(e: driver::Error) -> Error {
        Error::Driver(e)
    }
}

/// Serves until a signal ends it.
///
/// # Errors
/// Before the loop: what is wrong with the store, the torrent or the socket. In it: only what the machine lacks.
pub fn run(service: &Service, foreign: &Foreign) -> Result<(), Error> {
    raise_descriptor_limit();
    let mut seed = if foreign.is_wanted().map_err(Error::Foreign)? {
        Seed::of_torrent(service, foreign)?
    } else {
        Seed::of_store(service)?
    };
    service.ready(&seed.roster.status(0));
    loop {
        let wake = seed.wait(service)?;
        if wake.stop {
            seed.driver.stop(FAREWELL)?;
            return Ok(());
        }
        if wake.reload && !foreign.is_wanted().map_err(Error::Foreign)? {
            seed.reload(service);
        }
        seed.driver.turn(Some(Duration::ZERO))?;
        seed.events(wake.now);
        seed.report(service, wake.now);
    }
}

struct Seed {
    driver: Driver,
    roster: Roster,
    warnings: Warnings,
    /// Not before then, and what it said last.
    state_due: Time,
    state_mark: Option<(usize, u64)>,
}

impl Seed {
    fn new(service: &Service, port: u16) -> Result<Seed, Error> {
        let options = driver::Options {
            listeners: service.listener("seed", port)?,
            peer_id: driver::random_peer_id(),
            source: Ipv4Addr::UNSPECIFIED,
            max_links: MAX_LINKS,
        };
        Ok(Seed {
            driver: Driver::new(options)?,
            roster: Roster::default(),
            warnings: Warnings::default(),
            state_due: Time(0),
            state_mark: None,
        })
    }

    fn of_store(service: &Service) -> Result<Seed, Error> {
        let config: SeedConfig = service::read(service.store(), "seed").map_err(Error::Config)?;
        let mut seed = Seed::new(service, config.port)?;
        seed.roster.load(&mut seed.driver, &config);
        log::info!("{}", seed.roster.status(0));
        Ok(seed)
    }

    fn of_torrent(service: &Service, foreign: &Foreign) -> Result<Seed, Error> {
        let mut seed = Seed::new(service, FOREIGN_PORT)?;
        let (metainfo, content) = foreign.open(service).map_err(Error::Foreign)?;
        let torrent = Torrent {
            info_hash: metainfo.info_hash,
            content,
            have: Have::All,
            masters: Vec::new(),
            peers: Vec::new(),
            trackers: foreign.trackers.clone(),
            own: None,
            near_prefix: 0,
            max_peers: Some(MAX_PEERS),
        };
        let id = seed.driver.add(torrent)?;
        let port = seed.driver.listen_port().unwrap_or(FOREIGN_PORT);
        log::info!("{}: checked, seeding on TCP port {port}", metainfo.name);
        seed.roster.add(metainfo.name, metainfo.info_hash, id);
        Ok(seed)
    }

    /// Until the network, a timer, a signal or the state file needs us.
    fn wait(&self, service: &Service) -> Result<service::Wake, Error> {
        let now = service.now();
        let core = self.driver.patience(None).map(|d| now + d);
        let state = self.is_stale().then_some(self.state_due);
        let deadline = [core, state, self.warnings.due()].into_iter().flatten().min();
        let mut fds = [PollFd::new(self.driver.as_fd(), PollFlags::POLLIN)];
        Ok(service.wait(&mut fds, deadline)?)
    }

    fn is_stale(&self) -> bool {
        self.state_mark != Some(mark(&self.driver, &self.roster))
    }

    fn reload(&mut self, service: &Service) {
        if let Some(config) = service.read_again("seed") {
            self.roster.load(&mut self.driver, &config);
            log::info!("configuration read again: {}", self.roster.status(self.driver.links()));
        }
        let status = self.roster.status(self.driver.links());
        service.ready(&status);
        self.state_mark = None;
    }

    fn events(&mut self, now: Time) {
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Withdrawn(id, error) => {
                    let sentence = error.to_string();
                    let name = self.roster.refused(id, &sentence).unwrap_or("?");
                    log::error!(
                        "{name}: {sentence}; put the old file back or run boottorrent-gen, which hashes it again"
                    );
                    self.state_mark = None;
                }
                Event::Retired(id) => {
                    self.roster.retired(id);
                    self.state_mark = None;
                }
                Event::Warning(kind, detail) => self.warnings.warn(now, kind, detail),
                // A seed downloads nothing.
                Event::Complete(_) | Event::FalsePiece(..) => {}
            }
        }
        self.warnings.flush(now);
    }

    fn report(&mut self, service: &Service, now: Time) {
        if now < self.state_due || !self.is_stale() {
            return;
        }
        self.state_due = now + STATE_EVERY;
        self.state_mark = Some(mark(&self.driver, &self.roster));
        let state = State::take(&self.driver, &self.roster, self.warnings.totals());
        if let Err(e) = service.write_state("seed", &state) {
            self.warnings.warn(now, "state file", e);
        }
        service.status(&self.roster.status(self.driver.links()));
    }
}

/// A link is a descriptor: as many as we may have. Where that is refused, the driver rests when they run out.
fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        log::debug!("cannot raise the limit of descriptors from {soft}: {e}");
    }
}
