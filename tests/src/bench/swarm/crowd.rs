//! One master and hundreds of peers on an unlimited link: what the seed's one thread sends, and what a gigabyte costs it.
//! The peers take and forget: whoever verified would need the cores that are the seed's.

use super::contestant::{Contestant, Scene};
use super::group::Group;
use super::load::{Load, settle};
use super::ours::Ours;
use super::race::{Case, host};
use crate::bench::Figure;
use crate::clock::{now, wait_for};
use crate::error::LabError;
use crate::lab::Lab;
use crate::peer::inside;
use crate::ram::Ram;
use crate::torrent;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const SEED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 6881);
const LINKS: usize = 300;
const MIB: u32 = 1024;
/// All are linked within this.
const READY: Duration = Duration::from_secs(30);
/// What is sent while it is measured, and how long that may take.
const BYTES: u64 = 10_000_000_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// A block with its header, and how many of them a peer has asked for.
const BLOCK: u32 = 16_384;
const ON_WIRE: u64 = 13 + BLOCK as u64;
const DEPTH: u64 = 64;
/// What 10 Gbit/s leave one core for a gigabyte.
const CPU: f64 = 0.8;

#[derive(Default)]
struct Counters {
    links: AtomicUsize,
    bytes: AtomicU64,
    over: AtomicBool,
}

pub(crate) fn measure(calm: bool) -> Result<Vec<Figure>, LabError> {
    let lab = Lab::new()?;
    let ram = Ram::new(&lab)?;
    let case = Case { nodes: 1, mib: MIB, mbit: None };
    let pieces = MIB * ((1 << 20) / case.piece_length());
    let torrent = torrent::make(&ram.folder, "image", pieces, case.piece_length())?;
    let (master, room) = (host(&lab, "m", "10.0.0.1/24", &case)?, host(&lab, "n", "10.0.0.2/24", &case)?);
    let scene = Scene { lab: &lab, ram: &ram.folder, torrent: &torrent, master: &master, nodes: 1 };
    let group = Group::new(&format!("{}-m", lab.name()))?;
    let _servers = scene.serve(&Ours as &dyn Contestant, &group)?;
    if calm {
        settle();
    }
    let counters = Arc::new(Counters::default());
    let (theirs, hash) = (Arc::clone(&counters), torrent.info_hash.clone());
    let (length, bytes) = (case.piece_length(), torrent.bytes);
    inside(&room.netns, move || {
        if let Err(error) = drink(&theirs, &hash, length, bytes) {
            eprintln!("the crowd: {error}");
        }
    })?;
    wait_for("a crowd that is served", READY, || {
        let (links, bytes) = (counters.links.load(Ordering::Relaxed), counters.bytes.load(Ordering::Relaxed));
        if links == LINKS && bytes > 0 { Ok(()) } else { Err(format!("{links} links, {bytes} bytes")) }
    })?;
    let (start, load) = (now(), Load::now());
    let (cpu, before) = (group.cpu(), counters.bytes.load(Ordering::Relaxed));
    let moved = wait_for("the crowd's gigabytes", PATIENCE, || {
        let moved = counters.bytes.load(Ordering::Relaxed) - before;
        if moved >= BYTES { Ok(moved) } else { Err(format!("{moved} bytes")) }
    })?;
    let (cpu, seconds) = (group.cpu() - cpu, start.elapsed().as_secs_f64());
    let (gb, cores) = (moved as f64 / 1e9, load.since());
    counters.over.store(true, Ordering::Relaxed);
    let word = if cpu / gb <= CPU { "kept" } else { "MISSED" };
    let what = format!("one seed, {LINKS} peers at once");
    Ok(vec![
        Figure::new(
            format!("{what}: sent"),
            format!("{:.1} Gbit/s (others used {:.2} cores)", gb * 8.0 / seconds, cores.others),
            "as fast as peers on the same two cores take it",
        ),
        Figure::new(
            format!("{what}: CPU of the seed"),
            format!("{:.2} s/GB", cpu / gb),
            format!("at most {CPU}, which is 10 Gbit/s with one core: {word}"),
        ),
    ])
}

/// A peer that has asked for some blocks, and got some.
struct Sink {
    stream: TcpStream,
    asked: u64,
    received: u64,
    /// Where in the torrent it asks next.
    at: u64,
}

impl Sink {
    fn dial(number: usize, info_hash: &[u8], total: u64) -> io::Result<Self> {
        let mut stream = TcpStream::connect(SEED)?;
        let id = format!("-XX0000-{number:012}");
        stream.write_all(
            &[&b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0"[..], info_hash, id.as_bytes()].concat(),
        )?;
        stream.write_all(&[0, 0, 0, 1, 2])?;
        stream.set_nonblocking(true)?;
        let blocks = total / u64::from(BLOCK);
        Ok(Self { stream, asked: 0, received: 0, at: (number as u64 * 7919) % blocks })
    }

    /// Takes what is there; asks for as many blocks as that was.
    fn turn(&mut self, piece_length: u32, total: u64, scratch: &mut [u8]) -> io::Result<u64> {
        let got = match self.stream.read(scratch) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            Ok(n) => n as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.received += got;
        let mut requests = Vec::new();
        // The few bytes that are no blocks make it ask a little early: no matter.
        while self.asked < self.received / ON_WIRE + DEPTH {
            let (offset, piece) = (self.at * u64::from(BLOCK), u64::from(piece_length));
            requests.extend([0, 0, 0, 13, 6]);
            for number in [(offset / piece) as u32, (offset % piece) as u32, BLOCK] {
                requests.extend(number.to_be_bytes());
            }
            self.at = (self.at + 1) % (total / u64::from(BLOCK));
            self.asked += 1;
        }
        // A send buffer that is full of requests would be a seed that reads nothing: an error is what that is.
        self.stream.write_all(&requests)?;
        Ok(got)
    }
}

fn drink(counters: &Counters, info_hash: &str, piece_length: u32, total: u64) -> io::Result<()> {
    let byte = |n: usize| u8::from_str_radix(info_hash.get(n..n + 2).unwrap_or_default(), 16).unwrap_or(0);
    let info_hash: Vec<u8> = (0..20).map(|n| byte(2 * n)).collect();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let mut sinks = Vec::with_capacity(LINKS);
    for number in 0..LINKS {
        let sink = Sink::dial(number, &info_hash, total)?;
        epoll.add(&sink.stream, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        sinks.push(sink);
        counters.links.fetch_add(1, Ordering::Relaxed);
    }
    let mut scratch = vec![0; 1 << 18];
    let mut ready = [EpollEvent::empty(); 64];
    while !counters.over.load(Ordering::Relaxed) {
        let count = epoll.wait(&mut ready, EpollTimeout::from(100u8))?;
        for event in ready.iter().take(count) {
            if let Some(sink) = sinks.get_mut(event.data() as usize) {
                let got = sink.turn(piece_length, total, &mut scratch)?;
                counters.bytes.fetch_add(got, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}
