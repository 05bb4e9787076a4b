//! A master and its nodes on one switch, in virtual time. Decides who starts when and who is told of whom (by the tracker's
//! own graph); never what a node does.

use super::shared::Shared;
use super::switch::{Later, Switch, card};
use super::{Case, Error, Outcome};
use boottorrent_net::driver::Torrent;
use boottorrent_net::smol::{Driver, Ethernet, Event as Told, Frames, Options, Place};
use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::graph::{Graph, Rack};
use boottorrent_swarm::metainfo::Geometry;
use boottorrent_swarm::swarm::Have;
use boottorrent_swarm::{InfoHash, Mac, PeerId, Rng, Time};
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

const INFO_HASH: InfoHash = InfoHash([1; 20]);
const PORT: u16 = 6881;
/// Peers that the graph may name at once: all of them.
const TOLD: usize = 250;

/// A host's side of its link.
#[derive(Default)]
struct Card {
    come: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Frames for Card {
    fn receive(&mut self, frame: &mut Vec<u8>) -> bool {
        self.come.pop_front().map(|next| *frame = next).is_some()
    }

    fn send(&mut self, frame: &[u8]) {
        self.sent.push(frame.to_vec());
    }
}

struct Host {
    driver: Option<Driver<Ethernet<Card>>>,
    content: Arc<Content>,
    /// Its earliest timer, in nanoseconds.
    wake: u64,
    finished: Option<u64>,
}

enum Event {
    Start(usize),
    Wake(usize),
    Carry(Later),
}

pub(super) struct Room<'a> {
    case: &'a Case,
    now: u64,
    /// Moments in order; the event of each stands apart, since only moments are compared.
    agenda: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    next_event: u64,
    switch: Switch,
    later: Vec<(u64, Later)>,
    hosts: Vec<Host>,
    graph: Graph,
    lots: Rng,
    record: Sha256,
    first_start: u64,
    unfinished: u32,
}

fn address(host: usize) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, host as u8 + 1), PORT)
}

/// Bytes that nothing compresses, and the list of their digests.
fn image(case: &Case, lots: &mut Rng) -> (Arc<[u8]>, Vec<[u8; 32]>) {
    let words = (0..case.total.div_ceil(8)).flat_map(|_| lots.next_u64().to_le_bytes());
    let bytes: Vec<u8> = words.take(usize::try_from(case.total).unwrap_or(usize::MAX)).collect();
    let list = bytes.chunks(case.piece_length as usize).map(|piece| Sha256::digest(piece).into()).collect();
    (bytes.into(), list)
}

impl<'a> Room<'a> {
    pub(super) fn new(case: &'a Case) -> Result<Room<'a>, Error> {
        let geometry = Geometry::new(case.piece_length, case.total).map_err(Error::Image)?;
        let mut lots = Rng::new(case.seed);
        let (bytes, list) = image(case, &mut lots);
        let hosts = case.nodes as usize + 1;
        let content = |store| {
            let verifier = Verifier::Sha256(list.clone());
            Arc::new(Content { geometry, store: Box::new(store), verifier })
        };
        let host = |n| {
            let store = if n == 0 { Shared::full(bytes.clone()) } else { Shared::empty(bytes.clone()) };
            Host { driver: None, content: content(store), wake: u64::MAX, finished: None }
        };
        let switch = Switch::new(hosts, case.rate, case.latency, case.queue, case.lost_ppm, lots.next_u64());
        let mut room = Room {
            case,
            now: 0,
            agenda: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            switch,
            later: Vec::new(),
            hosts: (0..hosts).map(host).collect(),
            graph: Graph::new(lots.next_u64()),
            lots,
            record: Sha256::new(),
            first_start: u64::MAX,
            unfinished: case.nodes,
        };
        room.at(0, Event::Start(0));
        for n in 1..hosts {
            let within = u32::try_from(case.spread.as_micros()).unwrap_or(u32::MAX);
            let start = u64::from(room.lots.below(within)) * 1000;
            room.first_start = room.first_start.min(start);
            room.at(start, Event::Start(n));
        }
        Ok(room)
    }

    fn at(&mut self, ns: u64, event: Event) {
        self.agenda.push(Reverse((ns, self.next_event)));
        self.events.insert(self.next_event, event);
        self.next_event += 1;
    }

    pub(super) fn run(mut self) -> Result<Outcome, Error> {
        let limit = u64::try_from(self.case.limit.as_nanos()).unwrap_or(u64::MAX);
        while self.unfinished > 0
            && let Some(Reverse((ns, number))) = self.agenda.pop()
            && ns <= limit
        {
            self.now = ns;
            match self.events.remove(&number) {
                Some(Event::Start(n)) => self.start(n)?,
                Some(Event::Wake(n)) if self.hosts[n].wake == ns => {
                    self.hosts[n].wake = u64::MAX;
                    self.poll(n);
                }
                Some(Event::Carry(Later::Leaves(n))) => self.leaves(n),
                Some(Event::Carry(Later::Arrives(n, frame))) => {
                    // A host that is not up yet hears nothing.
                    if let Some(driver) = &mut self.hosts[n].driver {
                        driver.device().frames().come.push_back(frame);
                        self.poll(n);
                    }
                }
                Some(Event::Wake(_)) | None => {}
            }
            for (ns, event) in std::mem::take(&mut self.later) {
                self.at(ns, Event::Carry(event));
            }
        }
        Ok(self.outcome())
    }

    /// The core's clock: whole microseconds.
    fn time(&self) -> Time {
        Time(self.now / 1000)
    }

    fn start(&mut self, n: usize) -> Result<(), Error> {
        let (place, own) = (card(n), address(n));
        let options = Options {
            address: *own.ip(),
            prefix_length: 24,
            port: Some(PORT),
            peer_id: PeerId::for_node(Mac(place)),
            seed: self.lots.next_u64(),
            socket_buffer: self.case.socket_buffer,
            max_links: self.case.nodes as usize + 32,
        };
        let mut peers = Vec::new();
        if n > 0 {
            self.graph.announced(own, Rack(0), false, TOLD);
            peers = self.graph.row(own).to_vec();
        }
        let torrent = Torrent {
            info_hash: INFO_HASH,
            content: Arc::clone(&self.hosts[n].content),
            have: if n == 0 { Have::All } else { Have::None },
            masters: if n == 0 { vec![] } else { vec![address(0)] },
            peers,
            trackers: vec![],
            own: None,
            near_prefix: 0,
            max_peers: (n == 0).then_some(self.case.nodes + 1),
        };
        let place = Place { mac: Mac(place), address: *own.ip(), prefix_length: 24, router: None };
        let device = Ethernet::new(Card::default(), place);
        let driver = Driver::new(self.time(), device, options, torrent);
        self.hosts[n].driver = Some(driver.map_err(Error::Host)?);
        self.poll(n);
        Ok(())
    }

    /// The host acts, and its card gets what it sends.
    fn poll(&mut self, n: usize) {
        let time = self.time();
        let host = &mut self.hosts[n];
        let Some(driver) = &mut host.driver else { return };
        driver.poll(time);
        for frame in std::mem::take(&mut driver.device().frames().sent) {
            self.switch.send(self.now, n, frame, &mut self.later);
        }
        while let Some(event) = driver.next_event() {
            if matches!(event, Told::Complete) {
                host.finished = Some(self.now);
                self.unfinished -= 1;
            }
        }
        // Time goes on between two polls, or the rest of this microsecond would be polled away.
        let wake = driver.wake_at(time).map(|at| at.max(time + Duration::from_micros(1)));
        if let Some(wake) = wake.map(|at| at.0.saturating_mul(1000))
            && wake < host.wake
        {
            host.wake = wake;
            self.at(wake, Event::Wake(n));
        }
    }

    fn leaves(&mut self, n: usize) {
        let frame = self.switch.leaves(self.now, n, &mut self.later);
        self.record.update(self.now.to_le_bytes());
        self.record.update((n as u64).to_le_bytes());
        self.record.update(&frame);
    }

    /// Whether all of a host's bytes, read back, are the image's.
    fn is_whole(host: &Host) -> bool {
        let geometry = host.content.geometry;
        let whole = |n| geometry.piece(n).is_some_and(|piece| host.content.check(piece).unwrap_or(false));
        (0..geometry.pieces()).all(whole)
    }

    fn outcome(self) -> Outcome {
        let nodes = &self.hosts[1..];
        let finished = nodes.iter().map(|n| n.finished).collect::<Option<Vec<u64>>>();
        let makespan = finished.and_then(|all| all.into_iter().max()).map(|at| at - self.first_start);
        let progress = |host: &Host| host.driver.as_ref().map(|d| d.progress()).unwrap_or_default();
        let counts = &self.switch.counts;
        Outcome {
            makespan: makespan.map(Duration::from_nanos),
            verified: nodes.iter().filter(|node| Room::is_whole(node)).count() as u32,
            master_bytes: progress(&self.hosts[0]).bytes_out,
            duplicates: nodes.iter().map(|node| progress(node).duplicates).sum(),
            payload: counts.payload,
            retransmitted: counts.retransmitted,
            frames: counts.frames,
            lost: counts.lost,
            dropped: counts.dropped,
            digest: self.record.finalize().into(),
        }
    }
}
