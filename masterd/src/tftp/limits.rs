//! Every limit of the TFTP server, with its reason.
//! Nothing else in this folder holds a number that bounds what a client can ask for.

use std::time::Duration;

/// A request longer than this is not one: RFC 2347 section 2 lets requests have 512 bytes.
pub(super) const REQUEST_BYTES: usize = 512;

/// RFC 2348's smallest and largest block.
pub(super) const BLOCK_MIN: u16 = 8;
pub(super) const BLOCK_MAX: u16 = 65464;

/// RFC 1350's block, where the client asks for no other.
pub(super) const BLOCK_DEFAULT: u16 = 512;

/// Blocks in flight. 64 blocks of 1468 bytes stay within the 208 KiB that a Linux socket buffers by default, which
/// counts a block as some 2300 bytes; firmware asks for 4, the agent for 16.
pub(super) const WINDOW_MAX: u16 = 64;

/// Transfers at once. Each holds a socket and an open file, which is far below the unit's `LimitNOFILE=`, and the memory
/// of a few packets; a request beyond it is left unanswered, because boot ROMs repeat a request but give up at an error.
pub(super) const TRANSFERS: usize = 1000;

/// Transfers at once for one address: firmware uses one or two, and one host must not take them all.
pub(super) const TRANSFERS_OF_ONE_ADDRESS: usize = 64;

/// First wait for an acknowledgement. Every answer on a LAN comes within a few milliseconds unless a packet was
/// lost or the room's link is full, and in the second case a quick repeat makes it worse.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The wait doubles up to this.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Without progress for this long (and after at least `REPEATS` repeats), the client is gone. It is as long as a
/// switch port may take until it forwards again after a link change.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const REPEATS: u32 = 2;

/// Requests that are taken at once before running transfers get their turn.
pub(super) const REQUESTS_PER_TURN: usize = 64;

/// Largest UDP payload over IPv4; bounds how many blocks go to the kernel at once.
pub(super) const DATAGRAM_BYTES: usize = 65507;

/// Transfers that the state file shows.
pub(super) const RECENT: usize = 32;

/// Addresses whose last boot file it shows: a room that boots fetches thousands of other files meanwhile, and as many
/// machines as the log service remembers are to be seen in their firmware. Two megabytes with the longest names.
pub(super) const BOOTING: usize = 4096;

const _: () = assert!(BLOCK_MIN <= BLOCK_DEFAULT && BLOCK_DEFAULT <= BLOCK_MAX);
const _: () = assert!(TRANSFERS_OF_ONE_ADDRESS < TRANSFERS);
