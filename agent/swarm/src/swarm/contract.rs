//! What the core and its drivers hand each other. Decides nothing.

use crate::announce::Event;
use crate::bitfield::Bitfield;
use crate::graph::Rack;
use crate::limits;
use crate::metainfo::{Block, Geometry, Piece};
use crate::wire::{Handshake, Message, OwnedMessage};
use crate::{InfoHash, PeerId};
use alloc::vec::Vec;
use core::fmt;
use core::net::{Ipv4Addr, SocketAddrV4};

/// A link, in or out: chosen by the driver, not used again while the core knows it.
pub type Conn = u32;

/// What is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Have {
    None,
    All,
    Some(Bitfield),
}

/// Bounds that a caller may want otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Peers that are served side by side.
    pub active_uploads: usize,
    /// Requests towards one peer.
    pub depth_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { active_uploads: limits::ACTIVE_UPLOADS, depth_max: limits::DEPTH_MAX }
    }
}

/// One torrent, one peer.
#[derive(Debug, Clone)]
pub struct Config {
    pub peer_id: PeerId,
    pub info_hash: InfoHash,
    pub geometry: Geometry,
    pub have: Have,
    /// Of the random ties: the same seed and inputs give the same outputs.
    pub seed: u64,
    /// Told to peers, so that they can dial us.
    pub listen_port: Option<u16>,
    /// Our own address, never dialled.
    pub own: Option<SocketAddrV4>,
    /// Whose address has so many bits in common with ours is near: between others and us are links to be spared.
    pub near_prefix: u8,
    /// Links in and out; the seed of a room takes more than a node.
    pub max_peers: u32,
    /// Links to look for by dialling.
    pub target: u32,
    pub limits: Limits,
    /// Static seeds: always held, and dialled again within a second.
    pub master: Vec<SocketAddrV4>,
}

impl Config {
    /// The address of our network, if links out of it are to be spared.
    pub(crate) fn network(&self) -> Option<Ipv4Addr> {
        let rest = u32::MAX.checked_shl(32 - u32::from(self.near_prefix.min(32)))?;
        self.own.map(|own| Ipv4Addr::from_bits(own.ip().to_bits() & rest))
    }

    /// Whether the way to this host leads out of our network.
    pub(crate) fn is_far(&self, host: Ipv4Addr) -> bool {
        let differs = |own: &SocketAddrV4| (own.ip().to_bits() ^ host.to_bits()).leading_zeros();
        self.own.as_ref().is_some_and(|own| differs(own) < u32::from(self.near_prefix))
    }

    /// A node's usual bounds.
    #[must_use]
    pub fn new(info_hash: InfoHash, peer_id: PeerId, geometry: Geometry, have: Have, seed: u64) -> Config {
        Config {
            peer_id,
            info_hash,
            geometry,
            have,
            seed,
            listen_port: None,
            own: None,
            near_prefix: limits::NEAR_PREFIX,
            max_peers: limits::MAX_PEERS,
            target: limits::TARGET_PEERS,
            limits: Limits::default(),
            master: Vec::new(),
        }
    }
}

/// What has happened.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// A link is up. Incoming links are told once their handshake has named this torrent.
    Connected {
        conn: Conn,
        peer: SocketAddrV4,
        outgoing: bool,
    },
    /// The answer to [`Output::Dial`] that is not `Connected`.
    DialFailed {
        peer: SocketAddrV4,
    },
    Handshake {
        conn: Conn,
        handshake: Handshake,
    },
    Message {
        conn: Conn,
        message: Message<'a>,
    },
    /// A block that [`Admit::Store`] let in is stored completely.
    Block {
        conn: Conn,
        block: Block,
    },
    /// A block that [`Admit::Discard`] named has been read and thrown away.
    Discarded {
        conn: Conn,
        block: Block,
    },
    /// The link's send queue takes this many bytes more, now (absolute, with everything polled so far in it).
    Room {
        conn: Conn,
        bytes: u32,
    },
    /// The link has gone, by either side; also the answer to [`Output::Close`] (harmless, not needed).
    Closed {
        conn: Conn,
    },
    /// The answer to [`Output::Verify`].
    Verified {
        piece: Piece,
        ok: bool,
    },
    /// The tracker's answer.
    Tracked {
        peers: &'a [SocketAddrV4],
        interval_s: u32,
        /// Who still downloads, as the tracker counts them.
        leechers: u32,
    },
    /// The tracker knows the rack that we are in: that counts more than what addresses look like.
    Placed {
        rack: Rack,
    },
    /// Peers from elsewhere.
    Peers {
        peers: &'a [SocketAddrV4],
    },
    /// No tracker answers, or there is none.
    AnnounceFailed,
    /// A peer on the local network looks for others (BEP 14).
    Local {
        peer: SocketAddrV4,
    },
    /// `wake_at` has come.
    Tick,
    /// Say goodbye: every link is closed and the tracker told.
    Stop,
}

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Dial {
        peer: SocketAddrV4,
    },
    Handshake {
        conn: Conn,
        handshake: Handshake,
    },
    Send {
        conn: Conn,
        message: OwnedMessage,
    },
    /// Send a piece message with these bytes of the storage.
    SendBlock {
        conn: Conn,
        block: Block,
    },
    Close {
        conn: Conn,
        reason: CloseReason,
    },
    /// All blocks are stored: hash, and answer with [`Input::Verified`].
    Verify {
        piece: Piece,
    },
    Announce {
        event: Event,
        left: u64,
        uploaded: u64,
        downloaded: u64,
    },
    /// Look for peers on the local network (BEP 14).
    AnnounceLocal,
    /// The last piece is verified (not told where all was there from the start).
    Complete,
}

/// What to do with the payload behind a piece message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    /// Write it to its place, then tell [`Input::Block`].
    Store(Block),
    /// Read past it, then tell [`Input::Discarded`].
    Discard(Block),
    /// Close the link without reading; the core has forgotten it and an [`Output::Close`] with the reason waits.
    Close,
}

/// Why the core ended a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// What the peer sent makes no sense.
    Protocol(&'static str),
    WrongTorrent,
    /// We dialled ourselves.
    Ourselves,
    /// There is another link to the same peer.
    Duplicate,
    TooManyPeers,
    /// Sent a false piece, now or before.
    FalsePiece,
    /// Began a block that it does not finish, or never shook hands.
    Stalled,
    /// Nothing came for minutes.
    Idle,
    /// Reads nothing, but asks.
    Backlog,
    /// Both sides have everything (BEP 21).
    Redundant,
    Stopped,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CloseReason::Protocol(what) => return write!(f, "bad input: {what}"),
            CloseReason::WrongTorrent => "another torrent",
            CloseReason::Ourselves => "this is ourselves",
            CloseReason::Duplicate => "a second link to the same peer",
            CloseReason::TooManyPeers => "too many peers",
            CloseReason::FalsePiece => "sent a false piece",
            CloseReason::Stalled => "stalled",
            CloseReason::Idle => "silent for too long",
            CloseReason::Backlog => "does not read what it asks for",
            CloseReason::Redundant => "both sides are complete",
            CloseReason::Stopped => "stopped",
        })
    }
}

/// How far the download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub pieces_done: u32,
    pub pieces: u32,
    pub bytes_total: u64,
    /// Bytes of pieces that are not verified yet.
    pub bytes_left: u64,
    /// Block bytes received and stored, over all links.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Block bytes received and thrown away.
    pub duplicates: u64,
    pub pieces_failed: u32,
    pub peers_connected: u32,
    pub peers_known: u32,
    /// Requests of the peer that has most of them waiting here.
    pub longest_queue: u32,
}

/// What may keep the links busy, for whoever looks for idle ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prospect {
    /// Blocks asked for that are not here, of links that are not given up.
    pub awaited: u32,
    /// Links whose peers have something that we lack and have not begun.
    pub sources: u32,
    /// Links whose peers lack something that we have.
    pub takers: u32,
}

/// What one peer has given and taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStat {
    /// Where it listens, or where the link came from if it did not say.
    pub addr: SocketAddrV4,
    pub peer_id: Option<PeerId>,
    pub is_master: bool,
    pub connected: bool,
    /// Has everything, as far as it told us.
    pub complete: bool,
    /// Block bytes, stored ones.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Block bytes received twice.
    pub duplicates: u64,
}
