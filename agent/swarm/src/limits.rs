//! Every bound of the swarm core, with its reason. Decides nothing at run time.

use crate::metainfo::BLOCK;
use core::time::Duration;

/// Links that a node looks for: at 50 the loss against a full mesh is 1-5 %, at 20 it is 7-15 % (round model).
pub(crate) const TARGET_PEERS: u32 = 50;
/// Links that a node takes: room for those who dial us after we have reached our target.
pub(crate) const MAX_PEERS: u32 = 80;
/// Dials under way: a SYN costs nothing, but a table of half-open ones towards dead hosts must not grow.
pub(crate) const MAX_DIALS: usize = 25;
/// Addresses remembered: three tracker answers; more would only be a forged list.
pub(crate) const MAX_KNOWN: usize = 600;
/// Peers remembered after their link has gone, for statistics: a room of nodes that come and go.
pub(crate) const MAX_DEPARTED: usize = 1024;
/// Bans remembered; the oldest is forgotten, and bans itself again with its next false piece.
pub(crate) const MAX_BANS: usize = 256;

/// Requests that we let a peer queue here, and say so in `reqq`: 32 MiB, above any depth of ours or libtorrent's (500).
pub(crate) const QUEUE: u32 = 2000;
/// Requests that a peer queues where it does not say (libtorrent's default).
pub(crate) const FOREIGN_QUEUE: u32 = 250;
/// Requests towards a new or stalled peer: one round trip's worth on a fast Ethernet.
pub(crate) const DEPTH_MIN: u32 = 4;
/// Requests towards the fastest peer: 8 MiB, which is 20 ms at 400 MB/s.
pub(crate) const DEPTH_MAX: u32 = 512;
/// Bytes of control messages that may wait in a link that takes none: then the peer is not reading, only asking.
pub(crate) const MAX_BACKLOG: i64 = 256 * 1024;
/// Peers in service side by side. The round model says 1 or 2, and offers see to that; where foreign peers ask for what
/// they like, and share their downlinks among many, the simulator says 4.
pub(crate) const ACTIVE_UPLOADS: usize = 4;
/// The same where those leave the uplink idle because their receivers are slow.
pub(crate) const ACTIVE_UPLOADS_MAX: usize = 8;
/// Pieces are promised ahead of what is being sent for this long: a round trip, and a late thread. Longer than what receivers
/// accept ahead, so that one pass leaves the uplink something: 100 nodes at 1 Gbit/s are done after 1.030 instead of 1.039
/// of the bound; with 5 or 20 ms after 1.3 and 1.1.
pub(crate) const UPLOAD_LEAD: Duration = Duration::from_millis(12);
/// Of which sockets and wire hold so much already.
pub(crate) const SOCKET_LEAD: u64 = 128 * 1024;
/// And this much at least.
pub(crate) const UPLOAD_LEAD_MIN: u64 = 64 * 1024;
/// Pieces are accepted ahead of what is being received for this long.
pub(crate) const DOWNLOAD_LEAD: Duration = Duration::from_millis(10);
/// And so many blocks at least: what the sockets and the wire hold of one link.
pub(crate) const DOWNLOAD_LEAD_MIN: u32 = 10;
/// An offer that is not answered within this no longer counts as work for the uplink: it is a round trip and a late thread.
pub(crate) const OFFER_FRESH: Duration = Duration::from_millis(20);
/// And after this it is void.
pub(crate) const OFFER_KEPT: Duration = Duration::from_millis(300);
/// Whoever has not answered is offered the next one after this, or as soon as it is heard of.
pub(crate) const OFFER_AGAIN: Duration = Duration::from_secs(1);
/// Who passed an offer, and did not say that it is ready, gets another one after this.
pub(crate) const FULL_KEPT: Duration = Duration::from_millis(50);
/// Others from which on no ring is made: the way round would be longer than what variety costs. Below the links that a node
/// has in the tracker's graph, since a ring of those that it happens to be linked to is none.
pub(crate) const RING_MAX: usize = 33;
/// Pieces by which a node is behind the one that feeds it before it counts as a late one: some turns and a hiccup.
pub(crate) const RING_LAG: u32 = 8;
/// A piece that a node did not want, since it gets it elsewhere, is not offered to it again before this.
pub(crate) const DECLINED_KEPT: Duration = Duration::from_secs(1);
/// Who is next in the ring is waited for so long, be it busy or level with us, before the one behind it is offered more.
pub(crate) const RING_PATIENCE: Duration = Duration::from_millis(100);
/// Offers that it may pass in a row and still be waited for: some are for what it gets elsewhere already.
pub(crate) const RING_PASSES: u32 = 8;
/// Who is told that an offer would be welcome, at once: one of them is enough, the others may be busy.
pub(crate) const READY_TOLD: usize = 3;
/// Pieces that a neighbour fetches from afar and has told of: several turns' worth; of more the oldest is forgotten.
pub(crate) const FETCHING_MAX: usize = 16;
/// For so long a neighbour is believed to be fetching a piece: longer than a piece takes over a busy uplink, and one that
/// is lost on the way is fetched by others then.
pub(crate) const FETCHING_KEPT: Duration = Duration::from_secs(2);
/// Who has received nothing for this long takes any piece from anywhere: a boot must not wait for an idle neighbour.
pub(crate) const STARVED: Duration = Duration::from_millis(500);
/// Bits of an address that are the same within a rack, if nothing better is known: what the tracker assumes, too.
pub(crate) const NEAR_PREFIX: u8 = 24;
/// An active upload that took nothing for this long does not count: its receiver has gone, or crawls.
pub(crate) const UPLOAD_STALL: Duration = Duration::from_millis(100);
/// Links that fetch the same piece at the end of a download: a second copy of a block costs a link's time.
pub(crate) const MAX_OWNERS: usize = 2;
/// Pieces that a foreign peer is asked for until one of them has come out right: a liar at full speed would have sent hundreds
/// before the first is hashed. Enough that an honest one never waits. Ours are asked a piece at a time.
pub(crate) const UNPROVEN_PIECES: usize = 4;
/// False pieces that a peer may have had a part in, without proof, before it counts as their source.
pub(crate) const MAX_SUSPICIONS: u8 = 3;

/// Others in a rack up to which the tracker's graph is a full mesh, and about the links of a node beyond that.
pub(crate) const GRAPH_MESH: usize = TARGET_PEERS as usize;
/// Links that a newcomer to a larger rack gets at once; those that come after it bring as many again.
pub(crate) const GRAPH_HALF: usize = GRAPH_MESH / 2;
/// Links that a node inside a large rack has when it has announced twice: between the model's 20 (7-15 % lost) and 50,
/// and low enough that topping up the last ones leaves the average near 50.
pub(crate) const GRAPH_FLOOR: usize = 40;
/// Links that the graph gives nobody more of: a node refuses more than [`MAX_PEERS`], the master's and strangers' too.
pub(crate) const GRAPH_MOST: usize = 72;
/// Drawn by lot for each link, the best of which is taken: with two the oldest node has 3 half rows, with three 2.5.
pub(crate) const GRAPH_CHOICES: usize = 3;
/// Links that each rack builds to others: enough that no one node's end cuts it off, and few enough that a piece seldom
/// comes over two of them before it has spread inside.
pub(crate) const GRAPH_BRIDGES: usize = 6;
/// Of these, how many one announce builds: several nodes share them.
pub(crate) const GRAPH_BRIDGES_AT_ONCE: usize = 1;
/// Nodes of a rack that have any of them, at least: its way out does not end with one or two that leave, and what comes in
/// begins to spread at many places (ten racks of forty, simulated: 1.13 of the bound with ten of them, 1.05 with twenty).
pub(crate) const GRAPH_GATES: usize = 20;

/// A HAVE waits this long for company: alone it costs 99 bytes on the wire, not 9.
pub(crate) const HAVE_DELAY: Duration = Duration::from_millis(2);
/// And this long in a ring, where only the next needs to know at once; the others do when there is a gap to be closed.
/// Telling each of fifteen of each piece costs a node as much as the pieces themselves.
pub(crate) const RING_HAVE_DELAY: Duration = Duration::from_millis(250);
/// Of a peer that owes blocks and sends none for this long, nothing is expected: others' offers are accepted meanwhile.
/// Longer than four links' turns at 10 Mbit/s, and it costs nothing where it was wrong.
pub(crate) const LATE: Duration = Duration::from_millis(100);
/// After this, or twice the longest wait that it has shown, what one of our own owes is asked elsewhere: above TCP's shortest timeout
/// (200 ms), since what is under way then comes twice.
pub(crate) const SNUB_FIRST: Duration = Duration::from_millis(300);
/// And after this in any case.
pub(crate) const SNUB: Duration = Duration::from_secs(1);
/// A peer that rejects is asked again after this.
pub(crate) const REJECT_PAUSE: Duration = Duration::from_millis(250);
/// A cancelled request may still be answered within this: longer than any queue of a peer that serves us at all.
pub(crate) const CANCELLED_KEPT: Duration = Duration::from_secs(10);
/// A link that owes an answer, or the handshake, for this long is dead.
pub(crate) const SILENT: Duration = Duration::from_secs(5);
/// A link is closed when nothing at all came for this long (BEP 3's customary two minutes, and some for a late timer).
pub(crate) const IDLE: Duration = Duration::from_secs(150);
/// Our own keep-alives: below the 120 s at which peers close.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Links of one pair that are younger than this were dialled at the same moment; an older one is a zombie's.
pub(crate) const SIMULTANEOUS: Duration = Duration::from_secs(5);
/// The first wait before the same address is dialled again; doubled each time.
pub(crate) const REDIAL_FIRST: Duration = Duration::from_millis(250);
/// The longest such wait for the master: no wait of a booting node is longer than a second.
pub(crate) const REDIAL_MASTER: Duration = Duration::from_secs(1);
/// The longest such wait for others.
pub(crate) const REDIAL_MAX: Duration = Duration::from_secs(30);
/// A new announce where the tracker was silent, and while links are few.
pub(crate) const ANNOUNCE_RETRY: Duration = Duration::from_secs(1);
/// Links below which a node asks the tracker again without waiting for its interval.
pub(crate) const FEW_PEERS: usize = 4;
/// The longest interval that we believe a tracker: a boot is shorter than internet trackers' half hours.
pub(crate) const ANNOUNCE_MAX: Duration = Duration::from_secs(120);
/// A tracker that has not answered for this long counts as gone: no wait of a booting node is longer.
pub(crate) const TRACKER_GONE: Duration = Duration::from_secs(1);
/// Local announces are at least this far apart (BEP 14: at most one a minute).
pub(crate) const LOCAL_INTERVAL: Duration = Duration::from_secs(60);
/// Addresses beyond which none is learned from local announces: anybody can forge those, and the tracker's must have room.
pub(crate) const LOCAL_KNOWN: usize = MAX_KNOWN / 2;
/// Timers are looked at this often during a download, half of the shortest deadline.
pub(crate) const CHORES_BUSY: Duration = Duration::from_millis(50);
/// And this often afterwards.
pub(crate) const CHORES_IDLE: Duration = Duration::from_secs(1);

const _: () = {
    assert!(DEPTH_MAX < QUEUE, "our own nodes must not reject each other's requests");
    assert!(DEPTH_MIN < FOREIGN_QUEUE);
    assert!(QUEUE as u64 * BLOCK as u64 <= 32 << 20);
    assert!(MAX_BACKLOG > QUEUE as i64 * 17, "a whole queue may be rejected at once");
    assert!(TARGET_PEERS < MAX_PEERS);
    assert!(GRAPH_HALF < GRAPH_FLOOR && GRAPH_FLOOR < GRAPH_MESH && GRAPH_MESH < GRAPH_MOST);
    assert!(GRAPH_MOST + GRAPH_BRIDGES <= MAX_PEERS as usize, "what the tracker links, a node must accept");
    assert!(RING_MAX < GRAPH_FLOOR, "who is in a ring must know all of it");
    assert!(KEEP_ALIVE.as_secs() * 2 < IDLE.as_secs());
    assert!(CHORES_BUSY.as_millis() * 2 <= LATE.as_millis());
    assert!(LATE.as_millis() < SNUB_FIRST.as_millis() && SNUB_FIRST.as_millis() < SNUB.as_millis());
    assert!(OFFER_FRESH.as_millis() < OFFER_KEPT.as_millis() && OFFER_KEPT.as_millis() < SILENT.as_millis());
};
