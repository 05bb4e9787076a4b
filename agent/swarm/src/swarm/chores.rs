//! All that time brings about: snubs, keep-alives, dials, announces. Decides nothing that no clock decides.

use super::{CloseReason, Conn, Output, Swarm};
use crate::Time;
use crate::announce::Event;
use crate::limits::{
    ANNOUNCE_MAX, ANNOUNCE_RETRY, CHORES_BUSY, CHORES_IDLE, FEW_PEERS, IDLE, KEEP_ALIVE, LOCAL_INTERVAL,
    LOCAL_KNOWN, MAX_DIALS, SILENT, TRACKER_GONE,
};
use crate::wire::OwnedMessage;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

/// When the tracker hears of us again.
#[derive(Debug)]
pub(super) struct Tracker {
    interval: Duration,
    next: Time,
    asked: Time,
    /// An answer is awaited.
    busy: bool,
    /// Since when none has come.
    silent_since: Option<Time>,
    /// There is no tracker that answers.
    failed: bool,
}

impl Tracker {
    pub(super) fn new(now: Time) -> Tracker {
        Tracker {
            interval: ANNOUNCE_MAX,
            next: now,
            asked: now,
            busy: false,
            silent_since: None,
            failed: false,
        }
    }
}

impl Swarm {
    /// Runs whatever is due.
    pub(super) fn timers(&mut self) {
        if self.stopped {
            return;
        }
        if core::mem::take(&mut self.look_again) {
            self.wake_pickers();
        }
        if self.haves_at.is_some_and(|t| t <= self.now) {
            self.flush_due_haves();
        }
        if self.uploads_at.is_some_and(|t| t <= self.now) {
            self.serve();
        }
        if self.chores_at <= self.now {
            let wait = if self.pieces.is_complete() { CHORES_IDLE } else { CHORES_BUSY };
            self.chores_at = self.now + wait;
            self.look_at_links();
            if self.is_starved() && !self.pieces.is_complete() {
                self.book.pardon_masters(self.now);
                self.wake_pickers();
            }
            self.reannounce();
            self.announce_local();
            self.dial();
        }
    }

    fn look_at_links(&mut self) {
        let links: Vec<Conn> = self.peers.keys().copied().collect();
        for conn in links {
            let Some(peer) = self.peers.get(&conn) else { continue };
            if peer.peer_id.is_none() && self.now.since(peer.since) >= SILENT {
                self.close(conn, CloseReason::Stalled);
            } else if self.now.since(peer.last_in) >= IDLE {
                self.close(conn, CloseReason::Idle);
            } else if self.is_stuck(conn) || peer.mute.is_some_and(|(t, _)| self.now.since(t) >= SILENT) {
                self.close(conn, CloseReason::Stalled);
            } else if self.is_stalled(conn) {
                self.snub(conn);
            } else if peer.peer_id.is_some() && self.now.since(peer.last_out) >= KEEP_ALIVE {
                self.send(conn, OwnedMessage::KeepAlive);
            }
            self.note_late(conn);
            self.forget_cancelled(conn);
            self.pump(conn);
        }
    }

    /// Links, as far as they are a reason to look for no others: one machine under many names is none.
    fn links_that_count(&self) -> usize {
        let links = self.peers.len();
        if links < self.config.target as usize {
            return links;
        }
        self.peers.values().map(|p| *p.remote.ip()).collect::<BTreeSet<Ipv4Addr>>().len()
    }

    /// Looks for links: the masters always, others while there are too few. Who is complete waits to be found.
    pub(super) fn dial(&mut self) {
        if self.pieces.is_complete() || self.stopped {
            return;
        }
        let links = self.links_that_count();
        let mut under_way = self.book.dialling();
        while under_way < MAX_DIALS {
            let enough = links + under_way >= self.config.target as usize;
            let Some(peer) = self.book.due(self.now, enough, &mut self.rng) else { return };
            under_way += 1;
            self.push(Output::Dial { peer });
        }
    }

    pub(super) fn tracked(&mut self, peers: &[SocketAddrV4], interval_s: u32, leechers: u32) {
        if interval_s > 0 {
            self.tracker.interval = Duration::from_secs(u64::from(interval_s)).min(ANNOUNCE_MAX);
        }
        self.tracker.next = self.now + self.tracker.interval;
        self.tracker.busy = false;
        self.tracker.failed = false;
        self.tracker.silent_since = None;
        self.crowd = leechers;
        self.told_peers(peers);
    }

    pub(super) fn told_peers(&mut self, peers: &[SocketAddrV4]) {
        for addr in peers.iter().filter(|a| Some(**a) != self.config.own && a.port() != 0) {
            self.book.learn(self.now, *addr, false);
        }
        self.dial();
    }

    pub(super) fn announce_failed(&mut self) {
        self.tracker.busy = false;
        self.tracker.failed = true;
        self.tracker.next = self.now + ANNOUNCE_RETRY;
        self.announce_local();
    }

    /// Who looks for others dials nobody that it does not know, so those who hear it dial, the complete ones, too.
    pub(super) fn told_local(&mut self, peer: SocketAddrV4) {
        if self.stopped || self.config.own == Some(peer) || self.book.len() >= LOCAL_KNOWN {
            return;
        }
        self.book.learn(self.now, peer, false);
        let room = self.links_that_count() + self.book.dialling() < self.config.target as usize;
        if room && self.book.begin(self.now, peer) {
            self.push(Output::Dial { peer });
        }
    }

    /// Only who needs something and has no tracker to ask: the others hear it.
    fn announce_local(&mut self) {
        let silent = self.tracker.silent_since.is_some_and(|t| self.now.since(t) >= TRACKER_GONE);
        let gone = self.tracker.failed || silent;
        let needy = gone && !self.stopped && !self.pieces.is_complete();
        if needy && self.local_at.is_some_and(|at| at <= self.now) {
            self.local_at = Some(self.now + LOCAL_INTERVAL);
            self.push(Output::AnnounceLocal);
        }
    }

    fn reannounce(&mut self) {
        let lonesome = !self.pieces.is_complete()
            && self.shaken() < FEW_PEERS
            && self.now.since(self.tracker.asked) >= ANNOUNCE_RETRY;
        if !self.tracker.busy && (self.now >= self.tracker.next || lonesome) {
            self.announce(Event::None);
        }
    }

    pub(super) fn announce(&mut self, event: Event) {
        self.tracker.busy = true;
        self.tracker.asked = self.now;
        self.tracker.silent_since.get_or_insert(self.now);
        let left = self.pieces.left();
        let (mut uploaded, mut downloaded) = (0, 0);
        for stat in self.peer_stats() {
            uploaded += stat.bytes_out;
            downloaded += stat.bytes_in;
        }
        self.push(Output::Announce { event, left, uploaded, downloaded });
    }
}
