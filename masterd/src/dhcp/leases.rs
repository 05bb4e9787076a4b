//! Who has which address, and until when. It decides which address a node gets, so that none is ever given twice and a
//! node keeps its own; it writes nothing: what must be kept is handed out as records.
//!
//! Time here counts from 1970, since leases outlive the process.

mod record;

pub(super) use record::Record;

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::{Mac, Time};

use super::plan::Plan;

/// How long an offer keeps its address for the node: firmware asks for it within 10 s (it waits for other offers).
const OFFER: Duration = Duration::from_secs(30);
/// How long an address is not given out after a node found somebody else using it.
pub(super) const QUARANTINE: Duration = Duration::from_secs(600);
/// Addresses that are remembered: a forged storm in a /8 may not eat the memory (100 bytes each).
const MAX_ENTRIES: usize = 262_144;

/// What is known of an address that was given or offered once.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// `None`: in quarantine.
    owner: Option<Mac>,
    /// Zero: only offered so far.
    leased_until: Time,
    held_until: Time,
}

impl Entry {
    fn free_at(&self) -> Time {
        self.leased_until.max(self.held_until)
    }
}

/// The addresses of one subnet that go to any node.
#[derive(Debug, Default)]
struct Pool {
    /// The range and the address in it where the search for one that was never given goes on.
    cursor: (usize, u64),
    /// Pooled addresses with an entry, the one that is or was free first at the front.
    by_age: BTreeSet<(Time, Ipv4Addr)>,
}

#[derive(Debug, Default)]
pub(super) struct Leases {
    entries: HashMap<Ipv4Addr, Entry>,
    /// The address that a node has, or had before its lease expired: one a node.
    leased: HashMap<Mac, Ipv4Addr>,
    offered: HashMap<Mac, Ipv4Addr>,
    pools: Vec<Pool>,
}

/// No address can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// When the next one becomes free, if any ever does.
    pub(super) next: Option<Time>,
}

/// How much of a subnet's addresses is in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) leased: usize,
    pub(super) offered: usize,
    pub(super) quarantined: usize,
}

/// A row for the state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) address: Ipv4Addr,
    /// `None`: in quarantine.
    pub(super) mac: Option<Mac>,
    pub(super) until: Time,
}

impl Leases {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut leases = Self::default();
        leases.adopt(plan, Time(0));
        leases
    }

    /// Takes a new plan: leases stay, whatever it says, until they end.
    pub(super) fn adopt(&mut self, plan: &Plan, now: Time) {
        self.entries.retain(|address, entry| entry.free_at() > now || plan.subnet_of(*address).is_some());
        self.leased.retain(|_, address| self.entries.contains_key(address));
        self.offered.retain(|_, address| self.entries.contains_key(address));
        self.pools = plan.subnets().iter().map(|_| Pool::default()).collect();
        for (address, entry) in &self.entries {
            if let Some(subnet) = plan.subnet_of(*address).filter(|subnet| plan.is_pooled(*subnet, *address))
            {
                self.pools[subnet].by_age.insert((entry.free_at(), *address));
            }
        }
    }

    /// Whether the node may have the address now. One that nobody ever had is one more to remember, so that there must
    /// be room for it; reservations are bounded by the configuration.
    pub(super) fn may_have(
        &self,
        plan: &Plan,
        subnet: usize,
        address: Ipv4Addr,
        mac: Mac,
        now: Time,
    ) -> bool {
        plan.allows(subnet, address, mac)
            && match self.entries.get(&address) {
                Some(entry) => entry.owner == Some(mac) || entry.free_at() <= now,
                None => self.entries.len() < MAX_ENTRIES || plan.reservation(subnet, mac) == Some(address),
            }
    }

    /// The address that the node has or had last, in any subnet.
    pub(super) fn last_of(&self, mac: Mac) -> Option<Ipv4Addr> {
        self.leased.get(&mac).copied()
    }

    /// Finds an address: the node's own, the one that it had, the one that it wishes for, one that nobody had yet, or
    /// the one that has been free for the longest time.
    pub(super) fn choose(
        &mut self,
        plan: &Plan,
        subnet: usize,
        mac: Mac,
        wish: Option<Ipv4Addr>,
        now: Time,
    ) -> Result<Ipv4Addr, Exhausted> {
        let known = [
            plan.reservation(subnet, mac),
            self.leased.get(&mac).copied(),
            self.offered.get(&mac).copied(),
            wish,
        ];
        let known = known.into_iter().flatten();
        if let Some(address) = known.into_iter().find(|a| self.may_have(plan, subnet, *a, mac, now)) {
            return Ok(address);
        }
        if let Some(address) = self.fresh(plan, subnet) {
            return Ok(address);
        }
        match self.pools[subnet].by_age.first() {
            Some((free_at, address)) if *free_at <= now => Ok(*address),
            oldest => Err(Exhausted { next: oldest.map(|(free_at, _)| *free_at) }),
        }
    }

    /// The next address that was never given out. What the cursor passes has an entry or never is in the pool.
    fn fresh(&mut self, plan: &Plan, subnet: usize) -> Option<Ipv4Addr> {
        if self.entries.len() >= MAX_ENTRIES {
            return None;
        }
        let (range_at, offset) = &mut self.pools[subnet].cursor;
        while let Some(range) = plan.ranges(subnet).get(*range_at) {
            let Some(address) = range.nth(*offset) else {
                (*range_at, *offset) = (*range_at + 1, 0);
                continue;
            };
            if plan.is_pooled(subnet, address) && !self.entries.contains_key(&address) {
                return Some(address);
            }
            *offset += 1;
        }
        None
    }

    /// Keeps an address for a node that it is being offered to.
    pub(super) fn offer(&mut self, plan: &Plan, address: Ipv4Addr, mac: Mac, now: Time) {
        if let Some(old) = self.offered.insert(mac, address).filter(|old| *old != address) {
            self.change(plan, old, |entry| entry.held_until = now.min(entry.held_until));
        }
        self.take_over(plan, address, mac);
        self.change(plan, address, |entry| entry.held_until = now + OFFER);
    }

    /// Gives the address to the node. The record must be on disk before anybody is told.
    pub(super) fn lease(&mut self, plan: &Plan, address: Ipv4Addr, mac: Mac, until: Time) -> Record {
        self.set_lease(plan, address, mac, until);
        Record::Lease { address, mac, until }
    }

    fn set_lease(&mut self, plan: &Plan, address: Ipv4Addr, mac: Mac, until: Time) {
        self.take_over(plan, address, mac);
        self.offered.remove(&mac);
        if let Some(old) = self.leased.insert(mac, address).filter(|old| *old != address) {
            // One lease a node: the other one, in another subnet or of an older plan, is free.
            self.change(plan, old, |entry| entry.leased_until = Time(0));
        }
        self.change(plan, address, |entry| {
            entry.leased_until = until;
            entry.held_until = Time(0);
        });
    }

    /// The node gives its address back; it may still get the same one again.
    pub(super) fn release(&mut self, plan: &Plan, address: Ipv4Addr, mac: Mac, now: Time) -> Option<Record> {
        let entry = self.entries.get(&address).filter(|_| self.leased.get(&mac) == Some(&address))?;
        let until = entry.leased_until.min(now);
        self.offered.remove(&mac);
        self.change(plan, address, |entry| {
            *entry = Entry { leased_until: until, held_until: Time(0), ..*entry }
        });
        Some(Record::Release { address, mac, until })
    }

    /// Somebody else uses the address that the node was given: nobody gets it for a while.
    pub(super) fn decline(&mut self, plan: &Plan, address: Ipv4Addr, mac: Mac, now: Time) -> Option<Record> {
        self.entries.get(&address).filter(|entry| entry.owner == Some(mac))?;
        let until = now + QUARANTINE;
        self.quarantine(plan, address, until);
        Some(Record::Quarantine { address, until })
    }

    fn quarantine(&mut self, plan: &Plan, address: Ipv4Addr, until: Time) {
        self.forget_owner(address);
        self.change(plan, address, |entry| {
            *entry = Entry { owner: None, leased_until: until, held_until: Time(0) }
        });
    }

    /// Repeats what a record of the journal says. Times beyond `latest` come from a clock that ran wrong.
    pub(super) fn replay(&mut self, plan: &Plan, record: Record, latest: Time) {
        match record {
            Record::Lease { address, mac, until } | Record::Release { address, mac, until } => {
                self.set_lease(plan, address, mac, until.min(latest));
            }
            Record::Quarantine { address, until } => self.quarantine(plan, address, until.min(latest)),
        }
    }

    /// Everything that must be kept, as the shortest journal.
    pub(super) fn records(&self) -> Vec<Record> {
        let mut list: Vec<_> =
            self.entries.iter().filter(|(_, entry)| entry.leased_until > Time(0)).collect();
        list.sort_unstable_by_key(|(address, _)| **address);
        let record = |(address, entry): (&Ipv4Addr, &Entry)| match entry.owner {
            // An address that its owner has changed for another one is nobody's.
            Some(mac) if self.leased.get(&mac) == Some(address) => {
                Some(Record::Lease { address: *address, mac, until: entry.leased_until })
            }
            Some(_) => None,
            None => Some(Record::Quarantine { address: *address, until: entry.leased_until }),
        };
        list.into_iter().filter_map(record).collect()
    }

    /// The clock was set: all times move with it.
    pub(super) fn shift(&mut self, plan: &Plan, from: Time, to: Time) {
        for entry in self.entries.values_mut() {
            entry.leased_until = moved(entry.leased_until, from, to);
            entry.held_until = moved(entry.held_until, from, to);
        }
        self.adopt(plan, to);
    }

    /// What is leased or in quarantine now, in the order of addresses.
    pub(super) fn current(&self, now: Time) -> Vec<Lease> {
        let mut list: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.leased_until > now)
            .map(|(address, entry)| Lease { address: *address, mac: entry.owner, until: entry.leased_until })
            .collect();
        list.sort_unstable_by_key(|lease| lease.address);
        list
    }

    pub(super) fn usage(&self, plan: &Plan, subnet: usize, now: Time) -> Use {
        let mut usage = Use::default();
        for (_, address) in
            self.pools[subnet].by_age.range((now + Duration::from_micros(1), Ipv4Addr::UNSPECIFIED)..)
        {
            let Some(entry) = self.entries.get(address).filter(|_| plan.is_pooled(subnet, *address)) else {
                continue;
            };
            match entry.owner {
                None => usage.quarantined += 1,
                Some(_) if entry.leased_until > now => usage.leased += 1,
                Some(_) => usage.offered += 1,
            }
        }
        usage
    }

    /// Makes the node the owner of an address that was free: the previous one loses its memory of it.
    fn take_over(&mut self, plan: &Plan, address: Ipv4Addr, mac: Mac) {
        if self.entries.get(&address).is_none_or(|entry| entry.owner != Some(mac)) {
            self.forget_owner(address);
            let entry = Entry { owner: Some(mac), leased_until: Time(0), held_until: Time(0) };
            self.change(plan, address, |changed| *changed = entry);
        }
    }

    fn forget_owner(&mut self, address: Ipv4Addr) {
        let Some(owner) = self.entries.get(&address).and_then(|entry| entry.owner) else { return };
        for map in [&mut self.leased, &mut self.offered] {
            if map.get(&owner) == Some(&address) {
                map.remove(&owner);
            }
        }
    }

    /// Changes an entry and its place among the pool's.
    fn change(&mut self, plan: &Plan, address: Ipv4Addr, change: impl FnOnce(&mut Entry)) {
        let entry = self.entries.entry(address).or_insert(Entry {
            owner: None,
            leased_until: Time(0),
            held_until: Time(0),
        });
        let before = entry.free_at();
        change(entry);
        let after = entry.free_at();
        let subnet = plan.subnet_of(address).filter(|subnet| plan.is_pooled(*subnet, address));
        if let Some(pool) = subnet.and_then(|subnet| self.pools.get_mut(subnet)) {
            pool.by_age.remove(&(before, address));
            pool.by_age.insert((after, address));
        }
    }
}

/// A time by a clock that was set: `from` has become `to`.
pub(super) fn moved(time: Time, from: Time, to: Time) -> Time {
    Time(if to > from { time.0.saturating_add(to.0 - from.0) } else { time.0.saturating_sub(from.0 - to.0) })
}

#[cfg(test)]
mod tests;
