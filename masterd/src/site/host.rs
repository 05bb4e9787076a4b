//! What the site expects of the machine that it runs on: the interface, its address, free ports.
//! Decides by asking the kernel; changes nothing, and is left out where gen writes for another machine (--root).

use super::finding::{Findings, Place};
use super::{DHCP_PORT, LOG_PORT, Site, TFTP_PORT};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::Path;

/// A socket that a unit of ours opens.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// The daemon, as in `boottorrent-<name>`.
    pub name: &'static str,
    pub stream: bool,
    pub address: SocketAddrV4,
    /// Whether it is bound to the interface (DHCP, which has to hear broadcasts).
    pub on_interface: bool,
}

/// The sockets of a site's daemons; one that has two has the same port twice, side by side.
#[must_use]
pub fn ports(site: &Site) -> Vec<Port> {
    let own = |port| SocketAddrV4::new(site.address.value, port);
    let udp = |name, port| Port { name, stream: false, address: own(port), on_interface: false };
    let mut ports = Vec::new();
    if site.dhcp.is_some() {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, DHCP_PORT);
        ports.push(Port { name: "dhcp", stream: false, address, on_interface: true });
    }
    if site.services.tftp {
        ports.push(udp("tftp", TFTP_PORT));
    }
    if let Some(port) = site.services.tracker {
        ports.push(udp("tracker", port));
        ports.push(Port { stream: true, ..udp("tracker", port) });
    }
    if let Some(port) = site.services.seed {
        ports.push(Port { stream: true, ..udp("seed", port) });
    }
    if site.services.log {
        ports.push(udp("log", LOG_PORT));
    }
    ports
}

/// Checks interface, address and ports. `is_ours` says whether a daemon's unit is installed already: then the
/// port is held by it (or by process 1 on its behalf), and that is right.
pub fn check(site: &Site, is_ours: impl Fn(&str) -> bool, findings: &Findings) {
    if !check_interface(site, findings) {
        return;
    }
    for port in ports(site) {
        if try_port(port, &site.interface.value) != Err(Errno::EADDRINUSE) {
            continue;
        }
        let holder = holder(port);
        let held_by_us = holder.as_ref().is_none_or(|h| h.pid == 1 || h.name.starts_with("boottorrent-"));
        if is_ours(port.name) && held_by_us {
            continue;
        }
        tell(site, port, holder, findings);
    }
}

fn tell(site: &Site, port: Port, holder: Option<Holder>, findings: &Findings) {
    let kind = if port.stream { "TCP" } else { "UDP" };
    let number = port.address.port();
    let (who, stop) = match holder {
        Some(h) => (format!("{} (process {})", h.name, h.pid), "stop that program".to_owned()),
        None => ("another program".to_owned(), format!("stop it (`ss -lnp sport = {number}` names it)")),
    };
    let what = format!("{kind} port {number}, which boottorrent-{} needs, is in use by {who}", port.name);
    let remedy = match port.name {
        "dhcp" => format!("{stop}, or write [dhcp] mode = \"off\""),
        "tracker" | "seed" => format!("{stop}, or write another [{}] port", port.name),
        name => format!("{stop}, or write [{name}] enabled = false"),
    };
    findings.add(&site.address.place, what, remedy);
}

fn check_interface(site: &Site, findings: &Findings) -> bool {
    let (name, place): (&str, &Place) = (&site.interface.value, &site.interface.place);
    let mut interfaces: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
    match getifaddrs() {
        Ok(all) => {
            for entry in all {
                let addresses = interfaces.entry(entry.interface_name).or_default();
                addresses.extend(entry.address.and_then(|a| a.as_sockaddr_in().map(SockaddrIn::ip)));
            }
        }
        Err(e) => {
            findings.add(
                place,
                format!("the interfaces cannot be listed: {e}"),
                "use --root to leave this check out",
            );
            return false;
        }
    }
    let Some(addresses) = interfaces.get(name) else {
        let there: Vec<&str> = interfaces.keys().map(String::as_str).collect();
        let what = format!("there is no interface {name:?} here");
        findings.add(place, what, format!("this machine has {}", there.join(", ")));
        return false;
    };
    let wanted = site.address.value;
    if addresses.contains(&wanted) {
        return true;
    }
    let has = match addresses.as_slice() {
        [] => "has no IPv4 address".to_owned(),
        all => format!("has {}", all.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ")),
    };
    let subnet = site.dhcp.iter().flat_map(|d| &d.subnets).find(|s| s.network.value.contains(wanted));
    let what = match subnet {
        Some(s) if !addresses.iter().any(|a| s.network.value.contains(*a)) => {
            format!("{name} {has}, none in {}", s.network.value)
        }
        _ => format!("{name} {has}, not {wanted}"),
    };
    let prefix = subnet.map_or(24, |s| s.network.value.prefix());
    let remedy = format!(
        "correct \"address\", or give it to the interface: ip address add {wanted}/{prefix} dev {name}"
    );
    findings.add(&site.address.place, what.replace(", none", " and so none"), remedy);
    false
}

/// Binds the port as the unit will and lets go again.
fn try_port(port: Port, interface: &str) -> Result<(), Errno> {
    let kind = if port.stream { SockType::Stream } else { SockType::Datagram };
    let fd = socket(AddressFamily::Inet, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if port.stream {
        // As systemd does: connections of an earlier run in TIME_WAIT do not count.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    if port.on_interface {
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(interface))?;
    }
    bind(fd.as_raw_fd(), &SockaddrIn::from(port.address))?;
    if port.stream { listen(&fd, Backlog::new(1)?) } else { Ok(()) }
}

struct Holder {
    pid: u32,
    name: String,
}

/// Who holds the port, as far as /proc lets us see.
fn holder(port: Port) -> Option<Holder> {
    let table = if port.stream { "/proc/net/tcp" } else { "/proc/net/udp" };
    let inode = socket_inode(&fs::read_to_string(table).ok()?, port)?;
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = processes.filter_map(|p| p.file_name().to_str()?.parse().ok()).collect();
    // A service's own process before process 1, which keeps the listening socket of every unit.
    pids.sort_unstable_by_key(|p| std::cmp::Reverse(*p));
    let holders = pids.into_iter().filter(|pid| holds(*pid, &wanted)).map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Holder { pid, name: name.trim().to_owned() }
    });
    named(holders)
}

/// In parentheses is the name of a child of systemd that has not become its program yet: until then it has all that process
/// 1 has.
fn named(mut holders: impl Iterator<Item = Holder>) -> Option<Holder> {
    holders.find(|holder| !holder.name.starts_with('('))
}

fn holds(pid: u32, socket: &str) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(socket)))
}

/// The inode of the socket on this port in the text of /proc/net/{tcp,udp} (proc(5)).
fn socket_inode(table: &str, port: Port) -> Option<u64> {
    const TCP_LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, number) = fields.next()?.split_once(':')?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes());
        let same_address =
            address.is_unspecified() || port.address.ip().is_unspecified() || address == *port.address.ip();
        let same = u16::from_str_radix(number, 16).ok()? == port.address.port() && same_address;
        (same && (!port.stream || state == TCP_LISTEN)).then_some(inode)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_child_of_systemd_that_is_on_its_way_names_nobody() {
        let holder = |(pid, name): (u32, &str)| Holder { pid, name: name.to_owned() };
        let of = |all: &[(u32, &str)]| named(all.iter().copied().map(holder)).map(|holder| holder.pid);
        assert_eq!(of(&[(107, "(rent-log)"), (1, "systemd")]), Some(1));
        assert_eq!(of(&[(107, "rsyslogd"), (1, "systemd")]), Some(107));
        assert_eq!(of(&[(107, "(rent-log)")]), None);
    }

    #[test]
    fn a_port_in_use_is_seen_with_its_holder() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = socket.local_addr().unwrap() else { unreachable!() };
        let port = Port { name: "tracker", stream: false, address, on_interface: false };
        assert_eq!(try_port(port, "lo"), Err(Errno::EADDRINUSE));
        assert_eq!(holder(port).map(|h| h.pid), Some(std::process::id()));
        drop(socket);
        assert_eq!(try_port(port, "lo"), Ok(()));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { unreachable!() };
        let port = Port { name: "seed", stream: true, address, on_interface: false };
        assert_eq!(try_port(port, "lo"), Err(Errno::EADDRINUSE));
        assert_eq!(holder(port).map(|h| h.pid), Some(std::process::id()));
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             511: 00000000:0045 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000 0\n";
        let address: SocketAddrV4 = "10.0.0.1:69".parse().unwrap();
        let port = Port { name: "tftp", stream: false, address, on_interface: false };
        assert_eq!(socket_inode(table, port), Some(4711));
        let other = Port { address: "10.0.0.1:67".parse().unwrap(), ..port };
        assert_eq!(socket_inode(table, other), None);
    }
}
