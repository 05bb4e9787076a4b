//! Every limit of the tracker, with its reason.

use std::time::Duration;

/// An announce has 98 bytes, a scrape of 74 hashes 1496; BEP 41's options may follow and are not read.
pub(super) const REQUEST_BYTES: usize = 1500;

/// Peers in an answer to a client that does not say how many it wants (BEP 15's default). The swarm's model finds
/// 50 links to be within 5 % of the optimum for a thousand nodes.
pub(super) const PEERS_DEFAULT: usize = 50;

/// Peers that are remembered, all torrents together: about 8 MB. Sixteen times a thousand-node room with four images.
pub(super) const PEERS: usize = 65536;

/// Peers of one address and torrent: test rooms run hundreds of clients on one host, nobody else has more than one.
pub(super) const PEERS_OF_ONE_ADDRESS: usize = 1024;

/// A node that has missed this many announces, and a little more for the last one's repeats, is gone.
pub(super) const MISSED_ANNOUNCES: u32 = 3;
pub(super) const EXPIRY_SLACK: Duration = Duration::from_secs(5);

/// Other clients do not come as often as they are told (libtorrent: not before 5 minutes).
pub(super) const FOREIGN_EXPIRY: Duration = Duration::from_secs(15 * 60);

/// How long a connection id's key period lasts, and how many earlier ones are still accepted: an id lives for two to
/// three minutes, and clients use it for one (BEP 15).
pub(super) const CONNECTION_PERIOD: Duration = Duration::from_secs(60);
pub(super) const CONNECTION_PERIODS: u64 = 3;

/// Shortest and longest announce interval that a configuration may ask for.
pub(super) const INTERVAL_SECONDS: std::ops::RangeInclusive<u32> = 1..=3600;
