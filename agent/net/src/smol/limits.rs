//! Every bound of the smoltcp driver, with its reason. Decides nothing at run time.

use std::time::Duration;

/// Bytes of each socket's two buffers, unless the owner says otherwise: bandwidth x delay of 1 Gbit/s and 0.5 ms.
pub const SOCKET_BUFFER: usize = 64 * 1024;
/// Segments looked at for one fill of a socket's buffer.
pub(super) const SEND_PARTS: usize = 24;

/// Links of one driver, unless its owner says otherwise: a node's 80, and some strangers. smoltcp looks at every socket
/// for every frame, so this is also what a frame costs.
pub const MAX_LINKS: usize = 128;
/// Sockets that wait for somebody to dial: each SYN takes one, and they are replaced after every frame.
pub(super) const LISTENERS: usize = 4;
/// A dial's own deadline: one lost SYN is repeated after 1 s, the second one after 3 s is not waited for.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_millis(2500);
/// Who dials us says which torrent within this time.
pub(super) const GREET_TIMEOUT: Duration = Duration::from_secs(5);
/// A closed link has this long to pass its last bytes on; then it is reset.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Frames taken in by one poll, so that a flood does not keep our own from leaving.
pub(super) const INGRESS_TURN: usize = 256;
/// Rounds of sending in one poll, each with one frame of every socket.
pub(super) const EGRESS_TURN: usize = 256;

/// Announces that wait to be sent, and answers that wait to be read: eight trackers.
pub(super) const TRACKER_DATAGRAMS: usize = 16;
/// Bytes of these: 200 peers are 1,220 bytes, and no longer datagram fits into a frame.
pub(super) const TRACKER_BYTES: usize = TRACKER_DATAGRAMS * 1500;

/// Events kept for an owner that does not ask for them; the oldest go first.
pub(super) const MAX_EVENTS: usize = 256;

/// An Ethernet frame's payload.
pub(super) const MTU: usize = 1500;
/// Addresses whose card is known: a room of nodes. Who was not heard for longest goes first.
pub(super) const MAX_NEIGHBOURS: usize = 1024;
/// Packets that wait for one neighbour's answer: a handful of SYNs.
pub(super) const WAITING_PACKETS: usize = 4;
/// A question that was not answered is asked again after this, if there is still something to be sent.
pub(super) const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Whoever was not heard for so long is asked again, beside being sent to.
pub(super) const NEIGHBOUR_AGE: Duration = Duration::from_secs(60);
