//! The lease: smoltcp's DHCP client on a packet socket, and the kernel configured with what it got.
//!
//! Decides what is believed of a lease. Never waits on a card without a deadline, and never lets a string from DHCP
//! through that could change a command line's meaning.

mod device;
mod filter;
mod reply;
mod grant;
mod whereabouts;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use boottorrent_swarm::next_boot::{self, NextBoot, VENDOR_CLASS};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration as SmolDuration, Instant as SmolInstant};
use smoltcp::wire::{DhcpOption, DhcpPacket, EthernetAddress, IpCidr, Ipv4Cidr};

pub(crate) use grant::Lease;
pub(crate) use whereabouts::{Place, Whereabouts};

use crate::link::{self, Card};
use crate::worker::Keeper;
use crate::{clock, sys};
use device::Device;
use reply::{host_name, is_usable};

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

#[derive(Debug)]
pub(crate) enum Error {
    Socket(String, io::Error),
    Silent(String, Silence),
    Configure(String, io::Error),
}

/// What came instead of a lease.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    NoCarrier,
    /// Not one frame of anybody.
    Nothing,
    NoServer,
    NotConfirmed {
        server: Ipv4Addr,
        address: Ipv4Addr,
    },
    /// A sentence: who, what and why.
    Refused(String),
    Unusable {
        server: Ipv4Addr,
        address: Ipv4Addr,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(card, error) => write!(f, "{card}: cannot listen for DHCP: {error}"),
            Self::Silent(card, silence) => write!(f, "{card}: {silence}"),
            Self::Configure(card, error) => write!(f, "{card}: the kernel refused the lease: {error}"),
        }
    }
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCarrier => write!(f, "carrier was lost before a DHCP server answered"),
            Self::Nothing => write!(
                f,
                "no DHCP server answered, nor did anything else arrive: the switch may block its port (spanning tree \
                 does so for 30 s) or have it in another VLAN"
            ),
            Self::NoServer => write!(f, "no DHCP server answered"),
            Self::NotConfirmed { server, address } => {
                write!(f, "the DHCP server {server} offers {address} but does not confirm it")
            }
            Self::Refused(sentence) => f.write_str(sentence),
            Self::Unusable { server, address } => write!(
                f,
                "the DHCP server {server} offers {address}, which no node can use; is this the network of a \
                 management controller?"
            ),
        }
    }
}

impl std::error::Error for Error {}

/// What becomes of a lease that is kept.
pub(crate) enum News<'a> {
    /// The kernel has it already.
    Changed(&'a Lease),
    /// It is used on; why that is no more than a stopgap.
    Lost(String),
    /// A server has confirmed it.
    Confirmed,
    Trouble(Error),
}

/// The DHCP client of one card.
pub(crate) struct Client {
    card: Card,
    device: Device,
    interface: Interface,
    sockets: SocketSet<'static>,
    dhcp: SocketHandle,
    /// A server stands behind the address.
    bound: bool,
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
        Ok(Self { card: card.clone(), device, interface, sockets, dhcp, bound: false })
    }

    /// Asks until a lease is there and the kernel has it, or the deadline has come.
    pub(crate) fn acquire(
        &mut self,
        deadline: Duration,
        mut waiting: impl FnMut(&str),
    ) -> Result<Lease, Error> {
        let begun = clock::now();
        let received = link::received(&self.card);
        loop {
            let so_far = clock::now().saturating_sub(begun);
            self.set_patience((so_far / 2).clamp(RETRY_FIRST, RETRY_MOST));
            if let Some(Some(lease)) = self.turn() {
                lease.configure(None)?;
                return Ok(lease);
            }
            let now = clock::now();
            if now >= deadline {
                return Err(Error::Silent(self.card.name.clone(), self.silence(received)));
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

    /// The nearest that came to a lease, for a person who looks for the reason.
    fn silence(&mut self, received_before: Option<u64>) -> Silence {
        let heard = self.device.take_heard();
        match (heard.unusable, heard.refusal, heard.offer) {
            _ if link::carrier(&self.card) == Some(false) => Silence::NoCarrier,
            (Some((server, address)), ..) => Silence::Unusable { server, address },
            (_, Some(sentence), _) => Silence::Refused(sentence),
            (.., Some((server, address))) => Silence::NotConfirmed { server, address },
            _ if received_before.is_some() && link::received(&self.card) == received_before => {
                Silence::Nothing
            }
            _ => Silence::NoServer,
        }
    }

    /// Renews the lease until the keeper is dismissed. One that is kept from before is asked for anew.
    pub(crate) fn keep(mut self, mut lease: Lease, keeper: &Keeper, tell: &mut dyn FnMut(News<'_>)) {
        self.set_patience(RETRY_MOST);
        let mut confirmed = self.bound;
        while !keeper.is_dismissed() {
            let news = self.turn();
            if keeper.is_dismissed() {
                return;
            }
            match news {
                Some(Some(renewed)) if renewed != lease => match renewed.configure(Some(&lease)) {
                    Ok(()) => {
                        tell(News::Changed(&renewed));
                        lease = renewed;
                    }
                    Err(error) => tell(News::Trouble(error)),
                },
                Some(Some(_)) if !confirmed => tell(News::Confirmed),
                // The master may be off for good while nodes still serve one another: the address stays until a server
                // gives another one, and a person is told.
                Some(None) => {
                    let why = self.device.take_heard().refusal;
                    let why = why.unwrap_or_else(|| "it has run out, and no DHCP server answers".into());
                    tell(News::Lost(format!("{why}; {} is used on while asking again", lease.address)));
                }
                Some(Some(_)) | None => {}
            }
            confirmed = self.bound;
            self.wait(clock::now() + IDLE);
        }
    }

    /// Lets smoltcp work. Some(None): the lease is gone.
    fn turn(&mut self) -> Option<Option<Lease>> {
        self.interface.poll(smol_now(), &mut self.device, &mut self.sockets);
        match self.sockets.get_mut::<dhcpv4::Socket<'_>>(self.dhcp).poll()? {
            dhcpv4::Event::Deconfigured => {
                self.bound = false;
                self.interface.update_ip_addrs(|addresses| addresses.clear());
                self.interface.routes_mut().remove_default_ipv4_route();
                Some(None)
            }
            dhcpv4::Event::Configured(config) => {
                let (cidr, router, server) = (config.address, config.router, config.server.identifier);
                self.bound = true;
                self.interface.update_ip_addrs(|addresses| {
                    addresses.clear();
                    let _ = addresses.push(IpCidr::Ipv4(cidr)); // one always fits
                });
                if let Some(router) = router.filter(|router| is_usable(*router)) {
                    // A server behind a relay is asked by unicast, too (RFC 2131, 4.4.5). One route always fits.
                    let _ = self.interface.routes_mut().add_default_ipv4_route(router);
                }
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

fn smol_now() -> SmolInstant {
    SmolInstant::from_micros(i64::try_from(clock::now().as_micros()).unwrap_or(i64::MAX))
}
