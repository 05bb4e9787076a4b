//! A peer's side of BEP 15: connect, announce, and again when a datagram is lost.
//! Decides when to send (retries at 0.25, 0.5, 1 s: BEP 15's 15 s would ruin a boot); never opens a socket.

use super::{Announce, Request, Response};
use crate::Time;
use crate::graph::Rack;
use crate::rng::Rng;
use alloc::vec::Vec;
use core::net::SocketAddrV4;
use core::time::Duration;

/// The first wait for an answer; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// No wait of a booting node is longer.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Datagrams without an answer (about 4 s) before the caller hears of it and may ask another tracker.
const TRIES: u32 = 6;
/// How long a client may use a connection id (BEP 15: one minute).
const CONNECTION_AGE: Duration = Duration::from_secs(60);

/// How an announce ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Peers {
        interval_s: u32,
        leechers: u32,
        seeders: u32,
        peers: Vec<SocketAddrV4>,
        /// Ours, if the tracker has told it.
        rack: Option<Rack>,
    },
    /// The tracker said no, in its own words (untrusted bytes).
    Refused(Vec<u8>),
    /// No answer.
    Silent,
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Send(Vec<u8>),
    Done(Outcome),
}

#[derive(Debug, Clone)]
struct Pending {
    announce: Announce,
    transaction: u32,
    tries: u32,
    due: Time,
}

/// One tracker of one torrent; at most one announce under way, a newer one replaces it.
#[derive(Debug, Clone)]
pub struct AnnounceClient {
    rng: Rng,
    connection: Option<(u64, Time)>,
    pending: Option<Pending>,
    done: Option<Outcome>,
}

impl AnnounceClient {
    /// `seed` draws transaction ids: give it from the system's random numbers, since they guard against forged answers.
    #[must_use]
    pub fn new(seed: u64) -> AnnounceClient {
        AnnounceClient { rng: Rng::new(seed), connection: None, pending: None, done: None }
    }

    /// Starts an announce.
    pub fn announce(&mut self, now: Time, announce: Announce) {
        let transaction = self.rng.next_u32();
        self.pending = Some(Pending { announce, transaction, tries: 0, due: now });
    }

    /// An announce is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.pending.is_some()
    }

    /// A datagram came from the tracker's address; foreign and late ones are ignored.
    pub fn datagram(&mut self, now: Time, bytes: &[u8]) {
        let Some(pending) = &mut self.pending else { return };
        let Some(response) = Response::parse(bytes) else { return };
        if pending.tries == 0 || response.transaction() != pending.transaction {
            return;
        }
        let connected = self.connection.is_some();
        match response {
            Response::Connect { connection, .. } if !connected => {
                self.connection = Some((connection, now));
                (pending.tries, pending.due) = (0, now);
                pending.transaction = self.rng.next_u32();
            }
            Response::Announce { interval_s, leechers, seeders, peers, rack, .. } if connected => {
                self.pending = None;
                self.done = Some(Outcome::Peers { interval_s, leechers, seeders, peers, rack });
            }
            Response::Error { message, .. } => {
                // Trackers also say so when they have forgotten the connection id: the next announce asks for a new one.
                (self.pending, self.connection) = (None, None);
                self.done = Some(Outcome::Refused(message));
            }
            _ => {}
        }
    }

    /// The next thing to do at `now`; call until `None`.
    pub fn poll(&mut self, now: Time) -> Option<Step> {
        if let Some(outcome) = self.done.take() {
            return Some(Step::Done(outcome));
        }
        let transaction = self.rng.next_u32();
        let pending = self.pending.as_mut().filter(|p| now >= p.due)?;
        if pending.tries >= TRIES {
            (self.pending, self.connection) = (None, None);
            return Some(Step::Done(Outcome::Silent));
        }
        if self.connection.is_some_and(|(_, since)| now.since(since) >= CONNECTION_AGE) {
            self.connection = None;
            pending.transaction = transaction;
        }
        pending.due = now + (RETRY_FIRST * (1 << pending.tries.min(8))).min(RETRY_MAX);
        pending.tries += 1;
        let transaction = pending.transaction;
        let request = match self.connection {
            None => Request::Connect { transaction },
            Some((connection, _)) => {
                Request::Announce { connection, transaction, announce: pending.announce }
            }
        };
        let mut datagram = Vec::new();
        request.emit(&mut datagram);
        Some(Step::Send(datagram))
    }

    /// When [`AnnounceClient::poll`] has something to do without a datagram.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        if self.done.is_some() { Some(Time(0)) } else { self.pending.as_ref().map(|p| p.due) }
    }
}
