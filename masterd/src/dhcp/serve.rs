//! The daemon's loop: drain what has arrived, write the journal once, then send everything. It performs what the server
//! decides and decides nothing about leases.

use std::fmt;
use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use boottorrent_swarm::{Mac, Time};
use nix::poll::{PollFd, PollFlags};

use super::answer::Reply;
use super::config::DhcpConfig;
use super::journal::{Journal, JournalError, Replay};
use super::once::Book;
use super::origin;
use super::server::{Arrival, Notice, Server};
use super::socket::{Datagram, MAX_DATAGRAM, Socket};
use super::state::State;
use crate::orders::{Order, Orders};
use crate::service::{self, ConfigError, Service, ServiceError, Warnings};

const PORT: u16 = 67;
/// Messages that share one write to the disk; more would let the first of a storm wait too long.
const BATCH: usize = 512;
/// Batches before signals and the state file are looked at again: a flood must not keep the server from ending.
const BATCHES: usize = 16;
/// The state file is written at most this often.
const STATE_PAUSE: Duration = Duration::from_secs(1);
/// How often the wall clock is compared with the one that runs evenly while nothing arrives, and what difference counts.
const CLOCK_CHECK: Duration = Duration::from_secs(60);
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// Why the server cannot run. One sentence.
#[derive(Debug)]
pub enum DhcpError {
    Service(ServiceError),
    Config(ConfigError),
    Journal(JournalError),
    Socket(io::Error),
}

impl fmt::Display for DhcpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(e) => e.fmt(f),
            Self::Config(e) => e.fmt(f),
            Self::Journal(e) => e.fmt(f),
            Self::Socket(e) => write!(f, "the DHCP socket cannot be used: {e}"),
        }
    }
}

impl std::error::Error for DhcpError {}

macro_rules! from {
    ($($variant:ident($source:ty)),*) => {$(
        impl From<$source> for DhcpError {
            fn from(source: $source) -> Self {
                Self::$variant(source)
            }
        }
    )*};
}
from!(Service(ServiceError), Config(ConfigError), Journal(JournalError), Socket(io::Error));

struct Daemon<'s> {
    service: &'s Service,
    server: Server,
    journal: Option<Journal>,
    sockets: Vec<Socket>,
    orders: Option<Orders>,
    warnings: Warnings,
    /// Microseconds from the service's clock to 1970.
    epoch_us: u64,
    clock_check_at: Time,
    state_at: Time,
    changed: bool,
}

/// An answer that waits for the disk.
struct Pending {
    reply: Reply,
    socket: usize,
    datagram: Datagram,
}

/// What follows from some messages, once it is on disk.
struct Batch {
    pending: Vec<Pending>,
    notices: Vec<Notice>,
    /// More may wait.
    full: bool,
}

/// Serves until the service manager says stop.
///
/// # Errors
/// What keeps the server from starting, or from keeping leases on disk.
pub fn serve(service: &Service) -> Result<(), DhcpError> {
    let mut daemon = Daemon::start(service)?;
    service.ready("listening, no request yet");
    daemon.write_state(service.now());
    loop {
        let deadline = daemon.deadline();
        let mut fds: Vec<_> =
            daemon.sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        let wake = service.wait(&mut fds, deadline)?;
        drop(fds);
        if wake.stop {
            daemon.write_state(wake.now);
            return Ok(());
        }
        if wake.reload {
            daemon.reload(wake.now);
        }
        daemon.check_clock(wake.now)?;
        daemon.answer_all(wake.now)?;
        daemon.chores(wake.now)?;
    }
}

impl<'s> Daemon<'s> {
    fn start(service: &'s Service) -> Result<Self, DhcpError> {
        let config: DhcpConfig = service::read(service.store(), "dhcp")?;
        let inherited = service.inherits("dhcp");
        let sockets = service.datagram("dhcp", PORT)?;
        let sockets =
            sockets.into_iter().map(|socket| Socket::new(socket, inherited)).collect::<Result<_, _>>()?;
        let now = service.now();
        let epoch_us = epoch_us(service);
        let mut server = Server::new(config);
        let journal = match service.state_dir() {
            Some(folder) => {
                let (mut journal, replay) = Journal::open(folder)?;
                report(&replay);
                server.replay(&replay.records, Time(epoch_us.saturating_add(now.0)));
                let needed = server.records();
                if journal.has_grown(needed.len()) {
                    journal.replace(&needed)?;
                }
                // The journal does not say where nodes are, and those that only renew pass by no relay.
                let told = service.run_dir().and_then(|run| origin::read(&run.join("dhcp.json")).ok());
                server.recall(told.unwrap_or_default());
                Some(journal)
            }
            None => {
                log::warn!("no --state folder: leases are forgotten when this server ends");
                None
            }
        };
        log::info!("{}", introduction(&server));
        Ok(Self {
            service,
            server,
            journal,
            sockets,
            orders: service.run_dir().and_then(orders),
            warnings: Warnings::default(),
            epoch_us,
            clock_check_at: now + CLOCK_CHECK,
            state_at: now,
            changed: false,
        })
    }

    /// The server's time: it runs evenly, and began at the wall clock.
    fn unix(&self, now: Time) -> Time {
        Time(self.epoch_us.saturating_add(now.0))
    }

    fn deadline(&self) -> Option<Time> {
        let state = self.changed.then_some(self.state_at);
        [Some(self.clock_check_at), state, self.warnings.due()].into_iter().flatten().min()
    }

    /// What waits, in batches: decide, write once, sync once, send. The poll set tells of what is left.
    fn answer_all(&mut self, now: Time) -> Result<(), DhcpError> {
        for _ in 0..BATCHES {
            let Batch { pending, notices, full } = self.decide(now)?;
            if let Some(journal) = &mut self.journal {
                journal.sync()?;
            }
            // Not before: a lease that is not on disk was not given.
            for notice in notices {
                self.tell(now, notice);
            }
            let server = self.server.plan().server();
            for Pending { reply, socket, datagram } in pending {
                let sent = self.sockets[socket].send(&reply.packet, reply.to, datagram.interface, server);
                if let Err(e) = sent {
                    self.warnings.warn(now, "answer not sent", format!("to {} from {server}: {e}", reply.to));
                }
            }
            if !full {
                break;
            }
            self.service.feed(self.service.now());
        }
        Ok(())
    }

    /// Takes up to a batch of messages.
    fn decide(&mut self, now: Time) -> Result<Batch, DhcpError> {
        let at = self.unix(now);
        let mut buffer = [0; MAX_DATAGRAM];
        let (mut pending, mut notices) = (Vec::new(), Vec::new());
        let mut records = Vec::new();
        let mut taken = 0;
        for index in 0..self.sockets.len() {
            while taken < BATCH {
                let datagram = match self.sockets[index].receive(&mut buffer) {
                    Ok(Some(datagram)) => datagram,
                    Ok(None) => break,
                    Err(e) => {
                        // The interface went down, say; the kernel tells it once and the socket goes on.
                        self.warnings.warn(now, "the socket failed", e);
                        break;
                    }
                };
                taken += 1;
                self.changed = true;
                let arrival = Arrival { from: SocketAddrV4::new(*datagram.from.ip(), datagram.from.port()) };
                let mut book = Kept { orders: self.orders.as_ref(), warnings: &mut self.warnings, now };
                let packet = &buffer[..datagram.length];
                let outcome = self.server.handle(at, packet, &arrival, &mut book);
                records.extend(outcome.record);
                notices.extend(outcome.notices);
                if let Some(reply) = outcome.reply {
                    pending.push(Pending { reply, socket: index, datagram });
                }
            }
        }
        if let Some(journal) = &mut self.journal {
            journal.append(&records)?;
        }
        Ok(Batch { pending, notices, full: taken == BATCH })
    }

    fn tell(&mut self, now: Time, notice: Notice) {
        match notice {
            Notice::Info(text) => log::info!("{text}"),
            Notice::Warning { kind, detail } => self.warnings.warn(now, kind, detail),
        }
    }

    fn chores(&mut self, now: Time) -> Result<(), DhcpError> {
        self.warnings.flush(now);
        if self.changed && self.state_at <= now {
            self.write_state(now);
        }
        if let Some(journal) = &mut self.journal
            && journal.has_grown(0)
        {
            let needed = self.server.records();
            if journal.has_grown(needed.len()) {
                journal.replace(&needed)?;
            }
        }
        Ok(())
    }

    /// A machine that boots without a clock gets its time later, perhaps years: what is on disk must be in the new time
    /// before the next lease is.
    fn check_clock(&mut self, now: Time) -> Result<(), DhcpError> {
        self.clock_check_at = now + CLOCK_CHECK;
        let from = self.unix(now);
        let epoch_us = epoch_us(self.service);
        if epoch_us.abs_diff(self.epoch_us) > u64::try_from(CLOCK_TOLERANCE.as_micros()).unwrap_or(u64::MAX) {
            self.epoch_us = epoch_us;
            let to = self.unix(now);
            log::info!("the clock was set by {} s; leases move with it", to.0.abs_diff(from.0) / 1_000_000);
            self.server.clock_set(from, to);
            if let Some(journal) = &mut self.journal {
                journal.replace(&self.server.records())?;
            }
        }
        Ok(())
    }

    fn reload(&mut self, now: Time) {
        if let Some(config) = self.service.read_again("dhcp") {
            self.server.reconfigure(config, self.unix(now));
            log::info!("the configuration was read again: {}", introduction(&self.server));
        }
        self.service.ready(&introduction(&self.server));
        self.changed = true;
    }

    fn write_state(&mut self, now: Time) {
        self.state_at = now + STATE_PAUSE;
        self.changed = false;
        self.server.forget_origins();
        let state = State::of(&self.server, self.unix(now), self.warnings.totals());
        if state.is_busy() {
            self.service.status(&state.summary());
        }
        if let Err(e) = self.service.write_state("dhcp", &state) {
            self.warnings.warn(now, "state file", e);
        }
    }
}

/// The folder of orders, which this service owns.
fn orders(run: &std::path::Path) -> Option<Orders> {
    let orders = Orders::below(run);
    let made = orders.make();
    if let Err(e) = &made {
        log::warn!("{} cannot be made, so no next boot can be ordered: {e}", orders.path().display());
    }
    made.is_ok().then_some(orders)
}

/// Orders as the server looks for them; what cannot be read is none, and people are told.
struct Kept<'a> {
    orders: Option<&'a Orders>,
    warnings: &'a mut Warnings,
    now: Time,
}

impl Kept<'_> {
    fn told<T>(&mut self, what: &'static str, mac: Mac, result: io::Result<T>) -> Option<T> {
        result.map_err(|e| self.warnings.warn(self.now, what, format!("for {mac}: {e}"))).ok()
    }
}

impl Book for Kept<'_> {
    fn find(&mut self, mac: Mac) -> Option<Order> {
        let found = self.orders?.get(mac);
        self.told("order for a next boot not read", mac, found)?
    }

    fn remove(&mut self, mac: Mac) {
        let Some(orders) = self.orders else { return };
        let removed = orders.remove(mac);
        self.told("order for a next boot not removed", mac, removed);
    }

    fn put(&mut self, mac: Mac, order: &Order) -> bool {
        let Some(orders) = self.orders else { return false };
        let put = orders.put(mac, order);
        self.told("order for a next boot not kept", mac, put).is_some()
    }
}

fn epoch_us(service: &Service) -> u64 {
    service.unix_time().saturating_mul(1_000_000).saturating_sub(service.now().0)
}

/// What this server will do, for whoever starts it.
fn introduction(server: &Server) -> String {
    let plan = server.plan();
    let pools = plan.subnets().iter().map(|subnet| {
        let size: u64 = subnet.ranges.iter().map(|range| range.size()).sum();
        format!("{} with {size} addresses", subnet.network)
    });
    let pools: Vec<String> = pools.collect();
    format!("{} serves {}; reservations: {}", plan.server(), pools.join(", "), plan.reservations())
}

fn report(replay: &Replay) {
    if replay.torn_bytes > 0 {
        log::info!(
            "{} bytes at the end of the lease journal were never finished; cut off",
            replay.torn_bytes
        );
    }
    if !replay.bad_lines.is_empty() {
        log::warn!("the lease journal has unreadable lines ({:?}): check the disk", replay.bad_lines);
    }
    log::info!("{} records of the lease journal were read", replay.records.len());
}
