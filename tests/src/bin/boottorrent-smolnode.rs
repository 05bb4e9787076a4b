//! A peer of a swarm without the kernel's TCP: the driver over smoltcp on a packet socket. For tests, inside a network
//! namespace whose card has no address. Decides when to poll; all else is the driver's.

use boottorrent_net::driver::{Torrent, random_peer_id};
use boottorrent_net::smol::{
    Driver, Ethernet, Event, MAX_LINKS, Options, PacketLink, Place, SOCKET_BUFFER, finish_frames,
};
use boottorrent_net::storage::{Backing, Download, Files, Layout, Source, Store};
use boottorrent_net::verify::{Content, Verifier};
use boottorrent_swarm::Time;
use boottorrent_swarm::metainfo::Metainfo;
use boottorrent_swarm::swarm::Have;
use boottorrent_tests::clock;
use lexopt::prelude::*;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "\
usage: boottorrent-smolnode TORRENT FILE --card CARD --address A.B.C.D/LEN [option ...]
       boottorrent-smolnode --finish-frames CARD

  --seed               FILE is there: check it and serve it until killed
  --port PORT          where others dial (default: 6881)
  --peer ADDRESS:PORT  a peer to hold on to; may repeat
  --tracker ADDRESS:PORT
  --stats FILE         who gave and took what, as JSON, at the end
  --finish-frames CARD have the kernel finish the frames that it sends by the card,
                       for a smolnode at the other end of its cable

Without --seed it downloads TORRENT's one file into FILE, and shares it as long as
somebody that it is linked to needs it.
";

/// Goodbyes have this long to be heard.
const GOODBYE: Duration = Duration::from_secs(1);

struct Wish {
    torrent: PathBuf,
    file: PathBuf,
    card: String,
    address: Ipv4Addr,
    prefix_length: u8,
    port: u16,
    is_seed: bool,
    peers: Vec<SocketAddrV4>,
    trackers: Vec<SocketAddrV4>,
    stats: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = arguments().map_err(|e| format!("{e}\n{USAGE}")).and_then(|wish| match wish {
        Some(wish) => Node::new(&wish).and_then(|node| node.run(&wish)),
        None => Ok(()),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("boottorrent-smolnode: {e}");
            ExitCode::FAILURE
        }
    }
}

/// None: it was an order that is carried out.
fn arguments() -> Result<Option<Wish>, lexopt::Error> {
    let (mut places, mut card, mut address) = (vec![], None, None);
    let (mut port, mut is_seed, mut peers, mut trackers, mut stats) = (6881, false, vec![], vec![], None);
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("finish-frames") => {
                let card = parser.value()?.string()?;
                finish_frames(&card).map_err(|e| format!("{card}: {e}"))?;
                return Ok(None);
            }
            Long("card") => card = Some(parser.value()?.string()?),
            Long("address") => address = Some(parser.value()?.parse_with(network)?),
            Long("port") => port = parser.value()?.parse()?,
            Long("seed") => is_seed = true,
            Long("peer") => peers.push(parser.value()?.parse()?),
            Long("tracker") => trackers.push(parser.value()?.parse()?),
            Long("stats") => stats = Some(parser.value()?.into()),
            Value(place) => places.push(PathBuf::from(place)),
            _ => return Err(arg.unexpected()),
        }
    }
    let [torrent, file] = <[PathBuf; 2]>::try_from(places).map_err(|_| "give TORRENT and FILE")?;
    let card = card.ok_or("give --card")?;
    let (address, prefix_length) = address.ok_or("give --address")?;
    let wish = Wish { torrent, file, card, address, prefix_length, port, is_seed, peers, trackers, stats };
    Ok(Some(wish))
}

fn network(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let parts = text.split_once('/').and_then(|(a, l)| Some((a.parse().ok()?, l.parse().ok()?)));
    parts.ok_or_else(|| format!("{text}: give an address and a prefix length, as 10.0.0.5/24"))
}

/// The file as the torrent describes it, and what of it is there.
fn content(wish: &Wish) -> Result<(Metainfo, Arc<Content>, Have), String> {
    let bytes = std::fs::read(&wish.torrent).map_err(|e| format!("{}: {e}", wish.torrent.display()))?;
    let metainfo = Metainfo::parse(&bytes).map_err(|e| format!("{}: {e}", wish.torrent.display()))?;
    let size = metainfo.geometry.total();
    let (path, layout) = (wish.file.clone(), Layout::plain([size]));
    let store: Result<Box<dyn Store>, _> = if wish.is_seed {
        Files::open(&[Source { path, fingerprint: None }], layout).map(|files| Box::new(files) as _)
    } else {
        Download::open(&[Backing { path, size }], layout).map(|files| Box::new(files) as _)
    };
    let store = store.map_err(|e| e.to_string())?;
    let verifier = Verifier::Sha1(metainfo.sha1_list().to_vec());
    let content = Arc::new(Content { geometry: metainfo.geometry, store, verifier });
    if !wish.is_seed {
        return Ok((metainfo, content, Have::None));
    }
    let good = content.check_all(&mut |_| {}).map_err(|e| e.to_string())?;
    match good.iter().position(|ok| !ok) {
        Some(piece) => Err(format!("{}: piece {piece} is not the torrent's", wish.file.display())),
        None => Ok((metainfo, content, Have::All)),
    }
}

struct Node {
    started: std::time::Instant,
    driver: Driver<Ethernet<PacketLink>>,
}

impl Node {
    fn new(wish: &Wish) -> Result<Node, String> {
        let (metainfo, content, have) = content(wish)?;
        let link = PacketLink::open(&wish.card).map_err(|e| format!("{}: {e}", wish.card))?;
        let (address, prefix_length) = (wish.address, wish.prefix_length);
        let place = Place { mac: link.mac(), address, prefix_length, router: None };
        let options = Options {
            address,
            prefix_length,
            port: Some(wish.port),
            peer_id: random_peer_id(),
            seed: RandomState::new().hash_one(0),
            socket_buffer: 4 * SOCKET_BUFFER,
            max_links: MAX_LINKS,
        };
        let torrent = Torrent {
            info_hash: metainfo.info_hash,
            content,
            have,
            masters: wish.peers.clone(),
            peers: vec![],
            trackers: wish.trackers.clone(),
            own: None,
            near_prefix: 0,
            max_peers: None,
        };
        let driver = Driver::new(Time(0), Ethernet::new(link, place), options, torrent);
        Ok(Node { started: clock::now(), driver: driver.map_err(|e| e.to_string())? })
    }

    fn now(&self) -> Time {
        Time(0) + self.started.elapsed()
    }

    /// Has the driver do what is to be done by now.
    fn act(&mut self) -> Result<(), String> {
        let now = self.now();
        self.driver.poll(now);
        while let Some(event) = self.driver.next_event() {
            match event {
                Event::Complete => eprintln!("complete after {:.3} s", self.started.elapsed().as_secs_f64()),
                Event::Withdrawn(error) => return Err(error.to_string()),
                other => eprintln!("{other:?}"),
            }
        }
        Ok(())
    }

    /// Waits for a frame, for the driver's time or for `most`, whichever is first.
    fn wait(&mut self, most: Option<Duration>) -> Result<(), String> {
        let now = self.now();
        let wake = self.driver.wake_at(now).map(|at| at.since(now));
        // Rounded up: a wake-up before the time would only spin.
        let ms = wake.into_iter().chain(most).min().map(|wait| wait.as_micros().div_ceil(1000));
        let timeout = ms.map_or(PollTimeout::NONE, |ms| u16::try_from(ms).unwrap_or(u16::MAX).into());
        let frames = self.driver.device().frames();
        match poll(&mut [PollFd::new(frames.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(format!("cannot wait for frames: {e}")),
        }
    }

    fn run(mut self, wish: &Wish) -> Result<(), String> {
        eprintln!("takes part at {}:{}", wish.address, wish.port);
        self.act()?;
        while wish.is_seed || !(self.driver.is_complete() && self.driver.lonely()) {
            self.wait(None)?;
            self.act()?;
        }
        self.write_stats(wish)?;
        let now = self.now();
        self.driver.stop(now);
        self.act()?;
        let end = clock::Deadline::after(GOODBYE);
        while !self.driver.is_quiet()
            && let Some(left) = end.left()
        {
            self.wait(Some(left))?;
            self.act()?;
        }
        Ok(())
    }

    fn write_stats(&self, wish: &Wish) -> Result<(), String> {
        let Some(path) = &wish.stats else { return Ok(()) };
        let peer = |p: boottorrent_swarm::swarm::PeerStat| {
            serde_json::json!({
                "address": p.addr.to_string(), "bytes_in": p.bytes_in, "bytes_out": p.bytes_out,
            })
        };
        let peers: Vec<_> = self.driver.peers().into_iter().map(peer).collect();
        let stats = serde_json::json!({ "bytes_in": self.driver.progress().bytes_in, "peers": peers });
        std::fs::write(path, stats.to_string()).map_err(|e| format!("{}: {e}", path.display()))
    }
}
