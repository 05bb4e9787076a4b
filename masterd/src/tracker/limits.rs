//! Every limit of the tracker, with its reason.

use std::time::Duration;

/// An announce has 98 bytes, a scrape of 74 hashes 1496; BEP 41's options may follow and are not read.
pub(super) const REQUEST_BYTES: usize = 1500;

/// Peers that are remembered, all torrents together: about 32 MB with their links. Sixteen times a thousand-node room with four images.
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

/// The interval of a node that is short of links: those who come after it bring them, and a room that is switched on has
/// come within seconds.
pub(super) const INTERVAL_SHORT_SECONDS: u32 = 2;

/// Prefix of a rack where the configuration lists none for an address: one switch's worth of nodes.
pub(super) const RACK_PREFIX: u8 = 24;

/// Bytes of an HTTP request: an announce has 300 to 500, a scrape of all images of a site stays below, too.
pub(super) const HTTP_REQUEST_BYTES: usize = 8192;
/// Headers of one: clients send three to six, browsers a score.
pub(super) const HTTP_HEADERS: usize = 32;
/// HTTP connections at one time. Each lives for one answer, a millisecond; when all are held the oldest gives way.
pub(super) const HTTP_CONNECTIONS: usize = 256;
/// And of one address, since one client needs one.
pub(super) const HTTP_CONNECTIONS_OF_ONE_ADDRESS: usize = 16;
/// From accept to the answer's last byte: a lost packet is repeated twice in this time.
pub(super) const HTTP_EXCHANGE: Duration = Duration::from_secs(5);

/// Shortest and longest announce interval that a configuration may ask for.
pub(super) const INTERVAL_SECONDS: std::ops::RangeInclusive<u32> = 1..=3600;
