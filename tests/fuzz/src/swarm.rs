//! A driver for the swarm core whose peers are played by a script: links, messages, blocks, time, all in any order.
//! Decides what must hold after every step; performs nothing for real.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use boottorrent_swarm::metainfo::{BLOCK, Block, Geometry, Piece};
use boottorrent_swarm::swarm::{Admit, Config, Conn, Have, Input, Output, Swarm};
use boottorrent_swarm::wire::{BlockClaim, Decoder, Handshake, Message, OwnedMessage};
use boottorrent_swarm::{InfoHash, PeerId, Time};

const HASH: InfoHash = InfoHash([7; 20]);
const US: PeerId = PeerId(*b"-BT0100-525400000001");
const MASTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 6881);
/// Outputs of one input: a new piece may be told to every link and asked for on all, no more.
const OUTPUTS_AT_ONCE: usize = 20_000;
/// The core's bound on a peer's queue (`reqq`).
const QUEUE: u32 = 2000;
/// What the core takes control messages under, and the decoder hands them on.
pub const EXT_CONTROL: u8 = 8;

/// What the driver knows of a link.
#[derive(Debug)]
struct Link {
    outgoing: bool,
    shaken: bool,
    /// The payload that is under way: nothing else can come before it.
    payload: Option<(Block, bool)>,
    /// Requests of the peer that have no answer yet.
    asked: BTreeMap<BlockClaim, u32>,
    /// What we have asked it for, and not taken back.
    owed: Vec<BlockClaim>,
}

/// The core under test, and everything that it was told and has said.
pub struct World {
    swarm: Swarm,
    geometry: Geometry,
    now: Time,
    links: BTreeMap<Conn, Link>,
    next_conn: Conn,
    dialled: Vec<SocketAddrV4>,
    verifying: Vec<Piece>,
    /// Whose bytes a block holds: true where they are right.
    stored: BTreeMap<Block, bool>,
    completed: bool,
    stopped: bool,
}

impl World {
    /// `have`: 0 nothing, 1 everything; otherwise nothing, and only one link is taken.
    #[must_use]
    pub fn new(pieces: u8, blocks: u8, tail: u16, have: u8) -> World {
        let piece_length = BLOCK * u32::from(blocks % 4 + 1);
        let whole = u64::from(piece_length) * u64::from(pieces % 12 + 1);
        let total = whole - u64::from(u32::from(tail) % piece_length);
        let geometry = Geometry::new(piece_length, total).expect("within the limits");
        let all = have % 3 == 1;
        let mut config = Config::new(HASH, US, geometry, if all { Have::All } else { Have::None }, 1);
        config.listen_port = Some(6881);
        config.own = Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 11), 6881));
        config.master = vec![MASTER];
        config.max_peers = if have % 3 == 2 { 1 } else { 80 };
        let mut world = World {
            swarm: Swarm::new(Time(1_000_000), config),
            geometry,
            now: Time(1_000_000),
            links: BTreeMap::new(),
            next_conn: 1,
            dialled: Vec::new(),
            verifying: Vec::new(),
            stored: BTreeMap::new(),
            completed: all,
            stopped: false,
        };
        world.drain();
        world
    }

    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The `n`th link that is open, if there is one.
    #[must_use]
    pub fn pick(&self, n: u8) -> Option<Conn> {
        self.links.keys().copied().nth(usize::from(n) % self.links.len().max(1))
    }

    pub fn tell(&mut self, input: Input<'_>) {
        self.swarm.handle(self.now, input);
        self.drain();
    }

    fn open(&mut self, peer: SocketAddrV4, outgoing: bool) -> Conn {
        let conn = self.next_conn;
        self.next_conn += 1;
        let link = Link { outgoing, shaken: false, payload: None, asked: BTreeMap::new(), owed: Vec::new() };
        self.links.insert(conn, link);
        self.tell(Input::Connected { conn, peer, outgoing });
        conn
    }

    /// Somebody dials us and says his first words.
    pub fn incoming(&mut self, host: u8, id: u8, fast: bool) -> Conn {
        let peer = SocketAddrV4::new(Ipv4Addr::new(10, 0, 1, host), 40_000 + u16::from(host));
        let conn = self.open(peer, false);
        self.shake(conn, id, fast, true);
        conn
    }

    pub fn shake(&mut self, conn: Conn, id: u8, fast: bool, right: bool) {
        let Some(link) = self.links.get_mut(&conn).filter(|l| !l.shaken) else { return };
        link.shaken = true;
        let hash = if right { HASH } else { InfoHash([8; 20]) };
        let id = if id == 0 { US } else { PeerId([id; 20]) };
        let mut handshake = Handshake::new(hash, id);
        if !fast {
            handshake.reserved[7] = 0;
        }
        self.tell(Input::Handshake { conn, handshake });
    }

    /// The answer to the oldest dial.
    pub fn dialled(&mut self, succeeds: bool) {
        if self.dialled.is_empty() {
            return;
        }
        let peer = self.dialled.remove(0);
        if succeeds {
            self.open(peer, true);
        } else {
            self.tell(Input::DialFailed { peer });
        }
    }

    pub fn message(&mut self, conn: Conn, message: Message<'_>) {
        let Some(link) = self.links.get_mut(&conn).filter(|l| l.shaken && l.payload.is_none()) else {
            return;
        };
        if let Message::Request(claim) = message {
            *link.asked.entry(claim).or_default() += 1;
        }
        self.tell(Input::Message { conn, message });
    }

    /// The header of a piece message; the payload is right or wrong, and comes when `arrive` is called.
    pub fn offer(&mut self, conn: Conn, claim: BlockClaim, right: bool) {
        let Some(link) = self.links.get_mut(&conn).filter(|l| l.shaken && l.payload.is_none()) else {
            return;
        };
        link.owed.retain(|owed| *owed != claim);
        match self.swarm.admit_block(conn, claim.index, claim.offset, claim.length) {
            Admit::Store(block) => {
                assert_eq!(BlockClaim::from(block), claim, "another range than the peer sends");
                assert!(!self.swarm.have().has(block.piece), "verified bytes would be overwritten");
                assert!(!self.verifying.contains(&block.piece), "bytes change while they are hashed");
                let writers =
                    self.links.values().filter_map(|l| l.payload).filter(|(b, keep)| *keep && *b == block);
                assert_eq!(writers.count(), 0, "two writers of one block");
                self.links.get_mut(&conn).expect("it was there").payload = Some((block, true));
                self.stored.insert(block, right);
            }
            Admit::Discard(block) => {
                self.links.get_mut(&conn).expect("it was there").payload = Some((block, false));
            }
            Admit::Close => {}
        }
        self.drain();
        if matches!(self.links.get(&conn), Some(Link { payload: None, .. })) {
            panic!("Admit::Close without an Output::Close");
        }
    }

    /// Answers the oldest request of ours on this link.
    pub fn answer(&mut self, conn: Conn, right: bool) -> bool {
        let Some(claim) = self.links.get(&conn).and_then(|l| l.owed.first().copied()) else { return false };
        self.offer(conn, claim, right);
        true
    }

    pub fn arrive(&mut self, conn: Conn) {
        let Some((block, keep)) = self.links.get_mut(&conn).and_then(|l| l.payload.take()) else { return };
        self.tell(if keep { Input::Block { conn, block } } else { Input::Discarded { conn, block } });
    }

    pub fn close(&mut self, conn: Conn) {
        let Some(link) = self.links.remove(&conn) else { return };
        // A block that was cut off holds anything.
        if let Some((block, true)) = link.payload {
            self.stored.remove(&block);
        }
        self.tell(Input::Closed { conn });
    }

    /// The hash of the oldest piece that waits for it: what its bytes deserve.
    pub fn verified(&mut self) -> bool {
        if self.verifying.is_empty() {
            return false;
        }
        let piece = self.verifying.remove(0);
        let blocks = (0..self.geometry.blocks(piece)).filter_map(|n| self.geometry.block(piece, n));
        let ok = blocks.clone().all(|b| self.stored.get(&b) == Some(&true));
        if !ok {
            let known = blocks.clone().filter(|b| self.stored.contains_key(b)).count();
            assert_eq!(known, blocks.count(), "a piece is verified before its blocks are here");
        }
        self.tell(Input::Verified { piece, ok });
        true
    }

    /// Time passes, to the next wake-up at most where `wake`.
    pub fn pass(&mut self, by: Duration, wake: bool) {
        let until = self.now + by;
        self.now = self.swarm.wake_at().filter(|at| wake && *at < until).unwrap_or(until).max(self.now);
        self.tell(Input::Tick);
        if let Some(at) = self.swarm.wake_at() {
            assert!(at > self.now, "the driver would spin: wake-up at {at:?}, now {:?}", self.now);
        } else {
            assert!(self.stopped, "a core that never wakes again");
        }
    }

    pub fn stop(&mut self) {
        self.stopped = true;
        self.tell(Input::Stop);
        assert!(self.links.is_empty(), "a link outlives the stop");
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.swarm.poll() {
            outputs += 1;
            assert!(outputs < OUTPUTS_AT_ONCE, "one input has no end of outputs");
            self.perform(output);
        }
        let progress = self.swarm.progress();
        assert!(progress.longest_queue <= QUEUE, "{} requests wait", progress.longest_queue);
        assert_eq!(progress.pieces_done == progress.pieces, self.swarm.is_complete());
        assert_eq!(progress.bytes_left == 0, self.swarm.is_complete());
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Dial { peer } => {
                // Twice at once only where that peer's own link came and went meanwhile; a driver ends dials by itself.
                self.dialled.push(peer);
            }
            Output::Handshake { conn, handshake } => {
                assert!(self.links.contains_key(&conn), "a handshake on a closed link");
                assert_eq!((handshake.info_hash, handshake.peer_id), (HASH, US));
            }
            Output::Send { conn, message } => self.sent(conn, &message),
            Output::SendBlock { conn, block } => {
                assert!(self.swarm.have().has(block.piece), "bytes that nobody has verified are sent");
                self.settle(conn, BlockClaim::from(block));
            }
            Output::Close { conn, reason } => {
                let link =
                    self.links.remove(&conn).unwrap_or_else(|| panic!("{conn} is closed twice: {reason}"));
                if let Some((block, true)) = link.payload {
                    self.stored.remove(&block);
                }
            }
            Output::Verify { piece } => {
                assert!(!self.verifying.contains(&piece) && !self.swarm.have().has(piece));
                self.verifying.push(piece);
            }
            Output::Complete => {
                assert!(self.swarm.is_complete() && !self.completed, "complete, again or too early");
                self.completed = true;
            }
            Output::Announce { .. } | Output::AnnounceLocal => {}
        }
    }

    fn sent(&mut self, conn: Conn, message: &OwnedMessage) {
        let mut bytes = Vec::new();
        match message {
            // It goes out under the id that its receiver has chosen; our decoder knows our own.
            OwnedMessage::Control { control, .. } => {
                OwnedMessage::Control { id: EXT_CONTROL, control: *control }.emit(&mut bytes);
            }
            message => message.emit(&mut bytes),
        }
        let mut decoder = Decoder::new();
        decoder.set_geometry(&self.geometry);
        let hello = Handshake::new(HASH, US).emit();
        decoder.next(&hello).expect("a handshake");
        assert!(matches!(decoder.next(&bytes), Ok(Some((n, _))) if n == bytes.len()), "{message:?}");
        match message {
            OwnedMessage::Reject(claim) => self.settle(conn, *claim),
            OwnedMessage::Request(claim) => {
                let link = self.links.get_mut(&conn).expect("a request on a closed link");
                let block = self.geometry.claim(claim.index, claim.offset, claim.length);
                let block = block.unwrap_or_else(|| panic!("{claim:?} does not exist"));
                assert!(!self.swarm.have().has(block.piece), "a piece that is here is asked for");
                link.owed.push(*claim);
                assert!(link.owed.len() <= QUEUE as usize, "requests without end");
            }
            OwnedMessage::Cancel(claim) => {
                let link = self.links.get_mut(&conn).expect("a cancel on a closed link");
                link.owed.retain(|owed| owed != claim);
            }
            OwnedMessage::Have(index) => {
                let piece = self.geometry.piece(*index).expect("a piece of the torrent");
                assert!(self.swarm.have().has(piece), "a HAVE that is not true");
                assert!(self.links.contains_key(&conn), "a HAVE on a closed link");
            }
            _ => assert!(self.links.contains_key(&conn), "{message:?} on a closed link"),
        }
    }

    /// BEP 6: a request has one answer, and what was not asked for has none.
    fn settle(&mut self, conn: Conn, claim: BlockClaim) {
        let link = self.links.get_mut(&conn).expect("an answer on a closed link");
        let count = link.asked.get_mut(&claim).unwrap_or_else(|| panic!("{claim:?} was never asked for"));
        assert!(*count > 0, "{claim:?} is answered twice");
        *count -= 1;
        if *count == 0 {
            link.asked.remove(&claim);
        }
    }

    /// Whatever has happened: beside the liars, an honest peer that has everything brings the download to its end.
    pub fn finish_honestly(&mut self) {
        if self.stopped || self.swarm.is_complete() {
            return;
        }
        let conn = self.incoming(250, 250, true);
        self.message(conn, Message::HaveAll);
        self.message(conn, Message::Unchoke);
        let deadline = self.now + Duration::from_secs(60);
        while !self.swarm.is_complete() {
            assert!(self.links.contains_key(&conn), "the honest peer is dropped");
            assert!(
                self.now < deadline,
                "an honest peer has everything, and the download stands still: {:?}, links {:#?}",
                self.swarm.progress(),
                self.links
            );
            while self.answer(conn, true) {
                self.arrive(conn);
                while self.verified() {}
            }
            while self.verified() {}
            self.pass(Duration::from_millis(100), true);
        }
        let unique: BTreeSet<Block> =
            self.stored.iter().filter(|(_, right)| **right).map(|(b, _)| *b).collect();
        let blocks: u32 = self.geometry.all().map(|p| self.geometry.blocks(p)).sum();
        assert_eq!(unique.len(), blocks as usize, "a false block is left");
    }

    /// Whether the link with this number was dialled by us; for scripts that answer only then.
    #[must_use]
    pub fn is_outgoing(&self, conn: Conn) -> bool {
        self.links.get(&conn).is_some_and(|l| l.outgoing && !l.shaken)
    }

    /// Links that are open.
    #[must_use]
    pub fn links(&self) -> usize {
        self.links.len()
    }
}
