//! Whom a peer is told of: a pure choice over what is known of the others.
//! Decides the graph of the swarm; never who may join it.

use std::net::SocketAddrV4;

/// Draws lots (SplitMix64). Seeded, so that a test repeats; no secret depends on it.
#[derive(Clone, Debug)]
pub(super) struct Lots(u64);

impl Lots {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The high half of the product is below the bound, which came as a usize.
        ((u128::from(z ^ (z >> 31)) * bound as u128) >> 64) as usize
    }
}

/// What the choice looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) address: SocketAddrV4,
    /// It needs nothing any more: a source, but one that soon leaves for its OS.
    pub(super) complete: bool,
    /// How often others have been told of it.
    pub(super) given: u32,
}

/// Chooses up to `want`.
///
/// One half are those that others were told of least often, the incomplete ones first: so links are spread evenly and
/// newcomers, of whom nobody knows yet, become known. That half alone would tie each newcomer to its immediate
/// predecessors, a chain of thousands of nodes in which pieces travel slowly; so the other half is random, which keeps
/// the graph's diameter at a few steps.
pub(super) fn choose(mut candidates: Vec<Candidate>, want: usize, lots: &mut Lots) -> Vec<SocketAddrV4> {
    if candidates.len() > want {
        shuffle(&mut candidates, lots);
        let balanced = want.div_ceil(2).min(candidates.len());
        // Stable, so that equals stay in their random order.
        candidates.sort_by_key(|c| (c.complete, c.given));
        if let Some(rest) = candidates.get_mut(balanced..) {
            shuffle(rest, lots);
        }
        candidates.truncate(want);
    }
    candidates.into_iter().map(|c| c.address).collect()
}

fn shuffle(list: &mut [Candidate], lots: &mut Lots) {
    for end in (1..list.len()).rev() {
        list.swap(end, lots.below(end + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet, VecDeque};
    use std::net::Ipv4Addr;

    fn address(n: u32) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::from_bits(0x0a00_0000 + n), 6881)
    }

    #[test]
    fn few_are_told_all() {
        let all: Vec<_> =
            (0..7).map(|n| Candidate { address: address(n), complete: n == 3, given: n }).collect();
        let mut chosen = choose(all, 7, &mut Lots::new(1));
        chosen.sort();
        assert_eq!(chosen, (0..7).map(address).collect::<Vec<_>>());
        assert!(choose(Vec::new(), 7, &mut Lots::new(1)).is_empty());
    }

    #[test]
    fn newcomers_and_incomplete_ones_come_first() {
        let all: Vec<_> = (0..100)
            .map(|n| Candidate { address: address(n), complete: n >= 60, given: if n < 5 { 0 } else { 9 } })
            .collect();
        let chosen = choose(all, 10, &mut Lots::new(7));
        let set: HashSet<_> = chosen.iter().collect();
        assert_eq!((chosen.len(), set.len()), (10, 10));
        assert!((0..5).all(|n| set.contains(&address(n))));
    }

    /// A thousand nodes switched on one after another: links are even and everybody is a few steps from everybody.
    #[test]
    fn the_graph_of_a_room_is_even_and_shallow() {
        let (nodes, want) = (1000, 25);
        let mut lots = Lots::new(42);
        let mut given: HashMap<SocketAddrV4, u32> = HashMap::new();
        let mut links: HashMap<SocketAddrV4, HashSet<SocketAddrV4>> = HashMap::new();
        for n in 0..nodes {
            let candidates = (0..n)
                .map(|n| Candidate { address: address(n), complete: false, given: given[&address(n)] })
                .collect();
            let chosen = choose(candidates, want, &mut lots);
            given.insert(address(n), 0);
            links.entry(address(n)).or_default();
            for peer in chosen {
                *given.get_mut(&peer).unwrap() += 1;
                links.entry(address(n)).or_default().insert(peer);
                links.entry(peer).or_default().insert(address(n));
            }
        }
        let degrees: Vec<_> = links.values().map(HashSet::len).collect();
        assert!(*degrees.iter().min().unwrap() >= 20, "{:?}", degrees.iter().min());
        assert!(*degrees.iter().max().unwrap() <= 120, "{:?}", degrees.iter().max());
        let mut distance = HashMap::from([(address(0), 0)]);
        let mut queue = VecDeque::from([address(0)]);
        while let Some(at) = queue.pop_front() {
            for next in &links[&at] {
                if !distance.contains_key(next) {
                    distance.insert(*next, distance[&at] + 1);
                    queue.push_back(*next);
                }
            }
        }
        assert_eq!(distance.len(), nodes as usize);
        assert!(*distance.values().max().unwrap() <= 5, "{:?}", distance.values().max());
    }
}
