use std::collections::HashSet;

use super::*;
use crate::dhcp::config::{DhcpConfig, ReservationConfig, SubnetConfig};

const HOUR: Duration = Duration::from_secs(3600);
const START: Time = Time(1_795_000_000_000_000);

fn mac(n: u32) -> Mac {
    let [a, b, c, d] = n.to_be_bytes();
    Mac([2, 0, a, b, c, d])
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn plan(ranges: &[&str], reservations: &[(u32, &str)]) -> Plan {
    let reservation = |(n, address): &(u32, &str)| ReservationConfig {
        mac: mac(*n),
        address: Some(ip(address)),
        name: None,
        options: vec![],
    };
    Plan::new(DhcpConfig {
        site: "lab".into(),
        server: ip("10.0.0.1"),
        interface: "eth1".into(),
        lease_seconds: 3600,
        subnets: vec![SubnetConfig {
            network: "10.0.0.0/24".parse().unwrap(),
            ranges: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            options: vec![],
        }],
        reservations: reservations.iter().map(reservation).collect(),
        boot: vec![],
    })
}

fn give(leases: &mut Leases, plan: &Plan, n: u32, now: Time) -> Ipv4Addr {
    let address = leases.choose(plan, 0, mac(n), None, now).unwrap();
    leases.offer(plan, address, mac(n), now);
    leases.lease(plan, address, mac(n), now + HOUR);
    address
}

#[test]
fn addresses_come_in_order_and_each_node_keeps_its_own() {
    let plan = plan(&["10.0.0.100-10.0.0.101", "10.0.0.150-10.0.0.151"], &[]);
    let mut leases = Leases::new(&plan);
    let given: Vec<_> = (0..4).map(|n| give(&mut leases, &plan, n, START)).collect();
    assert_eq!(given, ["10.0.0.100", "10.0.0.101", "10.0.0.150", "10.0.0.151"].map(ip));
    assert_eq!(give(&mut leases, &plan, 2, START), given[2]);
    let error = leases.choose(&plan, 0, mac(9), None, START).unwrap_err();
    assert_eq!(error, Exhausted { next: Some(START + HOUR) });
    // All are free again: a node that comes back gets its own, a new one the oldest.
    let later = START + HOUR + HOUR;
    assert_eq!(give(&mut leases, &plan, 3, later), given[3]);
    assert_eq!(give(&mut leases, &plan, 9, later), given[0]);
    assert_eq!(give(&mut leases, &plan, 0, later), given[1]);
}

#[test]
fn the_server_the_reserved_and_the_edges_of_a_network_are_never_pooled() {
    let plan = plan(&["10.0.0.0-10.0.0.3", "10.0.0.254-10.0.0.255"], &[(7, "10.0.0.2")]);
    let mut leases = Leases::new(&plan);
    assert_eq!(give(&mut leases, &plan, 0, START), ip("10.0.0.3"));
    assert_eq!(give(&mut leases, &plan, 1, START), ip("10.0.0.254"));
    assert!(leases.choose(&plan, 0, mac(2), Some(ip("10.0.0.2")), START).is_err());
    assert_eq!(give(&mut leases, &plan, 7, START), ip("10.0.0.2"));
}

#[test]
fn a_wish_is_granted_if_the_address_is_free() {
    let plan = plan(&["10.0.0.100-10.0.0.110"], &[]);
    let mut leases = Leases::new(&plan);
    assert_eq!(leases.choose(&plan, 0, mac(1), Some(ip("10.0.0.105")), START), Ok(ip("10.0.0.105")));
    leases.offer(&plan, ip("10.0.0.105"), mac(1), START);
    for wish in ["10.0.0.105", "10.0.0.200", "10.0.1.105"] {
        assert_eq!(leases.choose(&plan, 0, mac(2), Some(ip(wish)), START), Ok(ip("10.0.0.100")), "{wish}");
    }
    // The offer was not taken up in time.
    let later = START + OFFER;
    assert_eq!(leases.choose(&plan, 0, mac(2), Some(ip("10.0.0.105")), later), Ok(ip("10.0.0.105")));
}

#[test]
fn an_offer_that_is_replaced_frees_its_address() {
    let plan = plan(&["10.0.0.100-10.0.0.100"], &[]);
    let mut leases = Leases::new(&plan);
    leases.offer(&plan, ip("10.0.0.100"), mac(1), START);
    assert!(leases.choose(&plan, 0, mac(2), None, START).is_err());
    leases.offer(&plan, ip("10.0.0.7"), mac(1), START);
    assert_eq!(leases.choose(&plan, 0, mac(2), None, START), Ok(ip("10.0.0.100")));
}

/// Forged nodes that each wish for another address of a large range: the range ends long after the memory's limit.
#[test]
fn wishes_do_not_fill_the_memory() {
    let mut config = plan(&["10.0.0.100-10.200.0.0"], &[(1, "10.0.0.7")]).config().clone();
    config.subnets[0].network = "10.0.0.0/8".parse().unwrap();
    let plan = Plan::new(config);
    let mut leases = Leases::new(&plan);
    for n in 0..MAX_ENTRIES as u32 + 10 {
        let wish = Ipv4Addr::from_bits(ip("10.0.0.100").to_bits() + n);
        if let Ok(address) = leases.choose(&plan, 0, mac(1000 + n), Some(wish), START) {
            leases.offer(&plan, address, mac(1000 + n), START);
        }
    }
    assert_eq!(leases.entries.len(), MAX_ENTRIES);
    let unknown = ip("10.199.0.1");
    assert!(!leases.may_have(&plan, 0, unknown, mac(2), START), "neither by a wish nor by a renewal");
    assert_eq!(give(&mut leases, &plan, 1, START), ip("10.0.0.7"), "a reservation is always there");
}

#[test]
fn one_lease_a_node() {
    let old = plan(&["10.0.0.100-10.0.0.100"], &[]);
    let mut leases = Leases::new(&old);
    give(&mut leases, &old, 1, START);
    let new = plan(&["10.0.0.100-10.0.0.100"], &[(1, "10.0.0.11")]);
    leases.adopt(&new, START);
    assert_eq!(give(&mut leases, &new, 1, START), ip("10.0.0.11"));
    assert_eq!(give(&mut leases, &new, 2, START), ip("10.0.0.100"));
    assert_eq!(leases.current(START).len(), 2);
}

#[test]
fn a_reserved_address_that_another_node_still_has_waits_for_its_end() {
    let old = plan(&["10.0.0.100-10.0.0.110"], &[]);
    let mut leases = Leases::new(&old);
    assert_eq!(give(&mut leases, &old, 1, START), ip("10.0.0.100"));
    let new = plan(&["10.0.0.101-10.0.0.110"], &[(2, "10.0.0.100")]);
    leases.adopt(&new, START);
    assert_eq!(give(&mut leases, &new, 2, START), ip("10.0.0.101"));
    assert!(!leases.may_have(&new, 0, ip("10.0.0.100"), mac(1), START));
    assert_eq!(give(&mut leases, &new, 2, START + HOUR), ip("10.0.0.100"));
}

#[test]
fn release_and_decline() {
    let plan = plan(&["10.0.0.100-10.0.0.101"], &[]);
    let mut leases = Leases::new(&plan);
    let (first, second) = (give(&mut leases, &plan, 1, START), give(&mut leases, &plan, 2, START));
    assert_eq!(leases.release(&plan, first, mac(2), START), None, "not its own");
    assert!(leases.release(&plan, first, mac(1), START).is_some());
    assert!(leases.decline(&plan, first, mac(2), START).is_none(), "not its own");
    assert!(leases.decline(&plan, second, mac(2), START).is_some());
    let usage = leases.usage(&plan, 0, START);
    assert_eq!(usage, Use { leased: 0, offered: 0, quarantined: 1 });
    // The node that declined gets the other one, and then nobody gets the one in quarantine.
    assert_eq!(give(&mut leases, &plan, 2, START), first);
    assert_eq!(
        leases.choose(&plan, 0, mac(1), None, START),
        Err(Exhausted { next: Some(START + QUARANTINE) })
    );
    assert_eq!(give(&mut leases, &plan, 1, START + QUARANTINE), second);
}

#[test]
fn the_records_say_all_that_must_be_kept() {
    let plan = plan(&["10.0.0.100-10.0.0.120"], &[(5, "10.0.0.11")]);
    let mut leases = Leases::new(&plan);
    for n in 1..=8 {
        give(&mut leases, &plan, n, START);
    }
    leases.release(&plan, leases.last_of(mac(2)).unwrap(), mac(2), START);
    leases.decline(&plan, leases.last_of(mac(3)).unwrap(), mac(3), START);
    leases.offer(&plan, ip("10.0.0.119"), mac(99), START);
    let records = leases.records();
    let mut again = Leases::new(&plan);
    for record in &records {
        again.replay(&plan, *record, START + HOUR);
    }
    assert_eq!(again.records(), records);
    assert_eq!(again.current(START), leases.current(START));
    assert_eq!(again.last_of(mac(2)), leases.last_of(mac(2)), "memory of what was given back");
}

#[test]
fn a_clock_that_ran_ahead_locks_no_address_for_years() {
    let plan = plan(&["10.0.0.100-10.0.0.100"], &[]);
    let mut leases = Leases::new(&plan);
    let far = START + HOUR * 24 * 365;
    leases.replay(&plan, Record::Lease { address: ip("10.0.0.100"), mac: mac(1), until: far }, START + HOUR);
    assert_eq!(leases.choose(&plan, 0, mac(2), None, START), Err(Exhausted { next: Some(START + HOUR) }));
}

#[test]
fn leases_move_with_the_clock() {
    let plan = plan(&["10.0.0.100-10.0.0.101"], &[]);
    let mut leases = Leases::new(&plan);
    let dawn = Time(1_000_000);
    give(&mut leases, &plan, 1, dawn);
    leases.shift(&plan, dawn, START);
    assert_eq!(leases.current(START)[0].until, START + HOUR);
    leases.shift(&plan, START, dawn);
    assert_eq!(leases.current(dawn)[0].until, dawn + HOUR);
}

/// Random events against a plain model: no address is ever leased to two nodes, and a journal replayed at any time
/// says the same.
#[test]
fn no_address_is_ever_given_twice() {
    let plan = plan(&["10.0.0.100-10.0.0.112"], &[(3, "10.0.0.20"), (4, "10.0.0.105")]);
    let mut leases = Leases::new(&plan);
    let mut journal = Vec::new();
    let mut held: HashMap<Ipv4Addr, (Mac, Time)> = HashMap::new();
    let mut now = START;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    for _ in 0..20_000 {
        now = now + Duration::from_secs(next(60));
        held.retain(|_, (_, until)| *until > now);
        let node = mac(u32::try_from(next(24)).unwrap());
        match next(10) {
            0 => {
                if let Some((address, _)) = held.iter().find(|(_, (owner, _))| *owner == node) {
                    let address = *address;
                    journal.extend(leases.release(&plan, address, node, now));
                    held.remove(&address);
                }
            }
            1 if next(8) == 0 => {
                if let Some(address) = leases.last_of(node)
                    && let Some(record) = leases.decline(&plan, address, node, now)
                {
                    journal.push(record);
                    held.remove(&address);
                }
            }
            _ => {
                let wish = Ipv4Addr::from(ip("10.0.0.95").to_bits() + u32::try_from(next(20)).unwrap());
                let Ok(address) = leases.choose(&plan, 0, node, Some(wish), now) else { continue };
                leases.offer(&plan, address, node, now);
                if next(4) > 0 {
                    let until = now + Duration::from_secs(600 + next(1200));
                    journal.push(leases.lease(&plan, address, node, until));
                    held.retain(|_, (owner, _)| *owner != node);
                    let before = held.insert(address, (node, until));
                    assert!(before.is_none(), "{address} was {before:?}'s");
                }
            }
        }
    }
    let current: HashSet<_> =
        leases.current(now).into_iter().filter_map(|l| Some((l.address, l.mac?))).collect();
    assert_eq!(current, held.iter().map(|(address, (owner, _))| (*address, *owner)).collect());
    let mut again = Leases::new(&plan);
    for record in &journal {
        again.replay(&plan, *record, now + HOUR);
    }
    assert_eq!(again.current(now), leases.current(now));
}
