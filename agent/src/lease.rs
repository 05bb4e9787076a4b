//! The lease: smoltcp's DHCP client on a packet socket, and the kernel configured with what it got.
//!
//! Decides what is believed of a lease. Never waits on a card without a deadline, and never lets a string from DHCP
//! through that could change a command line's meaning.

mod device;
mod filter;
mod reply;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use boottorrent_swarm::next_boot::{self, NextBoot, VENDOR_CLASS};
use boottorrent_swarm::{Mac, template};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration as SmolDuration, Instant as SmolInstant};
use smoltcp::wire::{DhcpOption, DhcpPacket, EthernetAddress, IpCidr, Ipv4Cidr};

use crate::kept::Kept;
use crate::link::Card;
use crate::report::Report;
use crate::worker::Keeper;
use crate::{clock, sys};
use device::Device;
use reply::host_name;

pub(crate) use reply::Resolver;

/// DISCOVER goes out after 0, 1, 2, 4, 8 and then every 8 s: a thousand nodes that are switched on together must not
/// keep asking at once for ever (RFC 2131, 4.1 doubles too).
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(8);
/// REQUEST is repeated sooner than smoltcp's 5 s: the server has just answered, so a loss is the likely cause.
const REQUEST_RETRY: SmolDuration = SmolDuration::from_secs(1);
/// A client that keeps its lease has nothing to do for minutes; it still looks at the clock now and then.
const IDLE: Duration = Duration::from_secs(30);

/// Subnet mask, router, name servers, host name, domain, lease time, server identifier, T1, T2, what this boot is to be.
const WANTED: &[u8] = &[1, 3, 6, 12, 15, 51, 54, 58, 59, next_boot::OPTION];
const CLASS: u8 = 60;
const OPTIONS: &[DhcpOption<'static>] = &[DhcpOption { kind: CLASS, data: VENDOR_CLASS.as_bytes() }];

/// What a card got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) card: Card,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) router: Option<Ipv4Addr>,
    /// The server's own name of itself (option 54).
    pub(crate) server: Ipv4Addr,
    /// The next server (siaddr); None where it is 0.0.0.0.
    pub(crate) next_server: Option<Ipv4Addr>,
    pub(crate) host_name: Option<String>,
    pub(crate) resolver: Resolver,
}

#[derive(Debug)]
pub(crate) enum Error {
    Socket(String, io::Error),
    Silent(String),
    Configure(String, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(card, error) => write!(f, "{card}: cannot listen for DHCP: {error}"),
            Self::Silent(card) => write!(f, "{card}: no DHCP server answered"),
            Self::Configure(card, error) => write!(f, "{card}: the kernel refused the lease: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// The DHCP client of one card.
pub(crate) struct Client {
    card: Card,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
}

impl Client {
    pub(crate) fn new(card: &Card) -> Result<Self, Error> {
        let socket = sys::packet_socket(card.index, &filter::PROGRAM)
            .map_err(|error| Error::Socket(card.name.clone(), error))?;
        let mac = EthernetAddress(card.mac.0);
        let mut device = Device::new(socket, mac);
        let mut config = Config::new(mac.into());
        // Nodes that start together must not draw the same transaction numbers: the MAC differs where the seed does not.
        let [a, b, c, d, e, f] = card.mac.0;
        config.random_seed = sys::random_seed() ^ u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let interface = Interface::new(config, &mut device, smol_now());
        let mut socket = dhcpv4::Socket::new();
        socket.set_outgoing_options(OPTIONS);
        socket.set_parameter_request_list(WANTED);
        let mut sockets = SocketSet::new(Vec::new());
        let dhcp = sockets.add(socket);
        Ok(Self { card: card.clone(), device, interface, sockets, dhcp })
    }

    /// Asks until a lease is there and the kernel has it, or the deadline has come.
    pub(crate) fn acquire(
        &mut self,
        deadline: Duration,
        mut waiting: impl FnMut(&str),
    ) -> Result<Lease, Error> {
        let begun = clock::now();
        loop {
            let so_far = clock::now().saturating_sub(begun);
            self.set_patience((so_far / 2).clamp(RETRY_FIRST, RETRY_MOST));
            if let Some(Some(lease)) = self.turn() {
                lease.configure(None)?;
                return Ok(lease);
            }
            let now = clock::now();
            if now >= deadline {
                return Err(Error::Silent(self.card.name.clone()));
            }
            let limit_s = deadline.saturating_sub(begun).as_secs();
            waiting(&format!(
                "{}: asking for an address ({} of {limit_s} s)",
                self.card.name,
                so_far.as_secs()
            ));
            // Woken now and then, so that a person sees the seconds pass.
            self.wait(deadline.min(now + Duration::from_secs(1)));
        }
    }

    /// What the server wants this boot to be; for the lease that it has just given.
    pub(crate) fn next_boot(&self, lease: &Lease) -> Option<NextBoot> {
        reply::next_boot(&self.device.reply(lease.address)?)
    }

    /// Renews the lease until the keeper is dismissed. One that is kept from before is asked for anew.
    pub(crate) fn keep(mut self, mut lease: Lease, report: &Report, keeper: &Keeper, kept: &Kept) {
        self.set_patience(RETRY_MOST);
        while !keeper.is_dismissed() {
            let news = self.turn();
            if keeper.is_dismissed() {
                return;
            }
            match news {
                Some(Some(renewed)) if renewed != lease => match renewed.configure(Some(&lease)) {
                    Ok(()) => {
                        report.note("lease", &format!("changed: {renewed}"));
                        kept.keep_lease(&renewed);
                        keeper.changed(renewed.clone());
                        lease = renewed;
                    }
                    Err(error) => report.note("lease", &error.to_string()),
                },
                // The master may be off for good while nodes still serve one another: the address stays until a server
                // gives another one, and a person is told.
                Some(None) => {
                    let text =
                        format!("ran out or was withdrawn; {} is used while asking again", lease.address);
                    report.note("lease", &text);
                }
                _ => {}
            }
            self.wait(clock::now() + IDLE);
        }
    }

    /// Lets smoltcp work. Some(None): the lease is gone.
    fn turn(&mut self) -> Option<Option<Lease>> {
        self.interface.poll(smol_now(), &mut self.device, &mut self.sockets);
        match self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll()? {
            dhcpv4::Event::Deconfigured => {
                self.interface.update_ip_addrs(|addresses| addresses.clear());
                Some(None)
            }
            dhcpv4::Event::Configured(config) => {
                let (cidr, router, server) = (config.address, config.router, config.server.identifier);
                self.interface.update_ip_addrs(|addresses| {
                    addresses.clear();
                    let _ = addresses.push(IpCidr::Ipv4(cidr)); // one always fits
                });
                Some(Some(self.lease(cidr, router, server)))
            }
        }
    }

    fn lease(&self, cidr: Ipv4Cidr, router: Option<Ipv4Addr>, server: Ipv4Addr) -> Lease {
        let reply = self.device.reply(cidr.address());
        Lease {
            card: self.card.clone(),
            address: cidr.address(),
            prefix: cidr.prefix_len(),
            router: router.filter(|router| !router.is_unspecified()),
            server,
            next_server: reply.as_ref().map(DhcpPacket::server_ip).filter(|ip| !ip.is_unspecified()),
            host_name: reply.as_ref().and_then(host_name),
            resolver: reply.as_ref().map(Resolver::of).unwrap_or_default(),
        }
    }

    fn set_patience(&mut self, patience: Duration) {
        let socket = self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp);
        let mut retry = socket.get_retry_config();
        retry.discover_timeout = patience.into();
        retry.initial_request_timeout = REQUEST_RETRY;
        socket.set_retry_config(retry);
    }

    fn wait(&mut self, until: Duration) {
        let delay = self.interface.poll_delay(smol_now(), &self.sockets).map(Duration::from);
        let until = delay.map_or(until, |delay| until.min(clock::now() + delay));
        clock::wait_readable(&[self.device.as_fd()], until);
    }
}

impl Lease {
    /// Gives the kernel the address, and the route if there is one.
    pub(crate) fn configure(&self, before: Option<&Self>) -> Result<(), Error> {
        let failed = |error| Error::Configure(self.card.name.clone(), error);
        let control = sys::control_socket().map_err(failed)?;
        let name = &self.card.name;
        if before.is_none_or(|before| (before.address, before.prefix) != (self.address, self.prefix)) {
            sys::set_address(&control, name, self.address, netmask(self.prefix)).map_err(failed)?;
        }
        if let Some(router) = self.router {
            // A router outside the subnet is the network's mistake; the master is usually on the same wire, so go on.
            let _ = sys::add_default_route(&control, name, router);
        }
        Ok(())
    }

    /// Takes the address away from the card; routes through it go with it.
    pub(crate) fn give_up(&self) {
        if let Ok(control) = sys::control_socket() {
            // A card that is gone has no address either.
            let _ = sys::set_address(&control, &self.card.name, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
        }
    }
}

/// As a text for the next worker: a line each, empty where there is nothing.
impl Lease {
    pub(crate) fn emit(&self) -> String {
        let optional = |address: Option<Ipv4Addr>| address.map(|a| a.to_string()).unwrap_or_default();
        format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.card.mac,
            self.address,
            self.prefix,
            self.server,
            optional(self.router),
            optional(self.next_server),
            self.host_name.as_deref().unwrap_or_default(),
            self.resolver.emit()
        )
    }

    /// None: another card's, or no lease.
    pub(crate) fn parse(text: &str, card: &Card) -> Option<Self> {
        let optional = |line: &str| if line.is_empty() { Some(None) } else { Some(Some(line.parse().ok()?)) };
        let mut lines = text.lines();
        let mac: Mac = lines.next()?.parse().ok()?;
        let lease = Self {
            card: card.clone(),
            address: lines.next()?.parse().ok()?,
            prefix: lines.next()?.parse().ok().filter(|prefix| *prefix <= 32)?,
            server: lines.next()?.parse().ok()?,
            router: optional(lines.next()?)?,
            next_server: optional(lines.next()?)?,
            host_name: lines.next().filter(|name| template::is_plain(name)).map(str::to_owned),
            resolver: Resolver::parse(lines),
        };
        (mac == card.mac).then_some(lease)
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {} from {}", self.address, self.prefix, self.card.name, self.server)
    }
}

fn netmask(prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0))
}

fn smol_now() -> SmolInstant {
    SmolInstant::from_micros(i64::try_from(clock::now().as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netmasks_of_all_prefixes() {
        assert_eq!(netmask(24), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(netmask(32), Ipv4Addr::BROADCAST);
        assert_eq!(netmask(0), Ipv4Addr::UNSPECIFIED);
        assert_eq!(netmask(20), Ipv4Addr::new(255, 255, 240, 0));
    }
}
