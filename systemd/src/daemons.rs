//! What each daemon is told: dhcp.toml, tftp.toml, tracker.toml, seed.toml, log.toml, ra.toml; and boottorrentctl:
//! ctl.toml. Decides from the site alone; a daemon that is switched off is told nothing.

use boottorrent_masterd::ctl::config::{CtlConfig, ListedNode};
use boottorrent_masterd::dhcp::config::{BootRule, DhcpConfig, ReservationConfig, SubnetConfig};
use boottorrent_masterd::nodelog::config::{LogConfig, NamedNode};
use boottorrent_masterd::ra::config::RaConfig;
use boottorrent_masterd::seed::config::{SeedConfig, TorrentConfig};
use boottorrent_masterd::site::{At, Dhcp, Node, Rack, Site};
use boottorrent_masterd::tftp::config::TftpConfig;
use boottorrent_masterd::tracker::config::{RackConfig, TrackedTorrent, TrackerConfig};
use serde::Serialize;
use std::net::SocketAddrV4;

/// Architectures of option 93 (RFC 4578, 2.1; the registry gives 7 and 9 both to UEFI on x86-64).
const BIOS: [u16; 1] = [0];
const UEFI: [u16; 2] = [7, 9];

/// File name to text.
///
/// # Errors
/// A value that TOML can't carry.
pub fn configs(
    site: &Site,
    torrents: Vec<TorrentConfig>,
) -> Result<Vec<(&'static str, String)>, toml::ser::Error> {
    let mut files = Vec::new();
    if let Some(dhcp) = &site.dhcp {
        files.push(("dhcp.toml", text(&dhcp_config(site, dhcp))?));
    }
    if site.services.tftp {
        files.push(("tftp.toml", text(&TftpConfig::default())?));
    }
    if site.services.tracker.is_some() {
        files.push(("tracker.toml", text(&tracker_config(site, &torrents))?));
    }
    if let Some(port) = site.services.seed {
        files.push(("seed.toml", text(&SeedConfig { port, tracker: None, torrents })?));
    }
    if site.services.log {
        files.push(("log.toml", text(&log_config(site))?));
    }
    if site.services.ra {
        files.push(("ra.toml", text(&RaConfig { interface: site.interface.value.clone() })?));
    }
    let services =
        files.iter().filter_map(|(file, _)| file.strip_suffix(".toml")).map(str::to_owned).collect();
    files.push(("ctl.toml", text(&ctl_config(site, services))?));
    Ok(files)
}

fn text<T: Serialize>(config: &T) -> Result<String, toml::ser::Error> {
    Ok(format!("# Made by boottorrent-gen.\n{}", toml::to_string(config)?))
}

fn dhcp_config(site: &Site, dhcp: &Dhcp) -> DhcpConfig {
    let subnets = dhcp.subnets.iter().map(|s| SubnetConfig {
        network: s.network.value,
        ranges: s.ranges.iter().map(|r| r.value).collect(),
        options: s.options.clone(),
    });
    let reservation = |n: &Node| ReservationConfig {
        mac: n.mac,
        address: n.address,
        name: Some(n.name.clone()),
        options: n.options.clone(),
    };
    DhcpConfig {
        site: site.name.clone(),
        server: site.address.value,
        interface: site.interface.value.clone(),
        lease_seconds: u32::try_from(dhcp.lease_time.as_secs()).unwrap_or(u32::MAX),
        subnets: subnets.collect(),
        reservations: site.nodes.iter().map(reservation).collect(),
        boot: if site.services.tftp { boot_rules() } else { Vec::new() },
    }
}

fn boot_rules() -> Vec<BootRule> {
    let rule = |ipxe, arch: &[u16], file: &str| BootRule { ipxe, arch: arch.to_vec(), file: file.into() };
    vec![
        rule(true, &[], "boot/boot.ipxe"),
        rule(false, &BIOS, "boot/undionly.kpxe"),
        rule(false, &UEFI, "boot/snponly.efi"),
    ]
}

fn tracker_config(site: &Site, torrents: &[TorrentConfig]) -> TrackerConfig {
    let tracked = |t: &TorrentConfig| TrackedTorrent { info_hash: t.info_hash.clone(), name: t.name.clone() };
    let seed = site.services.seed.map(|port| SocketAddrV4::new(site.address.value, port));
    TrackerConfig {
        seeds: seed.into_iter().collect(),
        // A subnet is behind one router, whatever its size.
        racks: site.dhcp.iter().flat_map(|d| &d.subnets).map(|s| s.network.value).collect(),
        named_racks: site.racks.iter().map(rack_config).collect(),
        torrents: torrents.iter().map(tracked).collect(),
        ..TrackerConfig::default()
    }
}

fn rack_config(rack: &Rack) -> RackConfig {
    fn values<T: Clone>(all: &[At<T>]) -> Vec<T> {
        all.iter().map(|at| at.value.clone()).collect()
    }
    RackConfig {
        name: rack.name.clone(),
        networks: values(&rack.networks),
        relays: values(&rack.relays),
        circuit_ids: values(&rack.circuit_ids),
        remote_ids: values(&rack.remote_ids),
    }
}

/// Only DHCP of ours makes an address of the site the node's own.
fn log_config(site: &Site) -> LogConfig {
    let named = |n: &Node| NamedNode {
        mac: n.mac,
        name: n.name.clone(),
        address: n.address.filter(|_| site.dhcp.is_some()),
    };
    LogConfig { nodes: site.nodes.iter().map(named).collect(), ..LogConfig::default() }
}

fn ctl_config(site: &Site, services: Vec<String>) -> CtlConfig {
    let listed = |n: &Node| ListedNode {
        mac: n.mac,
        name: n.name.clone(),
        address: n.address,
        os: n.os.as_ref().map(|os| os.value.clone()),
    };
    CtlConfig {
        site: site.name.clone(),
        interface: site.interface.value.clone(),
        address: site.address.value,
        services,
        networks: site.dhcp.iter().flat_map(|d| &d.subnets).map(|s| s.network.value).collect(),
        power: site.power.clone(),
        nodes: site.nodes.iter().map(listed).collect(),
    }
}
