//! The addresses that may be dialled, and who is banned.
//! Decides when an address is tried again; never opens a link.

use crate::Time;
use crate::limits::{MAX_BANS, MAX_KNOWN, REDIAL_FIRST, REDIAL_MASTER, REDIAL_MAX};
use crate::pieces::Who;
use crate::rng::Rng;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::SocketAddrV4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle {
        next: Time,
    },
    Dialling,
    Linked,
    /// Ourselves, a banned peer, or one that needs nothing from us and we nothing from it.
    Left,
}

#[derive(Debug)]
struct Entry {
    state: State,
    is_master: bool,
    failures: u32,
}

/// Every address that we were told, bounded.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: BTreeMap<SocketAddrV4, Entry>,
    bans: VecDeque<Who>,
    /// Who had a part in false pieces without proof, and how often.
    suspicions: VecDeque<(Who, u8)>,
}

/// False senders behind one IP address before the address itself is banned: a host may run several peers.
const BANS_PER_HOST: usize = 3;

impl Book {
    pub(crate) fn learn(&mut self, now: Time, addr: SocketAddrV4, is_master: bool) {
        let room = self.entries.len() < MAX_KNOWN;
        if is_master || room {
            let fresh = Entry { state: State::Idle { next: now }, is_master, failures: 0 };
            let entry = self.entries.entry(addr).or_insert(fresh);
            entry.is_master |= is_master;
        }
    }

    pub(crate) fn is_master(&self, addr: SocketAddrV4) -> bool {
        self.entries.get(&addr).is_some_and(|e| e.is_master)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn dialling(&self) -> usize {
        self.entries.values().filter(|e| e.state == State::Dialling).count()
    }

    /// An address to dial now: a master if one is due, else any one, so that the graph is random.
    pub(crate) fn due(&mut self, now: Time, masters_only: bool, rng: &mut Rng) -> Option<SocketAddrV4> {
        let due = |e: &Entry| matches!(e.state, State::Idle { next } if next <= now);
        let all: Vec<(SocketAddrV4, bool)> =
            self.entries.iter().filter(|(_, e)| due(e)).map(|(a, e)| (*a, e.is_master)).collect();
        let master = all.iter().find(|(_, is_master)| *is_master);
        let others = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let any = || all.get(rng.below(others) as usize).filter(|_| !masters_only);
        let addr = master.or_else(any)?.0;
        self.set(addr, State::Dialling);
        Some(addr)
    }

    /// Takes this address for dialling, if it may be dialled now.
    pub(crate) fn begin(&mut self, now: Time, addr: SocketAddrV4) -> bool {
        let due = |e: &Entry| matches!(e.state, State::Idle { next } if next <= now);
        let may = self.entries.get(&addr).is_some_and(due);
        if may {
            self.set(addr, State::Dialling);
        }
        may
    }

    fn set(&mut self, addr: SocketAddrV4, state: State) {
        if let Some(entry) = self.entries.get_mut(&addr)
            && entry.state != State::Left
        {
            entry.state = state;
        }
    }

    /// There is a link to who listens there.
    pub(crate) fn linked(&mut self, now: Time, addr: SocketAddrV4) {
        self.learn(now, addr, false);
        self.set(addr, State::Linked);
    }

    /// The link works both ways: the next failure is a first one.
    pub(crate) fn proven(&mut self, addr: SocketAddrV4) {
        if let Some(entry) = self.entries.get_mut(&addr) {
            entry.failures = 0;
        }
    }

    /// A dial failed or a link ended: try again later.
    pub(crate) fn failed(&mut self, now: Time, addr: SocketAddrV4) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if entry.state == State::Left {
            return;
        }
        let longest = if entry.is_master { REDIAL_MASTER } else { REDIAL_MAX };
        let wait = (REDIAL_FIRST * (1 << entry.failures.min(8))).min(longest);
        entry.failures += 1;
        entry.state = State::Idle { next: now + wait };
    }

    /// Never dial it again.
    pub(crate) fn leave(&mut self, addr: SocketAddrV4) {
        if let Some(entry) = self.entries.get_mut(&addr) {
            entry.state = State::Left;
        }
    }

    pub(crate) fn ban(&mut self, who: Who) {
        self.leave(who.addr);
        if self.bans.contains(&who) {
            return; // several of its pieces were under way: that is not several peers of its host
        }
        if self.bans.len() >= MAX_BANS {
            self.bans.pop_front();
        }
        self.bans.push_back(who);
    }

    /// Nothing comes from anybody: masters that have sent something false get another try. It may have been one flipped
    /// bit, and who else is there?
    pub(crate) fn pardon_masters(&mut self, now: Time) {
        let is_master = |who: &Who| self.entries.get(&who.addr).is_some_and(|e| e.is_master);
        let (pardoned, banned) = self.bans.drain(..).partition::<VecDeque<Who>, _>(is_master);
        self.bans = banned;
        for who in pardoned {
            if let Some(entry) = self.entries.get_mut(&who.addr) {
                entry.state = State::Idle { next: now + REDIAL_MASTER };
            }
        }
    }

    /// Counts one more false piece that this peer had a part in.
    pub(crate) fn suspect(&mut self, who: Who) -> u8 {
        if let Some((_, n)) = self.suspicions.iter_mut().find(|(w, _)| *w == who) {
            *n = n.saturating_add(1);
            return *n;
        }
        if self.suspicions.len() >= MAX_BANS {
            self.suspicions.pop_front();
        }
        self.suspicions.push_back((who, 1));
        1
    }

    /// By address, or by id where that comes from the same host: an id alone proves nothing, since everybody is told
    /// the ids of others, and a liar under the master's id must not get the master banned. A master by its address alone:
    /// it may share its host with liars.
    pub(crate) fn is_banned(&self, who: Who) -> bool {
        if self.is_master(who.addr) {
            return self.bans.iter().any(|b| b.addr == who.addr);
        }
        let mut host = self.bans.iter().filter(|b| b.addr.ip() == who.addr.ip());
        let same = |b: &Who| b.peer_id == who.peer_id || b.addr == who.addr;
        host.clone().any(same) || host.nth(BANS_PER_HOST - 1).is_some()
    }
}

#[cfg(test)]
mod tests;
