//! Who is answered, how and when: time and packets in, answers out.
//! Never answers while a real router is on the link: solicitations are its business then, and ours would only confuse.

use std::net::Ipv6Addr;
use std::time::Duration;

use boottorrent_swarm::Time;
use serde::Serialize;

use super::packet::{Invalid, Message, parse};

/// RFC 4861 section 10: MIN_DELAY_BETWEEN_RAS, for multicast ones.
const MULTICAST_PAUSE: Duration = Duration::from_secs(3);
/// Unicast answers: a room of a thousand nodes at once, then so many a second; more is no boot but a flood.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 200;
const COST: Duration = Duration::from_micros(1_000_000 / PER_SECOND as u64);

/// What is to be sent. There is no random delay before it (section 6.2.6 asks routers for up to 0.5 s, so that several
/// do not answer at once): we answer only where no router does, and the delay would be part of every boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To all nodes, where that is allowed: it arrives at once, while before a unicast the kernel must resolve the
    /// solicitor's address (iPXE on an e1000 leaves the first question unanswered, which costs a second).
    Multicast,
    /// To the solicitor itself, while multicasts have to pause: a room that is switched on needs a thousand answers
    /// within seconds.
    Unicast(Ipv6Addr),
}

/// Something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Oddity {
    Invalid(Invalid),
    TooMany,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counters {
    pub(super) solicitations: u64,
    pub(super) unicast: u64,
    pub(super) multicast: u64,
    /// Left to a router on the link.
    pub(super) left_to_router: u64,
}

#[derive(Debug, Default)]
pub(super) struct Answerer {
    pub(super) counters: Counters,
    router: Option<(Ipv6Addr, Time)>,
    multicast_last: Option<Time>,
    multicast_due: Option<Time>,
    /// The bucket of unicast answers is in debt until then (GCRA).
    spent_until: Time,
}

impl Answerer {
    pub(super) fn packet(
        &mut self,
        now: Time,
        from: Ipv6Addr,
        hop_limit: Option<u8>,
        packet: &[u8],
    ) -> Result<Option<Answer>, Oddity> {
        match parse(from, hop_limit, packet).map_err(Oddity::Invalid)? {
            Message::Advertisement { lifetime } => {
                self.heard_router(now, from, lifetime);
                Ok(None)
            }
            Message::Solicitation => self.solicited(now, from),
        }
    }

    /// A lifetime of 0 is of our own kind, or of a router that leaves.
    fn heard_router(&mut self, now: Time, from: Ipv6Addr, lifetime: Duration) {
        if !lifetime.is_zero() {
            self.router = Some((from, now + lifetime));
            self.multicast_due = None;
        } else if self.router.is_some_and(|(known, _)| known == from) {
            self.router = None;
        }
    }

    fn solicited(&mut self, now: Time, from: Ipv6Addr) -> Result<Option<Answer>, Oddity> {
        self.counters.solicitations += 1;
        if self.router(now).is_some() {
            self.counters.left_to_router += 1;
            return Ok(None);
        }
        let earliest = self.multicast_last.map_or(now, |last| last + MULTICAST_PAUSE);
        // Also behind a unicast answer, which may be lost or late: then this one serves all that still wait.
        self.multicast_due.get_or_insert(earliest.max(now));
        if let Some(multicast) = self.expired(now) {
            return Ok(Some(multicast));
        }
        if from.is_unspecified() {
            return Ok(None);
        }
        let after = self.spent_until.max(now) + COST;
        if after.since(now) > COST * BURST {
            return Err(Oddity::TooMany);
        }
        self.spent_until = after;
        self.counters.unicast += 1;
        Ok(Some(Answer::Unicast(from)))
    }

    /// The router on this link, while there is one.
    pub(super) fn router(&self, now: Time) -> Option<Ipv6Addr> {
        self.router.filter(|(_, until)| *until > now).map(|(address, _)| address)
    }

    /// When `expired` has something to send.
    pub(super) fn due(&self) -> Option<Time> {
        self.multicast_due
    }

    pub(super) fn expired(&mut self, now: Time) -> Option<Answer> {
        self.multicast_due.filter(|due| *due <= now)?;
        self.multicast_due = None;
        self.multicast_last = Some(now);
        self.counters.multicast += 1;
        Some(Answer::Multicast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ra::packet::no_router;

    const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];

    fn node(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n)
    }

    fn at(ms: u64) -> Time {
        Time(1_000_000_000 + ms * 1000)
    }

    fn solicit(a: &mut Answerer, now: Time, from: Ipv6Addr) -> Result<Option<Answer>, Oddity> {
        a.packet(now, from, Some(255), &SOLICITATION)
    }

    #[test]
    fn a_room_is_answered_at_once_and_a_flood_is_not() {
        let mut a = Answerer::default();
        assert_eq!(solicit(&mut a, at(0), node(1)), Ok(Some(Answer::Multicast)));
        for n in 1..=1000 {
            assert_eq!(solicit(&mut a, at(0), node(n)), Ok(Some(Answer::Unicast(node(n)))));
        }
        assert_eq!(solicit(&mut a, at(0), node(1)), Err(Oddity::TooMany));
        assert_eq!(solicit(&mut a, at(5), node(1)), Ok(Some(Answer::Unicast(node(1)))));
        // Whoever was left out is served by one answer to all.
        assert_eq!(a.due(), Some(at(3000)));
        assert_eq!(a.expired(at(3000)), Some(Answer::Multicast));
        assert_eq!(a.due(), None);
    }

    #[test]
    fn multicast_answers_are_3_s_apart_and_none_is_lost() {
        let mut a = Answerer::default();
        let nobody = Ipv6Addr::UNSPECIFIED;
        assert_eq!(solicit(&mut a, at(0), nobody), Ok(Some(Answer::Multicast)));
        assert_eq!(solicit(&mut a, at(100), nobody), Ok(None));
        assert_eq!(solicit(&mut a, at(200), nobody), Ok(None));
        assert_eq!(a.due(), Some(at(3000)));
        assert_eq!(a.expired(at(2999)), None);
        assert_eq!(a.expired(at(3000)), Some(Answer::Multicast));
        assert_eq!((a.due(), a.expired(at(9000))), (None, None));
    }

    #[test]
    fn a_real_router_is_left_alone_as_long_as_it_is_one() {
        let mut a = Answerer::default();
        let mut advertisement = no_router();
        advertisement[7] = 60;
        assert_eq!(a.packet(at(0), node(9), Some(255), &advertisement), Ok(None));
        assert_eq!(solicit(&mut a, at(59_999), node(1)), Ok(None));
        assert_eq!(a.router(at(59_999)), Some(node(9)));
        // Another one's end is not this one's.
        assert_eq!(a.packet(at(59_999), node(8), Some(255), &no_router()), Ok(None));
        assert_eq!(a.router(at(59_999)), Some(node(9)));
        assert_eq!(solicit(&mut a, at(60_000), node(1)), Ok(Some(Answer::Multicast)));
        a.packet(at(0), node(9), Some(255), &advertisement).unwrap();
        a.packet(at(1), node(9), Some(255), &no_router()).unwrap();
        assert_eq!(a.router(at(1)), None);
        assert_eq!(a.counters.left_to_router, 1);
    }

    #[test]
    fn forged_packets_change_nothing() {
        let mut a = Answerer::default();
        let mut advertisement = no_router();
        advertisement[7] = 60;
        for hop_limit in [None, Some(64), Some(254)] {
            let outcome = a.packet(at(0), node(9), hop_limit, &advertisement);
            assert_eq!(outcome, Err(Oddity::Invalid(Invalid::HopLimit)));
        }
        assert_eq!(a.router(at(0)), None);
    }
}
