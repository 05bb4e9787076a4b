//! The server's decisions for the fuzz targets (tests/fuzz): packets in, what came of them out. Opens nothing; no
//! program uses it, and it shows no more of the server than a journal and a network would.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use boottorrent_swarm::{Mac, Time};

use super::config::DhcpConfig;
use super::origin::Origin;
use super::server::{Arrival, Notice, Server};
use crate::orders::Order;

/// What followed from one packet.
#[derive(Debug)]
pub struct Seen {
    /// Where the answer goes, and its bytes.
    pub reply: Option<(SocketAddrV4, Vec<u8>)>,
    /// Something was written to the journal.
    pub recorded: bool,
    pub warnings: usize,
}

/// A server without its sockets and its journal.
#[derive(Debug)]
pub struct Probe {
    config: DhcpConfig,
    server: Server,
    orders: HashMap<Mac, Order>,
}

impl Probe {
    #[must_use]
    pub fn new(config: DhcpConfig) -> Probe {
        Probe { server: Server::new(config.clone()), config, orders: HashMap::new() }
    }

    pub fn packet(&mut self, now: Time, from: SocketAddrV4, packet: &[u8]) -> Seen {
        let outcome = self.server.handle(now, packet, &Arrival { from }, &mut self.orders);
        let warnings = outcome.notices.iter().filter(|n| matches!(n, Notice::Warning { .. })).count();
        Seen { reply: outcome.reply.map(|r| (r.to, r.packet)), recorded: outcome.record.is_some(), warnings }
    }

    /// Who has which address; nobody stands for an address in quarantine.
    #[must_use]
    pub fn leases(&self, now: Time) -> Vec<(Ipv4Addr, Option<Mac>, Time)> {
        let leases = self.server.current_leases(now);
        leases.into_iter().map(|l| (l.address, l.mac, l.until)).collect()
    }

    /// Where the holder of an address is plugged in.
    #[must_use]
    pub fn origin(&self, now: Time, address: Ipv4Addr) -> Option<Origin> {
        let lease = self.server.current_leases(now).into_iter().find(|lease| lease.address == address)?;
        self.server.origin(&lease).cloned()
    }

    /// What a server knows that was killed now and reads its journal again.
    #[must_use]
    pub fn reopened(&self, now: Time) -> Probe {
        let mut reopened = Probe::new(self.config.clone());
        reopened.server.replay(&self.server.records(), now);
        reopened
    }
}
