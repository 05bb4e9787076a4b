//! Every bound of the driver, with its reason. Decides nothing at run time.

use std::time::Duration;

/// Read buffer, shared by all links: sixteen blocks with one call, and still in the cache when they are put to their
/// places. The longest frame (a bitfield of 2^20 pieces, 128 KiB) fits with room for more.
pub(super) const READ_BUFFER: usize = 256 * 1024;
/// Bytes that one link may bring in before the others have their turn.
pub(super) const READ_TURN: usize = 1 << 20;
/// Bytes of a block that are waited for at most before they are read: a customary block, and less than the smallest
/// receive buffer, or the peer would stop sending.
pub(super) const AWAITED_MAX: u32 = 16 * 1024;
/// Bytes that one link may take in one turn.
pub(super) const SEND_TURN: u64 = 1 << 20;
/// Bytes that wait in a link's own queue, and as many unsent in the kernel. What is queued can't be reconsidered by the
/// upload scheduler: a whole piece in there, and it would serve everybody at once without knowing.
pub(super) const LINK_QUEUE_MIN: u32 = 32 * 1024;
/// The same on a fast link: what is not queued costs a turn of the loop; eight blocks keep 10 Gbit/s busy for 100 us.
pub(super) const LINK_QUEUE_MAX: u32 = 128 * 1024;
/// What lies between: what the link has lately sent in so long a time. A quarter of it cost a node among sixteen at
/// 100 Mbit/s a tenth of its CPU in wake-ups, and made nobody faster.
pub(super) const LINK_QUEUE_TIME: Duration = Duration::from_micros(10_000);
/// For which its bytes are counted over this long.
pub(super) const LINK_RATE_WINDOW: Duration = Duration::from_millis(10);
/// Segments of one write: eight blocks and the messages between them.
pub(super) const SEND_PARTS: usize = 24;

/// What a bounded upload may save up: less and a busy processor costs rate, more and a program beside it feels the burst.
pub(super) const RATE_BURST: Duration = Duration::from_millis(20);
/// Bytes below which a bounded upload does not write: one block, so that a frame is not sent in crumbs.
pub(super) const RATE_QUANTUM: u64 = 16 * 1024;

/// Connections that wait to be accepted: a room of nodes that are switched on at the same moment.
pub const BACKLOG: i32 = 4096;
/// Connections accepted in one turn, so that a flood of them does not starve the transfers.
pub(super) const ACCEPT_TURN: usize = 256;
/// How long accepting rests when there are no descriptors left (EMFILE): soon enough for a peer that waits.
pub(super) const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Links of one driver, unless its owner says otherwise: 500 nodes with two images, and some strangers.
pub const MAX_LINKS: usize = 1200;
/// One address has at most this part of them: a flood from one machine leaves room for the others, and a bench with
/// hundreds of peers on one host still has enough.
pub(super) const ADDRESS_SHARE: usize = 2;
/// A dial's own deadline: one lost SYN is repeated after 1 s, the second one after 3 s is not waited for.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_millis(2500);
/// Who dials us says which torrent within this time.
pub(super) const GREET_TIMEOUT: Duration = Duration::from_secs(5);

/// A tracker's answer: 200 peers are 1,220 bytes, foreign trackers send up to a few kilobytes.
pub(super) const TRACKER_DATAGRAM: usize = 8 * 1024;
/// Datagrams read in one turn.
pub(super) const TRACKER_TURN: usize = 64;

/// A local announce: BEP 14 wants it below 1,400 bytes; longer ones are cut, and then none.
pub(super) const LOCAL_DATAGRAM: usize = 1500;
/// Of these read in one turn: a room that is switched on without a tracker comes within a second.
pub(super) const LOCAL_TURN: usize = 64;
/// Interfaces that they are sent by where none is named.
pub(super) const MAX_INTERFACES: usize = 8;

/// Events kept for an owner that does not ask for them; the oldest warnings go first.
pub(super) const MAX_EVENTS: usize = 256;
/// Descriptors told by one wait.
pub(super) const POLL_TURN: usize = 256;

const _: () = {
    assert!(READ_BUFFER > 128 * 1024 + 5, "a partial frame of any length must leave room to read on");
    assert!(LINK_QUEUE_MIN <= LINK_QUEUE_MAX && LINK_QUEUE_MAX as u64 <= SEND_TURN);
};
