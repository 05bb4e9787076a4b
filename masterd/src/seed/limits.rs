//! Every bound of the seed, with its reason. Decides nothing at run time.

use std::time::Duration;

/// Links of one image: a room of 500 nodes that are switched on together, twice over while they come and go.
pub(super) const MAX_PEERS: u32 = 1000;
/// The state file is written this often while something moves.
pub(super) const STATE_EVERY: Duration = Duration::from_secs(1);
/// Peers that the state file names; the rest is in its sums.
pub(super) const STATE_PEERS: usize = 500;
/// How long the tracker may take to hear that we leave: systemd waits for us.
pub(super) const FAREWELL: Duration = Duration::from_millis(300);
/// A .torrent of 2^20 pieces is 20 MiB; nothing sensible is three times as long.
pub(super) const MAX_TORRENT: u64 = 64 << 20;
/// A line of progress while a foreign torrent's data is checked.
pub(super) const CHECK_LINE_EVERY: Duration = Duration::from_secs(2);
