//! The state file `dhcp.json`: leases, pools and counters for people, and for the tracker, which reads where nodes
//! are plugged in. It only reports.

use std::collections::BTreeMap;

use boottorrent_swarm::Time;
use serde::Serialize;

use super::origin::Origin;
use super::server::{Counters, Server};

#[derive(Debug, Serialize)]
pub(super) struct State<'s> {
    /// Seconds since 1970.
    written: u64,
    server: String,
    counters: &'s Counters,
    warnings: BTreeMap<&'static str, u64>,
    pools: Vec<PoolState>,
    leases: Vec<LeaseState<'s>>,
}

#[derive(Debug, Serialize)]
struct PoolState {
    network: String,
    size: u64,
    leased: usize,
    offered: usize,
    quarantined: usize,
}

#[derive(Debug, Serialize)]
struct LeaseState<'s> {
    address: String,
    /// Absent: the address is in quarantine.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    until: u64,
    /// When firmware was last given it.
    #[serde(skip_serializing_if = "Option::is_none")]
    booted: Option<u64>,
    /// Where the node is plugged in; absent on the master's own wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<&'s Origin>,
}

impl<'s> State<'s> {
    pub(super) fn of(server: &'s Server, now: Time, warnings: BTreeMap<&'static str, u64>) -> Self {
        let plan = server.plan();
        let pools = plan.subnets().iter().enumerate().map(|(index, subnet)| {
            let usage = server.usage(index, now);
            PoolState {
                network: subnet.network.to_string(),
                size: subnet.ranges.iter().map(|range| range.size()).sum(),
                leased: usage.leased,
                offered: usage.offered,
                quarantined: usage.quarantined,
            }
        });
        let leases = server.current_leases(now).into_iter().map(|lease| LeaseState {
            address: lease.address.to_string(),
            mac: lease.mac.map(|mac| mac.to_string()),
            name: lease.mac.and_then(|mac| plan.node(mac)?.name.clone()),
            until: lease.until.0.div_ceil(1_000_000),
            booted: server.booted(&lease).map(|at| at.0 / 1_000_000),
            via: server.origin(&lease),
        });
        Self {
            written: now.0 / 1_000_000,
            server: plan.server().to_string(),
            counters: server.counters(),
            warnings,
            pools: pools.collect(),
            leases: leases.collect(),
        }
    }

    /// Whether anybody has asked for anything yet.
    pub(super) fn is_busy(&self) -> bool {
        *self.counters != Counters::default()
    }

    /// One line for `systemctl status`.
    pub(super) fn summary(&self) -> String {
        let Counters { acks, naks, .. } = self.counters;
        format!("{} leases; {acks} acknowledged and {naks} refused since the start", self.leases.len())
    }
}
