//! The state machine of one torrent: what comes in from links, timers and storage, and what is to be done.
//! Decides who is asked and who is served; never touches payload, sockets or a clock.

mod contract;
mod links;
mod messages;
mod download;
mod serve;
mod offers;
mod locality;
mod chores;

pub use contract::{
    Admit, CloseReason, Config, Conn, Have, Input, Limits, Output, PeerStat, Progress, Prospect,
};

use crate::Time;
use crate::announce::Event;
use crate::bitfield::Bitfield;
use crate::dial::Book;
use crate::graph::Rack;
use crate::meter::Meter;
use crate::peers::{Peer, Peers};
use crate::picker::Picker;
use crate::pieces::Pieces;
use crate::rng::Rng;
use crate::upload::Uploads;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use chores::Tracker;
use core::net::SocketAddrV4;

/// One torrent on one peer.
#[derive(Debug)]
pub struct Swarm {
    config: Config,
    now: Time,
    rng: Rng,
    outputs: VecDeque<Output>,
    peers: Peers,
    /// Everybody who owes us blocks, and some who no longer do: few, where each block would look at all links.
    owing: Vec<Conn>,
    pieces: Pieces,
    picker: Picker,
    uploads: Uploads,
    book: Book,
    tracker: Tracker,
    /// When a local announce (BEP 14) may be sent; none: never.
    local_at: Option<Time>,
    departed: Vec<PeerStat>,
    pieces_failed: u32,
    stopped: bool,
    /// Our rack, if the tracker has told it.
    rack: Option<Rack>,
    /// What comes in.
    inflow: Meter,
    /// Who still downloads, as the tracker has counted them last.
    crowd: u32,
    /// The last block that came, or the start.
    fed: Time,
    /// Links that found nothing to fetch may find something now.
    look_again: bool,
    /// The next look at all timers.
    chores_at: Time,
    /// HAVEs wait until then.
    haves_at: Option<Time>,
    /// A slow receiver stops to count as active then.
    uploads_at: Option<Time>,
}

impl Swarm {
    #[must_use]
    pub fn new(now: Time, config: Config) -> Swarm {
        let geometry = config.geometry;
        let have = match &config.have {
            Have::None => Bitfield::none(&geometry),
            Have::All => Bitfield::all(&geometry),
            Have::Some(bits) => {
                Bitfield::parse(bits.as_bytes(), &geometry).unwrap_or(Bitfield::none(&geometry))
            }
        };
        let mut book = Book::default();
        config.master.iter().for_each(|addr| book.learn(now, *addr, true));
        if let Some(own) = config.own {
            book.leave(own);
        }
        let mut swarm = Swarm {
            now,
            rng: Rng::new(config.seed),
            outputs: VecDeque::new(),
            peers: Peers::new(),
            owing: Vec::new(),
            uploads: Uploads::new(geometry, config.limits.active_uploads, &have),
            pieces: Pieces::new(geometry, have),
            picker: Picker::new(&geometry),
            book,
            tracker: Tracker::new(now),
            local_at: None,
            departed: Vec::new(),
            pieces_failed: 0,
            stopped: false,
            rack: None,
            inflow: Meter::new(),
            crowd: 0,
            fed: now,
            look_again: false,
            chores_at: now,
            haves_at: None,
            uploads_at: None,
            config,
        };
        swarm.announce(Event::Started);
        swarm.dial();
        swarm
    }

    /// Takes in what has happened; `now` never goes back.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        self.now = self.now.max(now);
        match input {
            Input::Connected { conn, peer, outgoing } => self.connected(conn, peer, outgoing),
            Input::DialFailed { peer } => self.dial_failed(peer),
            Input::Handshake { conn, handshake } => self.handshake(conn, handshake),
            Input::Message { conn, message } => self.message(conn, message),
            Input::Block { conn, block } => self.block(conn, block),
            Input::Discarded { conn, block } => self.discarded(conn, block),
            Input::Room { conn, bytes } => self.room(conn, bytes),
            Input::Closed { conn } => self.closed(conn),
            Input::Verified { piece, ok } => self.verified(piece, ok),
            Input::Tracked { peers, interval_s, leechers } => self.tracked(peers, interval_s, leechers),
            Input::Placed { rack } => self.placed(rack),
            Input::Peers { peers } => self.told_peers(peers),
            Input::AnnounceFailed => self.announce_failed(),
            Input::Local { peer } => self.told_local(peer),
            Input::Tick => {}
            Input::Stop => self.stop(),
        }
        self.timers();
    }

    /// Looks for peers on the local network, too, from now on and while no tracker answers.
    pub fn find_locally(&mut self) {
        self.local_at.get_or_insert(self.now);
    }

    /// We are reached at another address from now on: the tracker hears of it at once. Who is linked to the old one has to
    /// be told apart, by [`Input::Closed`].
    pub fn moved(&mut self, own: Option<SocketAddrV4>, near_prefix: u8) {
        self.config.own = own;
        self.config.near_prefix = near_prefix;
        self.rack = None;
        if let Some(own) = own {
            self.book.leave(own);
        }
        if !self.stopped {
            self.announce(Event::Started);
        }
    }

    /// The next thing to do; ask until `None` after each round of inputs.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        if self.stopped {
            return None;
        }
        [Some(self.chores_at), self.haves_at, self.uploads_at].into_iter().flatten().min()
    }

    /// Everything is there and verified.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pieces.is_complete()
    }

    #[must_use]
    pub fn progress(&self) -> Progress {
        let (mut bytes_in, mut bytes_out, mut duplicates) = (0, 0, 0);
        for stat in self.peer_stats() {
            bytes_in += stat.bytes_in;
            bytes_out += stat.bytes_out;
            duplicates += stat.duplicates;
        }
        let linked = self.peers.values().filter(|p| p.peer_id.is_some()).count();
        Progress {
            pieces_done: self.pieces.have().count(),
            pieces: self.config.geometry.pieces(),
            bytes_total: self.config.geometry.total(),
            bytes_left: self.pieces.left(),
            bytes_in,
            bytes_out,
            duplicates,
            pieces_failed: self.pieces_failed,
            peers_connected: u32::try_from(linked).unwrap_or(u32::MAX),
            longest_queue: self.peers.values().map(|p| p.queue.len()).max().unwrap_or(0),
            peers_known: u32::try_from(self.book.len()).unwrap_or(u32::MAX),
        }
    }

    /// Looks at every link and piece: for samples, not for each event.
    #[must_use]
    pub fn prospect(&self) -> Prospect {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let has_news = |p: &Peer| self.pieces.wanted().iter().any(|piece| p.have.has(*piece));
        let lacks =
            |p: &Peer| self.config.geometry.all().any(|x| self.pieces.have().has(x) && !p.have.has(x));
        Prospect {
            awaited: self.awaited(),
            sources: count(self.peers.values().filter(|p| has_news(p)).count()),
            takers: count(self.peers.values().filter(|p| p.peer_id.is_some() && lacks(p)).count()),
        }
    }

    /// Every peer that gave or took, the departed ones too.
    pub fn peer_stats(&self) -> impl Iterator<Item = PeerStat> + '_ {
        self.departed.iter().copied().chain(self.peers.values().map(links::stat))
    }

    /// What is verified.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        self.pieces.have()
    }

    /// Nobody that we are linked to needs anything from us.
    #[must_use]
    pub fn lonely(&self) -> bool {
        self.peers.values().all(|p| p.peer_id.is_none() || p.is_complete() || p.is_master)
    }

    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

#[cfg(test)]
mod tests;
