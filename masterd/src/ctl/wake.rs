//! `boottorrentctl wake`: a magic packet to wherever a node may hear it, or the site's own command.
//! Decides the addresses; whether a machine then wakes is its firmware's matter, and nothing says so.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use boottorrent_swarm::Mac;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollTimeout, poll};
use nix::sys::socket::{SockaddrIn, setsockopt, sockopt};

use super::boot::{Next, Ordering};
use super::config::CtlConfig;
use super::hook::{self, End, Values};
use super::options::Options;
use super::sources::{Sources, Who};
use super::{Error, Verdict, print};
use crate::dhcp::config::Network;

/// Discard, the port that magic packets customarily go to; cards look at the bytes alone.
const PORT: u16 = 9;
/// Between two nodes: power supplies of a whole room need not start at the same moment.
const SPACING: Duration = Duration::from_millis(200);

pub(super) fn run(options: &Options, nodes: &[String], next: Option<&Next>) -> Result<Verdict, Error> {
    let sources = Sources::read(options)?;
    let whom = sources.whom(nodes)?;
    let config = &sources.config;
    let waker = if config.power.wake.is_empty() { Some(Waker::open(config)?) } else { None };
    let ordering = next.map(|next| Ordering::open(options, &sources, next)).transpose()?;
    let (mut verdict, mut unheard) = (Verdict::Good, None);
    for (number, who) in whom.iter().enumerate() {
        if number > 0 {
            let _interrupted = poll(&mut [], PollTimeout::try_from(SPACING).unwrap_or(PollTimeout::ZERO));
        }
        // Ordered first: a machine may be quick.
        let ordered = ordering.as_ref().map(|ordering| ordering.order(who)).transpose()?;
        let (end, sentence) = match &waker {
            Some(waker) => waker.wake(who),
            None => by_hook(&config.power.wake, who),
        };
        let ordered = ordered.map(|sentence| format!("{sentence}; ")).unwrap_or_default();
        // Whoever reads this may have seen enough; the machines are to be woken all the same.
        let told = print(&format!("{} ({}): {ordered}{sentence}\n", who.name, who.mac));
        unheard = unheard.or(told.err());
        match end {
            End::Good => {}
            End::Bad => verdict = Verdict::Wrong,
            End::Interrupted => {
                let left = whom.len() - number - 1;
                return Err(Error::Told(format!("interrupted; {left} more were to be woken")));
            }
        }
    }
    match unheard {
        Some(error) if verdict == Verdict::Good => Err(error),
        _ => Ok(verdict),
    }
}

/// Six bytes of ones and the MAC sixteen times (AMD, Magic Packet Technology, 1995).
fn magic_packet(mac: Mac) -> [u8; 102] {
    let mut packet = [0xff; 102];
    for copy in packet[6..].chunks_exact_mut(6) {
        copy.copy_from_slice(&mac.0);
    }
    packet
}

/// Where a packet goes, and whether by the boot network's card whatever the routes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broadcast {
    address: Ipv4Addr,
    on_interface: bool,
}

impl fmt::Display for Broadcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The limited broadcast of the boot network and its directed one; for a node that lives or may live behind a relay also
/// that of its subnet, which a router forwards if it is told to (RFC 2644).
fn broadcasts(config: &CtlConfig, own: Option<Ipv4Addr>, node: Option<Ipv4Addr>) -> Vec<Broadcast> {
    let mut all = vec![Broadcast { address: Ipv4Addr::BROADCAST, on_interface: true }];
    let holds_node = |network: &Network| node.is_none_or(|address| network.contains(address));
    let anywhere = !config.networks.iter().any(holds_node);
    for network in &config.networks {
        let is_ours = network.contains(config.address);
        let may_hear = anywhere || is_ours || holds_node(network);
        // Two hosts or one have no broadcast address (RFC 3021).
        if network.prefix() < 31 && may_hear {
            all.push(Broadcast { address: network.broadcast(), on_interface: is_ours });
        }
    }
    // Without DHCP the site names no network: the card has one.
    if let Some(address) = own.filter(|_| config.networks.is_empty()) {
        all.push(Broadcast { address, on_interface: true });
    }
    all
}

/// The sockets that packets leave by.
struct Waker<'a> {
    config: &'a CtlConfig,
    bound: UdpSocket,
    routed: UdpSocket,
    /// The card's own broadcast address.
    own: Option<Ipv4Addr>,
}

impl<'a> Waker<'a> {
    fn open(config: &'a CtlConfig) -> Result<Self, Error> {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            socket.set_broadcast(true)?;
            Ok(socket)
        };
        let told = |e: io::Error| Error::Told(format!("no socket to send from: {e}"));
        let (bound, routed) = (socket().map_err(told)?, socket().map_err(told)?);
        let interface = &config.interface;
        setsockopt(&bound, sockopt::BindToDevice, &interface.into()).map_err(|e| {
            Error::Told(match e {
                Errno::ENODEV => format!("there is no interface {interface} here; `ip link` lists them"),
                Errno::EPERM => format!("sending by interface {interface} needs root here"),
                e => format!("cannot send by interface {interface}: {e}"),
            })
        })?;
        Ok(Self { config, bound, routed, own: own_broadcast(interface) })
    }

    fn wake(&self, who: &Who) -> (End, String) {
        let packet = magic_packet(who.mac);
        let (mut sent, mut failed) = (Vec::new(), Vec::new());
        for to in broadcasts(self.config, self.own, who.address) {
            let socket = if to.on_interface { &self.bound } else { &self.routed };
            match socket.send_to(&packet, SocketAddrV4::new(to.address, PORT)) {
                Ok(_) => sent.push(to.to_string()),
                Err(e) => failed.push(format!("{to} cannot be reached ({e})")),
            }
        }
        let end = if failed.is_empty() { End::Good } else { End::Bad };
        (end, sentence(&self.config.interface, &sent, &failed))
    }
}

fn sentence(interface: &str, sent: &[String], failed: &[String]) -> String {
    let mut sentence = match sent {
        [] => "no magic packet sent".to_owned(),
        sent => format!("magic packet sent to UDP {PORT} of {} from {interface}", sent.join(" and ")),
    };
    for failure in failed {
        sentence.push_str("; ");
        sentence.push_str(failure);
    }
    sentence
}

fn own_broadcast(interface: &str) -> Option<Ipv4Addr> {
    let entries = getifaddrs().ok()?.filter(|entry| entry.interface_name == interface);
    let broadcast = entries.filter_map(|entry| entry.broadcast?.as_sockaddr_in().map(SockaddrIn::ip));
    broadcast.into_iter().find(|address| !address.is_unspecified())
}

fn by_hook(command: &[String], who: &Who) -> (End, String) {
    let (mac, address) = (who.mac.to_string(), who.address.map(|address| address.to_string()));
    let values = Values { mac: &mac, name: &who.name, address: address.as_deref() };
    let words: Result<Vec<String>, _> = command.iter().map(|word| hook::fill(word, values)).collect();
    match words {
        Ok(words) => {
            let ended = hook::run(&words);
            (ended.end, format!("{} {}", words.first().map_or("", String::as_str), ended.sentence))
        }
        Err(e) => (End::Bad, format!("[power] wake: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::sources::tests::config;

    fn to(config: &CtlConfig, node: Option<[u8; 4]>) -> Vec<(String, bool)> {
        let own = Some(Ipv4Addr::new(10, 9, 255, 255));
        let all = broadcasts(config, own, node.map(Ipv4Addr::from));
        all.iter().map(|b| (b.to_string(), b.on_interface)).collect()
    }

    #[test]
    fn the_packet_is_the_mac_sixteen_times() {
        let packet = magic_packet(Mac([0x52, 0x54, 0, 0, 0, 1]));
        assert_eq!(packet[..6], [0xff; 6]);
        assert!(packet[6..].chunks(6).all(|copy| copy == [0x52, 0x54, 0, 0, 0, 1]));
    }

    #[test]
    fn packets_go_where_the_node_may_be() {
        let mut config = config();
        let to_all = |address: &str, on_interface| (address.to_owned(), on_interface);
        let limited = to_all("255.255.255.255", true);
        let (near, far) = (to_all("10.0.0.255", true), to_all("10.0.1.255", false));
        assert_eq!(to(&config, Some([10, 0, 0, 11])), [limited.clone(), near.clone()]);
        let all = [limited.clone(), near, far];
        assert_eq!(to(&config, Some([10, 0, 1, 12])), all);
        assert_eq!(to(&config, None), all, "it may be anywhere");
        assert_eq!(to(&config, Some([192, 0, 2, 1])), all, "an address of no subnet says nothing");
        config.networks.clear();
        assert_eq!(to(&config, None), [limited, to_all("10.9.255.255", true)]);
    }

    #[test]
    fn a_hook_runs_once_for_a_node_and_says_how_it_ended() {
        let who = Who { mac: Mac([2, 0, 0, 0, 0, 1]), name: "n01".into(), address: None };
        let words = ["sh", "-c", "echo \"$0 $1\"; exit 4", "{mac}", "{name}"].map(str::to_owned);
        assert_eq!(by_hook(&words, &who), (End::Bad, "sh ended with status 4: 02:00:00:00:00:01 n01".into()));
        let (end, sentence) = by_hook(&["echo".to_owned(), "{address}".to_owned()], &who);
        assert!(end == End::Bad && sentence.contains("gives this node no address"), "{sentence}");
    }

    #[test]
    fn what_was_sent_and_what_was_not_is_one_sentence() {
        let failed = ["10.0.1.255 cannot be reached (no route)".to_owned()];
        assert_eq!(
            sentence("eth0", &["255.255.255.255".to_owned()], &failed),
            "magic packet sent to UDP 9 of 255.255.255.255 from eth0; 10.0.1.255 cannot be reached (no route)"
        );
    }
}
