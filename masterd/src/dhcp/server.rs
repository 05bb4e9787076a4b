//! The server's decisions (RFC 2131 4.3): a message in; an answer, a record for the journal and notices out.
//! It opens nothing, reads no clock and writes no log.

use std::net::{Ipv4Addr, SocketAddrV4};

use boottorrent_swarm::{Mac, Time};
use dhcproto::v4::MessageType;
use serde::Serialize;

use super::answer::{Answer, CLIENT_PORT, Reply, Verdict, answer};
use super::boot::{BootClient, BootTimes, architectures};
use super::config::DhcpConfig;
use super::leases::{Lease, Leases, QUARANTINE, Record, Use};
use super::once::{self, Book, Effect, Once};
use super::origin::{Origin, Origins, Told};
use super::packet::{Request, code};
use super::plan::Plan;
use crate::orders::{Author, Order};

/// Where a message came from; for people only, since everything that is decided stands in the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival {
    pub(super) from: SocketAddrV4,
}

/// What happened, so often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counters {
    pub(super) discovers: u64,
    pub(super) offers: u64,
    pub(super) requests: u64,
    pub(super) acks: u64,
    pub(super) naks: u64,
    pub(super) declines: u64,
    pub(super) releases: u64,
    pub(super) informs: u64,
    pub(super) malformed: u64,
    pub(super) ignored: u64,
}

/// Something that people should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    Info(String),
    Warning { kind: &'static str, detail: String },
}

/// Everything that follows from one message. The record must be on disk before the reply is sent.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) reply: Option<Reply>,
    pub(super) record: Option<Record>,
    pub(super) notices: Vec<Notice>,
}

impl Outcome {
    fn warning(kind: &'static str, detail: String) -> Self {
        Self { notices: vec![Notice::Warning { kind, detail }], ..Self::default() }
    }
}

#[derive(Debug)]
pub(super) struct Server {
    plan: Plan,
    leases: Leases,
    origins: Origins,
    once: Once,
    booting: BootTimes,
    counters: Counters,
}

impl Server {
    pub(super) fn new(config: DhcpConfig) -> Self {
        let plan = Plan::new(config);
        let leases = Leases::new(&plan);
        Self {
            plan,
            leases,
            origins: Origins::default(),
            once: Once::default(),
            booting: BootTimes::default(),
            counters: Counters::default(),
        }
    }

    /// What the journal says. Call it before the first message.
    pub(super) fn replay(&mut self, records: &[Record], now: Time) {
        let longest =
            std::time::Duration::from_secs(u64::from(self.plan.longest_lease_seconds())).max(QUARANTINE);
        for record in records {
            self.leases.replay(&self.plan, *record, now + longest);
        }
    }

    /// Where the nodes were that an earlier run gave leases to, and when they booted. Call it after `replay`.
    pub(super) fn recall(&mut self, told: Vec<Told>) {
        self.booting.recall(&told);
        self.origins.recall(told);
        self.forget_origins();
    }

    /// Of nodes that have no lease any more.
    pub(super) fn forget_origins(&mut self) {
        self.origins.retain(|address, mac| self.leases.last_of(mac) == Some(address));
        self.booting.retain(|mac| self.leases.last_of(mac).is_some());
    }

    /// When firmware of the holder of a lease was last given it.
    pub(super) fn booted(&self, lease: &Lease) -> Option<Time> {
        self.booting.of(lease.mac?)
    }

    /// Where the holder of a lease is plugged in, if a relay has said it.
    pub(super) fn origin(&self, lease: &Lease) -> Option<&Origin> {
        self.origins.of(lease.address, lease.mac?)
    }

    /// A new generation of the site: leases stay.
    pub(super) fn reconfigure(&mut self, config: DhcpConfig, now: Time) {
        self.plan = Plan::new(config);
        self.leases.adopt(&self.plan, now);
    }

    /// The machine's clock was set: `from` has become `to`.
    pub(super) fn clock_set(&mut self, from: Time, to: Time) {
        self.leases.shift(&self.plan, from, to);
        self.booting.shift(from, to);
        // What was given holds for a minute: too short to be worth following.
        self.once = Once::default();
    }

    /// The shortest journal that says what this server knows.
    pub(super) fn records(&self) -> Vec<Record> {
        self.leases.records()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn current_leases(&self, now: Time) -> Vec<Lease> {
        self.leases.current(now)
    }

    pub(super) fn usage(&self, subnet: usize, now: Time) -> Use {
        self.leases.usage(&self.plan, subnet, now)
    }

    /// One datagram. `now` counts from 1970; in `book` are the orders for next boots.
    pub(super) fn handle(
        &mut self,
        now: Time,
        packet: &[u8],
        arrival: &Arrival,
        book: &mut dyn Book,
    ) -> Outcome {
        let request = match Request::parse(packet) {
            Ok(request) => request,
            Err(why) => {
                self.counters.malformed += 1;
                return Outcome::warning("malformed packet", format!("from {}: {why}", arrival.from));
            }
        };
        let subnet = match self.plan.subnet_for(&request) {
            Ok(subnet) => subnet,
            Err(address) => {
                self.counters.ignored += 1;
                let mac = request.mac;
                let detail = format!("{mac} by {}: {address} lies in no subnet of this site", arrival.from);
                return Outcome::warning("message from a foreign network", detail);
            }
        };
        match request.kind {
            MessageType::Discover => self.discover(now, subnet, &request, book),
            MessageType::Request => self.request(now, subnet, &request, book),
            MessageType::Decline => self.decline(now, &request),
            MessageType::Release => self.release(now, &request),
            _ => self.inform(now, subnet, &request, arrival, book),
        }
    }

    fn discover(&mut self, now: Time, subnet: usize, request: &Request, book: &mut dyn Book) -> Outcome {
        self.counters.discovers += 1;
        let mac = request.mac;
        let wish = request.address(code::REQUESTED_ADDRESS);
        let address = match self.leases.choose(&self.plan, subnet, mac, wish, now) {
            Ok(address) => address,
            Err(exhausted) => {
                self.counters.ignored += 1;
                let network = self.plan.subnet(subnet).network;
                let next = match exhausted.next {
                    Some(at) => format!("the next becomes free in {} s", at.since(now).as_secs() + 1),
                    None => "it has no range".to_owned(),
                };
                let detail =
                    format!("{network} has none for {mac}: {next}; widen its range or shorten lease-time");
                return Outcome::warning("no free address", detail);
            }
        };
        self.leases.offer(&self.plan, address, mac, now);
        self.counters.offers += 1;
        let effect = self.once.effect(now, request, self.booting.of(mac), book);
        let mut outcome = self.say(subnet, request, Verdict::Offer { address }, effect);
        if let Some(own) = self.plan.reservation(subnet, mac).filter(|own| *own != address) {
            let detail = format!(
                "{mac} is offered {address}, since {own} is in use by another node until its lease ends"
            );
            outcome.notices.push(Notice::Warning { kind: "reserved address in use", detail });
        }
        if let Some(client) = BootClient::of(request)
            && client.file(request, self.plan.boot_rules()).is_none()
            && !self.plan.options(subnet, mac).contains_key(&code::BOOT_FILE)
        {
            let detail = format!("{mac} has architecture {:?} (option 93)", architectures(request));
            outcome.notices.push(Notice::Warning { kind: "no boot file for this firmware", detail });
        }
        outcome
    }

    /// RFC 2131 4.3.2 tells the four kinds of REQUEST apart by what they carry.
    fn request(&mut self, now: Time, subnet: usize, request: &Request, book: &mut dyn Book) -> Outcome {
        self.counters.requests += 1;
        let wish = request.address(code::REQUESTED_ADDRESS);
        let has = Some(request.ciaddr).filter(|ciaddr| !ciaddr.is_unspecified());
        match (request.address(code::SERVER_ID), wish.or(has)) {
            (Some(server), _) if server != self.plan.server() => {
                self.counters.ignored += 1;
                let detail =
                    format!("{} took the offer of {server}; two servers on one network quarrel", request.mac);
                Outcome::warning("another DHCP server", detail)
            }
            (_, None) => {
                self.counters.malformed += 1;
                Outcome::warning("malformed packet", format!("{} requests no address", request.mac))
            }
            (Some(_), Some(address)) => self.select(now, subnet, request, address, book),
            (None, Some(address)) if has.is_none() => self.init_reboot(now, subnet, request, address, book),
            (None, Some(_)) => self.renew(now, subnet, request, book),
        }
    }

    /// SELECTING: the client accepts our offer.
    fn select(
        &mut self,
        now: Time,
        subnet: usize,
        request: &Request,
        address: Ipv4Addr,
        book: &mut dyn Book,
    ) -> Outcome {
        let own = self.plan.reservation(subnet, request.mac);
        let own = own.filter(|own| self.leases.may_have(&self.plan, subnet, *own, request.mac, now));
        if own.is_some_and(|own| own != address) {
            return self.refuse(subnet, request, "another address is reserved for this node");
        }
        if !self.leases.may_have(&self.plan, subnet, address, request.mac, now) {
            return self.refuse(subnet, request, self.plan.obstacle(subnet, address, request.mac));
        }
        self.acknowledge(now, subnet, request, address, book)
    }

    /// INIT-REBOOT: the client remembers an address. Without a record of it we stay silent, as the RFC demands.
    fn init_reboot(
        &mut self,
        now: Time,
        subnet: usize,
        request: &Request,
        address: Ipv4Addr,
        book: &mut dyn Book,
    ) -> Outcome {
        if !self.plan.subnet(subnet).network.contains(address) {
            return self.refuse(subnet, request, "the address belongs to another network");
        }
        let own = self.plan.reservation(subnet, request.mac).or_else(|| self.leases.last_of(request.mac));
        match own {
            None => {
                self.counters.ignored += 1;
                Outcome::default()
            }
            Some(own) if own == address => self.select(now, subnet, request, address, book),
            Some(_) => self.refuse(subnet, request, "this node has another address"),
        }
    }

    /// RENEWING and REBINDING: the client goes on with its address unless somebody else has a right to it. A lease that
    /// the journal lost is taken up again, so that a running system keeps its network.
    fn renew(&mut self, now: Time, subnet: usize, request: &Request, book: &mut dyn Book) -> Outcome {
        let address = request.ciaddr;
        if self.leases.may_have(&self.plan, subnet, address, request.mac, now) {
            self.acknowledge(now, subnet, request, address, book)
        } else {
            self.refuse(subnet, request, self.plan.obstacle(subnet, address, request.mac))
        }
    }

    fn acknowledge(
        &mut self,
        now: Time,
        subnet: usize,
        request: &Request,
        address: Ipv4Addr,
        book: &mut dyn Book,
    ) -> Outcome {
        let mac = request.mac;
        let options = self.plan.options(subnet, mac);
        let seconds = self.plan.lease_seconds(&options, request);
        let renewed = self.leases.last_of(mac) == Some(address);
        let until = now + std::time::Duration::from_secs(u64::from(seconds));
        let record = self.leases.lease(&self.plan, address, mac, until);
        self.origins.acknowledged(address, request);
        self.booting.acknowledged(now, request);
        self.counters.acks += 1;
        let effect = self.once.effect(now, request, self.booting.of(mac), book);
        self.once.acknowledged(request);
        let mut outcome = self.say(subnet, request, Verdict::Ack { address }, effect);
        outcome.record = Some(record);
        if !renewed {
            outcome.notices.push(Notice::Info(format!("{} has {address} for {seconds} s", self.whom(mac))));
        }
        outcome
    }

    /// `52:54:00:00:00:01 (n01)`
    fn whom(&self, mac: Mac) -> String {
        let name = self.plan.node(mac).and_then(|node| node.name.as_deref());
        name.map_or_else(|| mac.to_string(), |name| format!("{mac} ({name})"))
    }

    fn refuse(&mut self, subnet: usize, request: &Request, why: &str) -> Outcome {
        self.counters.naks += 1;
        let wish = request.address(code::REQUESTED_ADDRESS).unwrap_or(request.ciaddr);
        let mut outcome = self.say(subnet, request, Verdict::Nak { why }, None);
        let detail = format!("{wish} for {}: {why}", request.mac);
        outcome.notices.push(Notice::Warning { kind: "address refused", detail });
        outcome
    }

    fn decline(&mut self, now: Time, request: &Request) -> Outcome {
        let ours = request.address(code::SERVER_ID).is_none_or(|server| server == self.plan.server());
        let address = request.address(code::REQUESTED_ADDRESS).filter(|_| ours);
        let Some((address, record)) =
            address.and_then(|a| Some((a, self.leases.decline(&self.plan, a, request.mac, now)?)))
        else {
            self.counters.ignored += 1;
            return Outcome::default();
        };
        self.counters.declines += 1;
        let minutes = QUARANTINE.as_secs() / 60;
        let detail =
            format!("{address} answered {} already; nobody gets it for {minutes} minutes", request.mac);
        Outcome { record: Some(record), ..Outcome::warning("address used without a lease", detail) }
    }

    fn release(&mut self, now: Time, request: &Request) -> Outcome {
        let ours = request.address(code::SERVER_ID).is_none_or(|server| server == self.plan.server());
        let record =
            ours.then(|| self.leases.release(&self.plan, request.ciaddr, request.mac, now)).flatten();
        match record {
            Some(_) => self.counters.releases += 1,
            None => self.counters.ignored += 1,
        }
        Outcome { record, ..Outcome::default() }
    }

    fn inform(
        &mut self,
        now: Time,
        subnet: usize,
        request: &Request,
        arrival: &Arrival,
        book: &mut dyn Book,
    ) -> Outcome {
        self.counters.informs += 1;
        // Nobody asks for another machine: it asks itself, from its own address and the port that only its system has.
        let is_itself = self.leases.last_of(request.mac) == Some(request.ciaddr)
            && request.giaddr.is_unspecified()
            && arrival.from == SocketAddrV4::new(request.ciaddr, CLIENT_PORT);
        let order = once::asked(now, request).filter(|order| is_itself && book.put(request.mac, order));
        let effect = order.map(|order| Effect { order, is_new: true });
        self.say(subnet, request, Verdict::Inform, effect)
    }

    fn say(&self, subnet: usize, request: &Request, verdict: Verdict<'_>, effect: Option<Effect>) -> Outcome {
        let order = effect.as_ref().map(|effect| &effect.order);
        let Answer { reply, left_out } = answer(&self.plan, subnet, request, verdict, order);
        let mut outcome = Outcome { reply: Some(reply), ..Outcome::default() };
        if let Some(Effect { order, is_new: true }) = &effect {
            let asks = matches!(verdict, Verdict::Inform);
            outcome.notices.push(Notice::Info(self.order_in_words(request.mac, order, asks)));
        }
        if !left_out.is_empty() {
            let mac: Mac = request.mac;
            let detail = format!("for {mac}, left out: {left_out:?}; shorten them or remove some");
            outcome
                .notices
                .push(Notice::Warning { kind: "options do not fit the client's message size", detail });
        }
        outcome
    }

    fn order_in_words(&self, mac: Mac, order: &Order, asks: bool) -> String {
        let (who, what) = (self.whom(mac), order.in_words());
        if asks {
            return format!("{who} asks to boot {what} next time");
        }
        let by = match order.by {
            Author::Master => "ordered by boottorrentctl",
            Author::Node => "as it has asked",
        };
        format!("{who} is told to boot {what} this time, {by}")
    }
}

#[cfg(test)]
mod tests;
