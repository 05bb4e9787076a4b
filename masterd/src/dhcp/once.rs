//! A node's next boot where somebody has ordered it: which messages an order changes, and when it has done its work.
//! It opens nothing: orders lie with whoever keeps them.

use std::collections::HashMap;
use std::time::Duration;

use boottorrent_swarm::next_boot::{NextBoot, OPTION, VENDOR_CLASS};
use boottorrent_swarm::{Mac, Time};

use super::boot::BootClient;
use super::packet::{Request, code};
use crate::orders::{Author, Order};

/// One boot asks more than once: firmware that has no answer which it likes goes on for a minute (4, 8, 16 and 32 s,
/// PXE 2.1), and an answer may be lost. So long an order that was given holds for that boot.
const ONE_BOOT: Duration = Duration::from_secs(60);
/// A node that asks is about to reboot; a large server tests its memory for some minutes first.
const ASKED_FOR: Duration = Duration::from_secs(900);

/// Where orders lie.
pub(super) trait Book {
    fn find(&mut self, mac: Mac) -> Option<Order>;
    fn remove(&mut self, mac: Mac);
    /// Whether it is kept.
    fn put(&mut self, mac: Mac, order: &Order) -> bool;
}

/// For tests and probes.
impl Book for HashMap<Mac, Order> {
    fn find(&mut self, mac: Mac) -> Option<Order> {
        self.get(&mac).cloned()
    }

    fn remove(&mut self, mac: Mac) {
        HashMap::remove(self, &mac);
    }

    fn put(&mut self, mac: Mac, order: &Order) -> bool {
        self.insert(mac, order.clone());
        true
    }
}

/// Who can follow an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// Firmware or iPXE: without a boot file it goes on to the disk.
    Boot,
    /// Our own agent: it knows the images by name.
    Agent,
}

impl Asker {
    /// None: a system that has booted. A renewal is none's boot either.
    fn of(request: &Request) -> Option<Self> {
        if !request.ciaddr.is_unspecified() {
            None
        } else if BootClient::of(request).is_some() {
            Some(Self::Boot)
        } else {
            is_agent(request).then_some(Self::Agent)
        }
    }

    fn follows(self, order: &Order) -> bool {
        match order.next_boot() {
            NextBoot::LocalDisk => self == Self::Boot,
            NextBoot::Os(_) => self == Self::Agent,
        }
    }
}

fn is_agent(request: &Request) -> bool {
    request.option(code::VENDOR_CLASS) == Some(VENDOR_CLASS.as_bytes())
}

/// An order that was taken from its book and holds for the boot that goes on.
#[derive(Debug)]
struct Given {
    order: Order,
    at: Time,
    /// The exchange that was acknowledged with it: whoever asks in another one has started anew.
    acknowledged: Option<u32>,
}

impl Given {
    fn holds(&self, now: Time, asker: Asker, xid: u32) -> bool {
        let one_boot = now.since(self.at) < ONE_BOOT;
        match (self.order.next_boot(), asker) {
            (NextBoot::LocalDisk, Asker::Boot) => {
                one_boot && self.acknowledged.is_none_or(|last| last == xid)
            }
            (NextBoot::Os(_), Asker::Agent) => one_boot,
            _ => false,
        }
    }
}

/// What an order makes of one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Effect {
    pub(super) order: Order,
    /// It is followed for the first time: people should know.
    pub(super) is_new: bool,
}

#[derive(Debug, Default)]
pub(super) struct Once {
    given: HashMap<Mac, Given>,
}

impl Once {
    /// The order that the answer to this message follows. It is taken from the book with its first answer, so that
    /// nothing repeats it, whatever ends this server.
    pub(super) fn effect(&mut self, now: Time, request: &Request, book: &mut dyn Book) -> Option<Effect> {
        let (mac, asker) = (request.mac, Asker::of(request)?);
        if let Some(given) = self.given.get(&mac) {
            if given.holds(now, asker, request.xid) {
                return Some(Effect { order: given.order.clone(), is_new: false });
            }
            self.given.remove(&mac);
        }
        let order = book.find(mac)?;
        if Time(order.until.saturating_mul(1_000_000)) < now {
            book.remove(mac);
            return None;
        }
        if !asker.follows(&order) {
            return None;
        }
        book.remove(mac);
        self.given.retain(|_, given| now.since(given.at) < ONE_BOOT);
        self.given.insert(mac, Given { order: order.clone(), at: now, acknowledged: None });
        Some(Effect { order, is_new: true })
    }

    pub(super) fn acknowledged(&mut self, request: &Request) {
        if let Some(given) = self.given.get_mut(&request.mac) {
            given.acknowledged.get_or_insert(request.xid);
        }
    }
}

/// What an agent asks for in an INFORM: the boot after this one from its own disk.
pub(super) fn asked(now: Time, request: &Request) -> Option<Order> {
    let asked = request.option(OPTION).filter(|_| is_agent(request)).and_then(NextBoot::parse)?;
    let until = now + ASKED_FOR;
    (asked == NextBoot::LocalDisk).then_some(Order { os: None, until: until.0 / 1_000_000, by: Author::Node })
}

/// What an answer says of an order in words of our own: to agents.
pub(super) fn option(request: &Request, order: &Order) -> Option<(u8, Vec<u8>)> {
    is_agent(request).then(|| (OPTION, order.next_boot().emit()))
}

/// Whether the answer names no boot file, so that firmware goes on to the disk.
pub(super) fn hides_boot_file(request: &Request, order: &Order) -> bool {
    order.os.is_none() && BootClient::of(request).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::packet::tests::message;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
    const NOW: Time = Time(1_795_000_000_000_000);
    const PXE: &[(u8, &[u8])] = &[(60, b"PXEClient:Arch:00000")];
    const AGENT: &[(u8, &[u8])] = &[(60, b"boottorrent")];

    fn book(os: Option<&str>) -> HashMap<Mac, Order> {
        let until = NOW.0 / 1_000_000 + 3600;
        [(Mac(MAC), Order { os: os.map(str::to_owned), until, by: Author::Master })].into()
    }

    fn request(xid: u32, options: &[(u8, &[u8])]) -> Request {
        let mut packet = message(1, MAC, options);
        packet[4..8].copy_from_slice(&xid.to_be_bytes());
        Request::parse(&packet).unwrap()
    }

    fn at(seconds: u64) -> Time {
        NOW + Duration::from_secs(seconds)
    }

    fn says(once: &mut Once, book: &mut HashMap<Mac, Order>, now: Time, request: &Request) -> Option<bool> {
        once.effect(now, request, book).map(|effect| effect.is_new)
    }

    #[test]
    fn firmware_is_sent_to_the_disk_in_one_exchange() {
        let (mut once, mut book) = (Once::default(), book(None));
        assert_eq!(says(&mut once, &mut book, NOW, &request(1, AGENT)), None, "agents know no disk");
        assert_eq!(says(&mut once, &mut book, NOW, &request(1, PXE)), Some(true));
        assert!(book.is_empty(), "it is taken with the first answer");
        assert_eq!(says(&mut once, &mut book, at(4), &request(2, PXE)), Some(false), "it asks again");
        once.acknowledged(&request(2, PXE));
        assert_eq!(says(&mut once, &mut book, at(5), &request(2, PXE)), Some(false), "the answer was lost");
        assert_eq!(says(&mut once, &mut book, at(6), &request(3, PXE)), None, "the next boot");
        assert_eq!(says(&mut once, &mut book, at(6), &request(2, PXE)), None);
    }

    #[test]
    fn firmware_that_takes_no_offer_goes_on_for_a_minute() {
        let (mut once, mut book) = (Once::default(), book(None));
        for second in [0, 4, 12, 28, 59] {
            assert!(says(&mut once, &mut book, at(second), &request(second as u32, PXE)).is_some());
        }
        assert_eq!(says(&mut once, &mut book, at(61), &request(9, PXE)), None);
    }

    #[test]
    fn an_image_is_named_to_the_agent_until_the_machine_starts_again() {
        let (mut once, mut book) = (Once::default(), book(Some("debian")));
        assert_eq!(says(&mut once, &mut book, NOW, &request(1, PXE)), None, "firmware boots as usual");
        assert_eq!(says(&mut once, &mut book, at(9), &request(2, AGENT)), Some(true));
        once.acknowledged(&request(2, AGENT));
        assert_eq!(says(&mut once, &mut book, at(12), &request(3, AGENT)), Some(false), "a worker died");
        assert_eq!(says(&mut once, &mut book, at(20), &request(4, PXE)), None);
        assert_eq!(says(&mut once, &mut book, at(21), &request(5, AGENT)), None);
    }

    #[test]
    fn orders_end_and_a_renewal_takes_none() {
        let (mut once, mut book) = (Once::default(), book(Some("debian")));
        let mut renewal = request(1, AGENT);
        renewal.ciaddr = [10, 0, 0, 11].into();
        assert_eq!(says(&mut once, &mut book, NOW, &renewal), None);
        assert_eq!(says(&mut once, &mut book, NOW, &request(1, &[(60, b"udhcp")])), None);
        assert_eq!(says(&mut once, &mut book, at(3601), &request(1, AGENT)), None);
        assert!(book.is_empty(), "what came too late is gone");
    }

    #[test]
    fn an_agent_may_ask_for_its_own_disk_and_for_nothing_else() {
        let disk = NextBoot::LocalDisk.emit();
        let os = NextBoot::Os("debian".into()).emit();
        let order = asked(NOW, &request(1, &[(60, b"boottorrent"), (OPTION, &disk)])).unwrap();
        assert_eq!((order.os, order.until), (None, 1_795_000_900));
        assert_eq!(asked(NOW, &request(1, &[(60, b"boottorrent"), (OPTION, &os)])), None);
        assert_eq!(asked(NOW, &request(1, &[(60, b"other"), (OPTION, &disk)])), None);
        assert_eq!(asked(NOW, &request(1, AGENT)), None);
    }
}
