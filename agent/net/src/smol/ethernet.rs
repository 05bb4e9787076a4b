//! Ethernet under smoltcp: who has which card, asked in parallel and learned from traffic. Decides where a packet goes on
//! the link; never looks into it.
//!
//! smoltcp's own neighbour cache has eight entries and asks once a second for all of them together: fifty peers would take
//! fifty seconds to be found. So smoltcp sees an IP device, and ARP (RFC 826) is done here.

use super::limits::{ASK_AGAIN, MAX_NEIGHBOURS, MTU, NEIGHBOUR_AGE, WAITING_PACKETS};
use boottorrent_swarm::Mac;
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::{Duration, Instant};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

const HEADER: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
/// Hardware, protocol and their address lengths: what begins every ARP packet of IPv4 on Ethernet.
const ARP_KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_LENGTH: usize = 28;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const BROADCAST: Mac = Mac([0xff; 6]);

/// A link that carries Ethernet frames without their check sum. What it can't carry it drops, as a wire would.
pub trait Frames {
    /// Replaces `frame` with the next one that has come; whether there was one.
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool;

    /// Sends a frame.
    fn send(&mut self, frame: &[u8]);
}

/// Where this host stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub mac: Mac,
    pub address: Ipv4Addr,
    pub prefix_length: u8,
    /// Where packets to other networks go; none: nowhere.
    pub router: Option<Ipv4Addr>,
}

impl Place {
    fn mask(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix_length.min(32))).unwrap_or(0)
    }

    fn is_near(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.address.to_bits()) & self.mask() == 0
    }

    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        let last =
            self.prefix_length < 31 && self.is_near(address) && address.to_bits() | self.mask() == u32::MAX;
        address.is_broadcast() || last
    }
}

#[derive(Default)]
struct Neighbour {
    mac: Option<Mac>,
    /// When it last sent us anything.
    heard: Option<Instant>,
    asked: Option<Instant>,
    /// Frames that lack only their destination.
    waiting: Vec<Vec<u8>>,
}

/// Everything but the frame that is being read: smoltcp may answer while it still reads.
struct Sender<F> {
    frames: F,
    place: Place,
    now: Instant,
    neighbours: BTreeMap<Ipv4Addr, Neighbour>,
    frame: Vec<u8>,
}

/// An IP device on a link of Ethernet frames.
pub struct Ethernet<F> {
    sender: Sender<F>,
    received: Vec<u8>,
}

impl<F: Frames> Ethernet<F> {
    pub fn new(frames: F, place: Place) -> Ethernet<F> {
        let neighbours = BTreeMap::new();
        let sender = Sender { frames, place, now: Instant::ZERO, neighbours, frame: Vec::new() };
        Ethernet { sender, received: Vec::new() }
    }

    /// The link itself.
    pub fn frames(&mut self) -> &mut F {
        &mut self.sender.frames
    }

    #[must_use]
    pub fn place(&self) -> Place {
        self.sender.place
    }
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.first_chunk().map(|m| Mac(*m))
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk().map(|a: &[u8; 4]| Ipv4Addr::from(*a))
}

impl<F: Frames> Sender<F> {
    /// Whether the frame is an IP packet for us; ARP is dealt with, all else is dropped.
    fn sort(&mut self, frame: &[u8]) -> bool {
        let Some((head, body)) = frame.split_at_checked(HEADER) else { return false };
        let (Some(to), Some(from)) = (mac(&head[..6]), mac(&head[6..12])) else { return false };
        // A packet socket may show us what we sent.
        if from == self.place.mac || (to != self.place.mac && to.0[0] & 1 == 0) {
            return false;
        }
        if head[12..] == ARP {
            self.arp(body);
            return false;
        }
        if head[12..] != IPV4 {
            return false;
        }
        if to == self.place.mac
            && let Some(source) = body.get(12..16).and_then(address)
            && self.place.is_near(source)
        {
            self.learn(source, from);
        }
        true
    }

    fn arp(&mut self, body: &[u8]) {
        let Some(packet) = body.first_chunk::<ARP_LENGTH>().filter(|p| p[..6] == ARP_KIND) else { return };
        let (Some(from), Some(source)) = (mac(&packet[8..]), address(&packet[14..])) else { return };
        if address(&packet[24..]) != Some(self.place.address) || !self.place.is_near(source) {
            return;
        }
        // An address probe (RFC 5227) has no source, and a neighbour's card is no group.
        if !source.is_unspecified() && from.0[0] & 1 == 0 {
            self.learn(source, from);
        }
        if packet[6..8] == [0, REQUEST] {
            self.say(REPLY, from, from, source);
        }
    }

    fn say(&mut self, operation: u8, to: Mac, target: Mac, target_address: Ipv4Addr) {
        let own = self.place.mac.0;
        let mut frame = Vec::with_capacity(HEADER + ARP_LENGTH);
        frame.extend([to.0, own].as_flattened());
        frame.extend(ARP);
        frame.extend(ARP_KIND);
        frame.extend([0, operation]);
        frame.extend(own);
        frame.extend(self.place.address.octets());
        frame.extend(target.0);
        frame.extend(target_address.octets());
        self.frames.send(&frame);
    }

    fn neighbour(&mut self, who: Ipv4Addr) -> &mut Neighbour {
        if !self.neighbours.contains_key(&who) && self.neighbours.len() >= MAX_NEIGHBOURS {
            let oldest = self.neighbours.iter().min_by_key(|(_, n)| n.heard).map(|(who, _)| *who);
            oldest.map(|who| self.neighbours.remove(&who));
        }
        self.neighbours.entry(who).or_default()
    }

    fn learn(&mut self, who: Ipv4Addr, card: Mac) {
        let now = self.now;
        let neighbour = self.neighbour(who);
        (neighbour.mac, neighbour.heard, neighbour.asked) = (Some(card), Some(now), None);
        for mut frame in std::mem::take(&mut neighbour.waiting) {
            frame[..6].copy_from_slice(&card.0);
            self.frames.send(&frame);
        }
    }

    /// Sends `self.frame`, whose IP packet is there, and whose destination is not.
    fn forward(&mut self) {
        let Some(to) = self.frame.get(HEADER + 16..).and_then(address) else { return };
        self.frame[6..12].copy_from_slice(&self.place.mac.0);
        self.frame[12..HEADER].copy_from_slice(&IPV4);
        let [_, b, c, d] = to.octets();
        let group = if self.place.is_broadcast(to) {
            Some(BROADCAST)
        } else {
            to.is_multicast().then_some(Mac([1, 0, 0x5e, b & 0x7f, c, d])) // RFC 1112, 6.4
        };
        let card = match group {
            Some(card) => Some(card),
            None => {
                let hop = if self.place.is_near(to) { Some(to) } else { self.place.router };
                let Some(hop) = hop else { return };
                self.find(hop)
            }
        };
        if let Some(card) = card {
            self.frame[..6].copy_from_slice(&card.0);
            self.frames.send(&self.frame);
        }
    }

    /// The neighbour's card; where it is not known, `self.frame` waits for it.
    fn find(&mut self, hop: Ipv4Addr) -> Option<Mac> {
        let now = self.now;
        let frame = std::mem::take(&mut self.frame);
        let neighbour = self.neighbour(hop);
        let card = neighbour.mac;
        let ask = neighbour.heard.is_none_or(|at| now - at > Duration::from(NEIGHBOUR_AGE));
        let ask = ask && neighbour.asked.is_none_or(|at| now - at >= Duration::from(ASK_AGAIN));
        if ask {
            neighbour.asked = Some(now);
        }
        if card.is_some() {
            self.frame = frame;
        } else if neighbour.waiting.len() < WAITING_PACKETS {
            neighbour.waiting.push(frame);
        }
        if ask {
            self.say(REQUEST, BROADCAST, Mac([0; 6]), hop);
        }
        card
    }
}

impl<F: Frames> phy::Device for Ethernet<F> {
    type RxToken<'a>
        = Received<'a>
    where
        F: 'a;
    type TxToken<'a>
        = Sending<'a, F>
    where
        F: 'a;

    fn receive(&mut self, now: Instant) -> Option<(Received<'_>, Sending<'_, F>)> {
        self.sender.now = now;
        loop {
            if !self.sender.frames.receive(&mut self.received) {
                return None;
            }
            if self.sender.sort(&self.received) {
                return Some((Received(&self.received[HEADER..]), Sending(&mut self.sender)));
            }
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Sending<'_, F>> {
        self.sender.now = now;
        Some(Sending(&mut self.sender))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

/// A packet that has come.
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, C: FnOnce(&[u8]) -> R>(self, f: C) -> R {
        f(self.0)
    }
}

/// A packet that is to leave.
pub struct Sending<'a, F>(&'a mut Sender<F>);

impl<F: Frames> phy::TxToken for Sending<'_, F> {
    fn consume<R, C: FnOnce(&mut [u8]) -> R>(self, length: usize, f: C) -> R {
        self.0.frame.clear();
        self.0.frame.resize(HEADER + length, 0);
        let result = f(&mut self.0.frame[HEADER..]);
        self.0.forward();
        result
    }
}

#[cfg(test)]
mod tests;
