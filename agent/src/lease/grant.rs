//! What a card got: the kernel is configured with it, and a next worker finds it again.
//!
//! Decides when an address is news to the kernel. Never asks for one.

use std::fmt;
use std::net::Ipv4Addr;

use boottorrent_swarm::{Mac, template};

use super::{Error, Place, Resolver};
use crate::link::Card;
use crate::sys;

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

    pub(crate) fn place(&self) -> Place {
        Place { address: self.address, prefix: self.prefix }
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
