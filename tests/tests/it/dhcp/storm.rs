//! What a bad day brings: a thousand nodes switched on at once, rubbish on the wire, a server that is killed again and
//! again, a configuration that cannot be read. No lease is lost or given twice.

use super::wire::{ACK, Client, DISCOVER, OFFER, REQUEST, SERVER, mac, message};
use super::{Dhcp, SITE, SOON};
use boottorrent_tests::clock::{Deadline, now};
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::time::Duration;

const NODES: u32 = 1000;
/// A quiet wire for this long means that the server has answered everything, or is gone.
const QUIET: Duration = Duration::from_millis(500);

/// Acknowledged leases; whoever gets one that another node has fails the test.
#[derive(Default)]
struct Ledger {
    by_node: HashMap<[u8; 6], Ipv4Addr>,
    taken: HashSet<Ipv4Addr>,
}

impl Ledger {
    fn enter(&mut self, node: [u8; 6], address: Ipv4Addr) {
        match self.by_node.insert(node, address) {
            Some(before) => assert_eq!(before, address, "{node:x?} has lost its address"),
            None => assert!(self.taken.insert(address), "{address} is given twice"),
        }
    }
}

/// Answers offers with requests until `acks` leases are acknowledged or the wire is quiet. Returns how many were.
fn converse(client: &Client, ledger: &mut Ledger, acks: usize) -> usize {
    let mut done = 0;
    while done < acks
        && let Some(reply) = client.receive(QUIET)
    {
        match reply.kind {
            OFFER => {
                let address = reply.address.octets();
                client.send(&message(REQUEST, reply.mac, &[SERVER, (50, &address)]));
            }
            ACK => {
                ledger.enter(reply.mac, reply.address);
                done += 1;
            }
            other => panic!("a message of type {other}"),
        }
    }
    done
}

#[test]
fn a_thousand_nodes_at_once_are_all_served_at_the_first_try() {
    let dhcp = Dhcp::serving(SITE);
    let client = Client::on(&dhcp.client.netns);
    let mut ledger = Ledger::default();
    let began = now();
    for n in 0..NODES {
        client.send(&message(DISCOVER, mac(n), &[(93, &[0, 0]), (60, b"PXEClient:Arch:00000:UNDI:002001")]));
    }
    let served = converse(&client, &mut ledger, NODES as usize);
    println!("{served} nodes served in {:.3} s", began.elapsed().as_secs_f64());
    assert_eq!(served, NODES as usize, "some message was lost");
    dhcp.expect_state("a thousand leases", |state| state["leases"].as_array().unwrap().len() == served);
}

#[test]
fn no_acknowledged_lease_is_lost_by_kill_nine() {
    const ROUNDS: u32 = 10;
    const A_ROUND: u32 = 200;
    let mut dhcp = Dhcp::serving(SITE);
    let client = Client::on(&dhcp.client.netns);
    let mut ledger = Ledger::default();
    for round in 0..ROUNDS {
        let first = round * A_ROUND;
        for n in first..first + A_ROUND {
            client.send(&message(DISCOVER, mac(n), &[]));
        }
        // In the middle of the conversation, at another place each time.
        converse(&client, &mut ledger, 7 + 19 * round as usize);
        dhcp.kill_and_start();
        // What the killed server sent last is still on the wire.
        converse(&client, &mut ledger, usize::MAX);
    }
    assert!(ledger.by_node.len() > (ROUNDS * A_ROUND / 4) as usize, "only {} leases", ledger.by_node.len());
    // Everybody reboots and asks for what he was given: only a server that remembers answers.
    let nodes: Vec<_> = ledger.by_node.iter().map(|(node, address)| (*node, *address)).collect();
    for (node, address) in &nodes {
        client.send(&message(REQUEST, *node, &[(50, &address.octets())]));
    }
    assert_eq!(converse(&client, &mut ledger, nodes.len()), nodes.len());
}

#[test]
fn rubbish_costs_a_counted_warning_and_nothing_else() {
    const PACKETS: u64 = 20_000;
    let mut dhcp = Dhcp::serving(SITE);
    let client = Client::on(&dhcp.client.netns);
    let model =
        message(REQUEST, mac(1), &[(52, &[3]), (82, &[1, 2, 3, 4]), (60, b"PXEClient"), (93, &[0, 7])]);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % bound as u64).unwrap()
    };
    for n in 0..PACKETS {
        let mut packet = model.clone();
        match n % 3 {
            0 => packet.truncate(next(240)),
            // A wrong cookie, or no request at all.
            1 => packet[[0, 1, 2, 236, 239][next(5)]] ^= u8::try_from(1 + next(255)).unwrap(),
            _ => packet[1] = 0,
        }
        for _ in 0..next(4) {
            let (at, byte) = (next(packet.len().max(1)), u8::try_from(next(256)).unwrap());
            if at > 2 && at < packet.len() {
                packet[at] = byte;
            }
        }
        client.send(&packet);
        // A wire keeps its pace; the queue between namespaces is only so long.
        if n % 500 == 499 {
            client.lease(mac(2), &[]);
        }
    }
    client.lease(mac(3), &[]);
    assert!(dhcp.server.ended().is_none());
    dhcp.expect_state("counted rubbish", |state| {
        let count = state["counters"]["malformed"].as_u64().unwrap();
        state["warnings"]["malformed packet"] == count && count >= PACKETS * 9 / 10
    });
    let lines = dhcp.server.log().lines().filter(|line| line.contains("malformed packet")).count();
    assert!((1..60).contains(&lines), "{lines} lines of warnings");
}

#[test]
fn a_new_configuration_serves_at_once_and_a_broken_one_changes_nothing() {
    let mut dhcp = Dhcp::serving(SITE);
    let client = Client::on(&dhcp.client.netns);
    let address = client.lease(mac(1), &[]).address;
    dhcp.configure(&SITE.replace("0a000001\"", "0a0000fe\""));
    dhcp.server.expect("the configuration was read again", SOON).unwrap();
    let ack = client.lease(mac(1), &[]);
    assert_eq!((ack.address, ack.option(3)), (address, Some(&[10, 0, 0, 254][..])));
    dhcp.configure("site = 1");
    dhcp.server.expect("the old configuration stays", SOON).unwrap();
    assert_eq!(client.lease(mac(1), &[]).option(3), Some(&[10, 0, 0, 254][..]));
}

#[test]
fn a_second_server_on_the_same_leases_is_refused() {
    let dhcp = Dhcp::serving(SITE);
    let deadline = Deadline::after(SOON);
    let path = |leaf: &str| dhcp.lab.path(leaf).display().to_string();
    let program = boottorrent_tests::programs::path("boottorrent-dhcp").display().to_string();
    let (store, state) = (path("store"), path("state"));
    let argv = [&program, "--store", &store, "--state", &state, "--listen", "127.0.0.1:1067"];
    let error = dhcp.master.run(&argv).unwrap_err().to_string();
    assert!(
        error.contains("another DHCP server keeps its leases in") && deadline.left().is_some(),
        "{error}"
    );
    let argv = [&program, "--store", &store, "--interface", "eth0", "--listen", "0.0.0.0:67"];
    let error = dhcp.master.run(&argv).unwrap_err().to_string();
    assert!(error.contains("UDP port 67 is in use"), "{error}");
}
