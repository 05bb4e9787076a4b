use super::*;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use core::net::Ipv4Addr;

const WANT: usize = 200;

/// One graph with what its peers are.
struct Room {
    graph: Graph,
    rng: Rng,
    there: Vec<(SocketAddrV4, Rack)>,
    next: u32,
}

impl Room {
    fn new(seed: u64) -> Room {
        Room { graph: Graph::new(seed), rng: Rng::new(!seed), there: Vec::new(), next: 0 }
    }

    fn join(&mut self, racks: u32) {
        self.next += 1;
        let who = SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0000 + self.next), 6881);
        let rack = Rack(self.rng.below(racks));
        self.there.push((who, rack));
        self.graph.announced(who, rack, false, WANT);
    }

    fn leave(&mut self) {
        if !self.there.is_empty() {
            let (who, _) = self.there.swap_remove(self.rng.below(self.there.len() as u32) as usize);
            self.graph.left(who);
        }
    }

    fn everybody_again(&mut self) {
        for (who, rack) in self.there.clone() {
            self.graph.announced(who, rack, false, WANT);
        }
    }

    fn degrees(&self) -> (usize, usize, f64) {
        let all = || self.there.iter().map(|(who, _)| self.graph.row(*who).len());
        let mean = all().sum::<usize>() as f64 / self.there.len() as f64;
        (all().min().unwrap(), all().max().unwrap(), mean)
    }

    /// Steps to the farthest of everybody, or none if somebody is not to be reached.
    fn width(&self) -> Option<u32> {
        let start = self.there.first()?.0;
        let (mut seen, mut queue, mut far) = (BTreeSet::from([start]), VecDeque::from([(start, 0)]), 0);
        while let Some((at, steps)) = queue.pop_front() {
            far = far.max(steps);
            for next in self.graph.row(at) {
                if seen.insert(*next) {
                    queue.push_back((*next, steps + 1));
                }
            }
        }
        (seen.len() == self.there.len()).then_some(far)
    }

    fn bridges(&self, rack: Rack) -> usize {
        let rack_of = |who: &SocketAddrV4| self.there.iter().find(|(a, _)| a == who).unwrap().1;
        let inside = self.there.iter().filter(|(_, r)| *r == rack);
        inside.flat_map(|(who, _)| self.graph.row(*who)).filter(|peer| rack_of(peer) != rack).count()
    }

    /// What must hold after whatever has happened.
    fn check(&self, what: &str) {
        assert_eq!(self.graph.nodes.len(), self.there.len(), "{what}");
        for (who, node) in &self.graph.nodes {
            assert!(node.links.is_sorted() && !node.links.contains(who), "{what}");
            assert_eq!(self.graph.racks[&node.rack].all[node.place], *who, "{what}");
            for peer in &node.links {
                assert!(self.graph.row(*peer).contains(who), "{what}: {who} knows {peer} one way only");
            }
            let bridges = node.links.iter().filter(|p| self.graph.nodes[p].rack != node.rack).count();
            assert_eq!(node.bridges, bridges, "{what}");
        }
        for (rack, members) in &self.graph.racks {
            let nodes = members.all.iter().map(|m| self.graph.nodes[m].bridges);
            let gates = nodes.clone().filter(|n| *n > 0).count();
            assert_eq!((nodes.sum(), gates), (members.bridges, members.gates), "{what}: {rack:?}");
            assert!(!members.all.is_empty(), "{what}: {rack:?}");
        }
    }
}

fn room(nodes: u32, racks: u32, seed: u64) -> Room {
    let mut room = Room::new(seed);
    (0..nodes).for_each(|_| room.join(racks));
    room
}

#[test]
fn a_small_room_is_a_full_mesh_at_once() {
    for nodes in [1, 2, 3, 20, 51] {
        let room = room(nodes, 1, 1);
        let others = nodes as usize - 1;
        assert_eq!(room.degrees(), (others, others, others as f64), "{nodes} nodes");
        assert!(room.there.iter().all(|(who, _)| !room.graph.is_short(*who)));
        room.check("mesh");
    }
}

/// All are switched on at once, one announce each: the bounds hold without a second one.
#[test]
fn large_rooms_are_even_and_shallow_at_once() {
    for (nodes, seed) in [(52, 1), (60, 2), (100, 3), (300, 4), (1000, 5), (2000, 6), (2000, 7)] {
        let mut room = room(nodes, 1, seed);
        let (min, max, mean) = room.degrees();
        assert!(min >= GRAPH_HALF && max <= GRAPH_MOST, "{nodes}: {min} to {max} links");
        assert!((45.0..=55.0).contains(&mean), "{nodes}: {mean} links on average");
        assert!(room.width().unwrap() <= 4, "{nodes}: {:?} steps", room.width());
        // Those whom too few follow are told to ask again, and then have enough.
        room.everybody_again();
        let (min, max, mean) = room.degrees();
        assert!(min >= GRAPH_FLOOR && max <= GRAPH_MOST && mean <= 60.0, "{nodes}: {min} {max} {mean}");
        assert!(room.there.iter().all(|(who, _)| !room.graph.is_short(*who)));
    }
}

/// The property: whatever comes and goes, everybody can be reached and nobody has too many links.
#[test]
fn it_stays_connected_while_nodes_come_and_go() {
    for seed in 0..40 {
        let mut lots = Rng::new(seed * 7919 + 1);
        let racks = [1, 1, 2, 10, 40][lots.below(5) as usize];
        let mut room = room(1 + lots.below(if seed % 8 == 0 { 2000 } else { 300 }), racks, seed);
        let what = |step: &str| format!("seed {seed}, {racks} racks: {step}");
        assert!(room.width().is_some(), "{}", what("start"));
        for round in 0..6 {
            for _ in 0..room.there.len() {
                // Growing and shrinking by turns.
                if lots.below(100) < if round % 2 == 0 { 30 } else { 70 } {
                    room.join(racks);
                } else {
                    room.leave();
                }
                let again = lots.below(room.there.len().max(1) as u32) as usize;
                if let Some((who, rack)) = room.there.get(again).copied() {
                    room.graph.announced(who, rack, false, WANT);
                }
            }
            room.everybody_again();
            room.check(&what("churn"));
            if !room.there.is_empty() {
                assert!(room.width().is_some(), "{}", what("churn"));
                let (_, max, _) = room.degrees();
                assert!(max <= GRAPH_MOST, "{}: {max} links", what("churn"));
            }
        }
    }
}

#[test]
fn a_fifth_that_is_cut_off_takes_nobody_with_it() {
    for seed in 0..5 {
        let mut room = room(1000, 1, seed);
        (0..200).for_each(|_| room.leave());
        let (min, ..) = room.degrees();
        assert!(room.width().is_some() && min >= 10, "{min} links before anybody has announced again");
        room.everybody_again();
        assert!(room.degrees().0 >= GRAPH_FLOOR);
    }
}

#[test]
fn few_links_leave_a_rack() {
    let mut room = room(400, 10, 3);
    for _ in 0..2 {
        for rack in (0..10).map(Rack) {
            let bridges = room.bridges(rack);
            assert!((GRAPH_BRIDGES..=3 * GRAPH_GATES).contains(&bridges), "{rack:?}: {bridges} bridges");
        }
        assert!(room.width().unwrap() <= 8);
        room.everybody_again();
    }
    // Not all of them at one node, which would take them all along.
    assert!(room.graph.racks.values().all(|m| m.gates >= GRAPH_GATES));
}

#[test]
fn a_lonely_rack_is_bridged_and_told_to_ask_again() {
    let mut room = room(100, 1, 9);
    let lonely: SocketAddrV4 = "192.168.7.7:6881".parse().unwrap();
    room.graph.announced(lonely, Rack(7), false, WANT);
    assert!(room.graph.row(lonely).len() == GRAPH_BRIDGES_AT_ONCE && room.graph.is_short(lonely));
    for _ in GRAPH_BRIDGES_AT_ONCE..GRAPH_BRIDGES {
        room.graph.announced(lonely, Rack(7), false, WANT);
    }
    assert!(room.graph.row(lonely).len() == GRAPH_BRIDGES && !room.graph.is_short(lonely));
    assert!(room.there.iter().all(|(who, _)| room.graph.nodes[who].bridges <= 1), "spread over the others");
    room.graph.left(lonely);
    room.check("the lonely one left");
}

#[test]
fn racks_of_one_find_each_other() {
    let mut graph = Graph::new(1);
    let at = |n: u32| SocketAddrV4::new(Ipv4Addr::from_bits(n), 1);
    graph.announced(at(1), Rack(1), false, WANT);
    assert!(graph.row(at(1)).is_empty() && !graph.is_short(at(1)));
    graph.announced(at(2), Rack(2), false, WANT);
    assert_eq!((graph.row(at(1)), graph.row(at(2))), (&[at(2)][..], &[at(1)][..]));
    assert!(!graph.is_short(at(1)) && !graph.is_short(at(2)));
}

#[test]
fn the_complete_serve_newcomers_and_not_one_another() {
    let mut room = room(30, 1, 4);
    for (who, rack) in room.there.clone().into_iter().take(20) {
        room.graph.announced(who, rack, true, WANT);
    }
    let complete = |room: &Room, n: usize| room.graph.row(room.there[n].0).len();
    assert_eq!((complete(&room, 0), complete(&room, 19)), (10, 10), "the incomplete ones only");
    room.join(1);
    assert_eq!((complete(&room, 30), complete(&room, 0)), (30, 11));
    let source: SocketAddrV4 = "10.9.9.9:1".parse().unwrap();
    room.graph.announced(source, Rack(0), true, WANT);
    assert_eq!(room.graph.row(source).len(), 11);
}

#[test]
fn no_more_links_are_made_than_wanted() {
    let mut room = room(300, 3, 4);
    let who: SocketAddrV4 = "10.9.9.9:1".parse().unwrap();
    for (want, has) in [(0, 0), (1, 1), (5, 6)] {
        room.graph.announced(who, Rack(0), false, want);
        assert_eq!(room.graph.row(who).len(), has);
    }
}

#[test]
fn one_seed_gives_one_graph_and_two_seeds_give_two() {
    let rows = |seed| room(200, 2, seed).graph.nodes.into_values().map(|n| n.links).collect::<Vec<_>>();
    let first = rows(5);
    assert!(first == rows(5) && first != rows(6));
}
