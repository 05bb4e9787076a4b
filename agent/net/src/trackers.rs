//! The trackers of a torrent, one BEP 15 client for each. Decides which answer is worth telling the core; when to announce
//! is the core's, when to repeat is the client's, and sockets are the drivers'.

use boottorrent_swarm::Time;
use boottorrent_swarm::announce::{Announce, AnnounceClient, Outcome, Step};
use boottorrent_swarm::swarm::{Input, Swarm};
use std::net::SocketAddrV4;

/// Trackers of one torrent; more would be a forged list.
const MAX_TRACKERS: usize = 8;

struct Tracker {
    address: SocketAddrV4,
    client: AnnounceClient,
}

/// The trackers of one torrent: all are asked, since a tracker that lives knows the others' peers soon.
pub(crate) struct Trackers {
    all: Vec<Tracker>,
    /// One of them has answered the last announce: the others' silence is no lack.
    answered: bool,
    /// How the last announces ended, for people.
    pub(crate) trouble: Option<String>,
}

impl Trackers {
    pub(crate) fn new(addresses: &[SocketAddrV4], mut seed: impl FnMut() -> u64) -> Trackers {
        let tracker = |&address| Tracker { address, client: AnnounceClient::new(seed()) };
        let all = addresses.iter().take(MAX_TRACKERS).map(tracker).collect();
        Trackers { all, answered: false, trouble: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.all.iter().any(|t| t.client.is_busy())
    }

    pub(crate) fn announce(&mut self, now: Time, announce: Announce) {
        self.answered = false;
        self.all.iter_mut().for_each(|t| t.client.announce(now, announce));
    }

    pub(crate) fn datagram(&mut self, now: Time, from: SocketAddrV4, bytes: &[u8]) {
        self.all.iter_mut().filter(|t| t.address == from).for_each(|t| t.client.datagram(now, bytes));
    }

    pub(crate) fn wake_at(&self) -> Option<Time> {
        self.all.iter().filter_map(|t| t.client.wake_at()).min()
    }

    /// Hands what is due to `send`, and tells the core each answer; a failure only when nobody is left who may answer.
    pub(crate) fn run(&mut self, now: Time, swarm: &mut Swarm, mut send: impl FnMut(SocketAddrV4, &[u8])) {
        let mut failed = false;
        for tracker in &mut self.all {
            while let Some(step) = tracker.client.poll(now) {
                match step {
                    Step::Send(datagram) => send(tracker.address, &datagram),
                    Step::Done(Outcome::Peers { interval_s, leechers, peers, rack, .. }) => {
                        self.trouble = None;
                        self.answered = true;
                        if let Some(rack) = rack {
                            swarm.handle(now, Input::Placed { rack });
                        }
                        swarm.handle(now, Input::Tracked { peers: &peers, interval_s, leechers });
                    }
                    Step::Done(Outcome::Refused(words)) => {
                        let words: String = String::from_utf8_lossy(&words)
                            .chars()
                            .filter(|c| !c.is_control())
                            .take(100)
                            .collect();
                        self.trouble = Some(format!("tracker {} refuses: {words}", tracker.address));
                        failed = true;
                    }
                    Step::Done(Outcome::Silent) => {
                        self.trouble = Some(format!("tracker {} does not answer", tracker.address));
                        failed = true;
                    }
                }
            }
        }
        if failed && !self.answered && !self.is_busy() {
            swarm.handle(now, Input::AnnounceFailed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::announce::{Event, Request, Response};
    use boottorrent_swarm::metainfo::Geometry;
    use boottorrent_swarm::swarm::{Config, Have, Output};
    use boottorrent_swarm::{InfoHash, PeerId};
    use std::time::Duration;

    #[test]
    fn one_tracker_that_answers_is_enough() {
        let places = [1, 2].map(|n| SocketAddrV4::new([10, 0, 0, n].into(), 6969));
        let geometry = Geometry::new(1 << 15, 1 << 20).unwrap();
        let config = Config::new(InfoHash([1; 20]), PeerId([2; 20]), geometry, Have::All, 1);
        let (mut swarm, mut trackers) = (Swarm::new(Time(0), config), Trackers::new(&places, || 7));
        let mut announces = Vec::new();
        for ms in 0..20_000_u64 {
            let now = Time(0) + Duration::from_millis(ms);
            swarm.handle(now, Input::Tick);
            while let Some(output) = swarm.poll() {
                if let Output::Announce { event, left, uploaded, downloaded } = output {
                    announces.push((ms / 1000, event));
                    let (info_hash, peer_id) = (InfoHash([1; 20]), PeerId([2; 20]));
                    let (address, want) = (None, None);
                    trackers.announce(
                        now,
                        Announce {
                            info_hash,
                            peer_id,
                            downloaded,
                            left,
                            uploaded,
                            event,
                            address,
                            key: 1,
                            want,
                            port: 1,
                        },
                    );
                }
            }
            let mut sent = Vec::new();
            trackers.run(now, &mut swarm, |to, datagram| sent.push((to, datagram.to_vec())));
            for (to, datagram) in sent.into_iter().filter(|(to, _)| *to == places[0]) {
                let response = match Request::parse(&datagram).unwrap() {
                    Request::Connect { transaction } => Response::Connect { transaction, connection: 1 },
                    Request::Announce { transaction, .. } => Response::Announce {
                        transaction,
                        interval_s: 10,
                        leechers: 9,
                        seeders: 1,
                        peers: (3..9).map(|n| SocketAddrV4::new([10, 0, 0, n].into(), 6881)).collect(),
                        rack: None,
                    },
                    other @ Request::Scrape { .. } => panic!("{other:?}"),
                };
                let mut answer = Vec::new();
                response.emit(&mut answer);
                trackers.datagram(now, to, &answer);
            }
        }
        assert_eq!(announces[0], (0, Event::Started));
        assert!(
            announces.len() <= 3,
            "every ten seconds, for all that the other one is silent: {announces:?}"
        );
        assert!(trackers.trouble.is_some_and(|words| words.contains("10.0.0.2")));
    }
}
