//! Who gives up a link when all are taken: one machine must not keep the others out, under however many names.
//! Decides by the links of each address alone.

use crate::swarm::Conn;
use alloc::collections::BTreeMap;
use core::net::Ipv4Addr;

/// The link to end so that `newcomer` gets one: the newest (drivers number them in order) of the address that has most.
/// `None` where the newcomer would then have as many itself.
#[must_use]
pub fn who_gives_way(links: impl Iterator<Item = (Ipv4Addr, Conn)>, newcomer: Ipv4Addr) -> Option<Conn> {
    let mut hosts: BTreeMap<Ipv4Addr, (usize, Conn)> = BTreeMap::new();
    for (host, conn) in links {
        let (count, newest) = hosts.entry(host).or_default();
        *count += 1;
        *newest = conn.max(*newest);
    }
    let own = hosts.get(&newcomer).map_or(0, |(count, _)| *count);
    let (most, conn) = hosts.into_values().max()?;
    (most > own + 1).then_some(conn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_whoever_has_most_goes_until_all_have_as_many() {
        let host = |n: u8| Ipv4Addr::new(10, 0, 0, n);
        let mut links = alloc::vec![(host(1), 1), (host(2), 2), (host(2), 3), (host(2), 7), (host(3), 9)];
        let who = |links: &[(Ipv4Addr, Conn)], n| who_gives_way(links.iter().copied(), host(n));
        assert_eq!(who(&links, 4), Some(7));
        assert_eq!((who(&links, 1), who(&links, 2)), (Some(7), None));
        links.retain(|(_, conn)| *conn != 7);
        assert_eq!((who(&links, 1), who(&links, 4)), (None, Some(3)));
        links.retain(|(_, conn)| *conn != 3);
        assert_eq!(who(&links, 4), None, "one each");
        assert_eq!(who(&[], 4), None);
    }
}
