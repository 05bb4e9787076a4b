//! The advertiser's decisions for the fuzz targets (tests/fuzz): a packet in, whom to answer out. Opens nothing; no
//! program uses it.

use std::net::Ipv6Addr;

use boottorrent_swarm::Time;

use super::answer::{Answer, Answerer};

/// Whom the answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Nothing,
    ToAll,
    To(Ipv6Addr),
    /// The packet was malformed, or one too many.
    Counted,
}

/// An advertiser without its socket.
#[derive(Debug, Default)]
pub struct Probe {
    answerer: Answerer,
}

impl Probe {
    pub fn packet(&mut self, now: Time, from: Ipv6Addr, hop_limit: Option<u8>, packet: &[u8]) -> Sent {
        match self.answerer.packet(now, from, hop_limit, packet) {
            Ok(answer) => sent(answer),
            Err(_) => Sent::Counted,
        }
    }

    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.answerer.due()
    }

    pub fn expired(&mut self, now: Time) -> Sent {
        sent(self.answerer.expired(now))
    }

    /// The real router that is left to answer.
    #[must_use]
    pub fn router(&self, now: Time) -> Option<Ipv6Addr> {
        self.answerer.router(now)
    }
}

fn sent(answer: Option<Answer>) -> Sent {
    match answer {
        None => Sent::Nothing,
        Some(Answer::Multicast) => Sent::ToAll,
        Some(Answer::Unicast(to)) => Sent::To(to),
    }
}
