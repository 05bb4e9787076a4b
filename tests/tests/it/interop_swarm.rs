//! Our seed and our client beside other people's: aria2, libtorrent and Transmission download from ours, and ours from
//! theirs. On loopback everybody has an address of its own in 127.0.0.0/8, since libtorrent takes one link an address.

mod mixed;

use boottorrent_tests::programs;
use boottorrent_tests::torrent::{self, Torrent};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// Downloads when it is given a peer and ends when it has everything; otherwise it is there until it is killed.
/// What names no peer but a tracker is announced to.
const LIBTORRENT: &str = r"
import libtorrent as lt, sys, time
torrent, folder, listen, *peers = sys.argv[1:]
session = lt.session({'listen_interfaces': listen, 'outgoing_interfaces': listen.split(':')[0],
    'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False, 'enable_natpmp': False,
    'enable_incoming_utp': False, 'enable_outgoing_utp': False})
handle = session.add_torrent({'ti': lt.torrent_info(torrent), 'save_path': folder, 'trackers': []})
for peer in peers:
    if peer.startswith('http'):
        handle.add_tracker({'url': peer})
        continue
    address, port = peer.split(':')
    handle.connect_peer((address, int(port)))
while not peers or peers[0].startswith('http') or not handle.status().is_seeding:
    time.sleep(0.05)
";

/// 20 MB in 256 KiB pieces: enough for aria2 to leave its first six requests behind.
pub(crate) fn image(folder: &Path) -> Torrent {
    std::fs::create_dir_all(folder.join("theirs")).unwrap();
    torrent::make(&folder.join("theirs"), "image", 80, 256 * 1024).unwrap()
}

pub(crate) fn address() -> Ipv4Addr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    Ipv4Addr::new(127, 91, (std::process::id() % 250) as u8, 1 + LAST.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn place() -> SocketAddrV4 {
    SocketAddrV4::new(address(), 6881)
}

/// A folder that goes with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static LAST: AtomicU8 = AtomicU8::new(0);
        let name = format!("bt-interop-{}-{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn start(command: &mut Command) -> Running {
    Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
}

/// The command must end well within two minutes, which are those of a machine that does other things, too.
pub(crate) fn finish(command: &mut Command) {
    let mut line = vec![command.get_program().to_owned()];
    line.extend(command.get_args().map(ToOwned::to_owned));
    let status = Command::new("timeout").arg("120").args(&line).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}: {line:?}");
}

pub(crate) fn our_seed(torrent: &Torrent, at: SocketAddrV4) -> Running {
    let mut command = Command::new(programs::path("boottorrent-seed"));
    command.arg("--torrent").arg(&torrent.file).arg("--data").arg(&torrent.data);
    start(command.args(["--listen", &at.to_string()]))
}

pub(crate) fn our_fetch(torrent: &Torrent, to: &Path) -> Command {
    let mut command = Command::new(programs::agent());
    command.arg("fetch").arg(&torrent.file).arg("--to").arg(to);
    command.args(["--linger", "0", "--listen", &SocketAddrV4::new(address(), 0).to_string()]);
    command.arg("--stats").arg(to.with_extension("json"));
    command
}

fn aria2(torrent: &Torrent, folder: &Path, at: SocketAddrV4) -> Command {
    let mut command = Command::new("aria2c");
    command.args(["--quiet", "--enable-dht=false", "--bt-enable-lpd=false"]);
    command.arg(format!("--dir={}", folder.display()));
    command.arg(format!("--interface={}", at.ip())).arg(format!("--listen-port={}", at.port()));
    command.arg(&torrent.file);
    command
}

fn libtorrent(torrent: &Torrent, folder: &Path, at: SocketAddrV4) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", LIBTORRENT]).arg(&torrent.file).arg(folder).arg(at.to_string());
    command
}

/// aria2 dials nobody that no tracker names, and without its DHT it asks trackers over HTTP only: this one knows one peer.
fn http_tracker(peer: SocketAddrV4) -> SocketAddrV4 {
    let at = SocketAddrV4::new(address(), 6969);
    let listener = TcpListener::bind(at).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let _ = socket.read(&mut [0; 4096]);
            let mut body = b"d8:intervali60e5:peers6:".to_vec();
            body.extend_from_slice(&peer.ip().octets());
            body.extend_from_slice(&peer.port().to_be_bytes());
            body.push(b'e');
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = socket.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    at
}

pub(crate) fn assert_same(torrent: &Torrent, copy: PathBuf) {
    assert!(
        std::fs::read(&torrent.data).unwrap() == std::fs::read(&copy).unwrap(),
        "{} differs",
        copy.display()
    );
}

pub(crate) fn stats(to: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(to.with_extension("json")).unwrap()).unwrap()
}

#[test]
fn aria2_downloads_from_our_seed() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let seed_at = place();
    let _seed = our_seed(&torrent, seed_at);
    let tracker = http_tracker(seed_at);
    let mut command = aria2(&torrent, &dir.path().join("got"), place());
    finish(command.arg(format!("--bt-tracker=http://{tracker}/announce")).arg("--seed-time=0"));
    assert_same(&torrent, dir.path().join("got/image"));
}

#[test]
fn libtorrent_downloads_from_our_seed() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let seed_at = place();
    let _seed = our_seed(&torrent, seed_at);
    finish(libtorrent(&torrent, &dir.path().join("got"), place()).arg(seed_at.to_string()));
    assert_same(&torrent, dir.path().join("got/image"));
}

#[test]
fn our_client_downloads_from_aria2() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let at = place();
    let _aria2 = start(
        aria2(&torrent, &dir.path().join("theirs"), at).args(["--seed-ratio=0", "--check-integrity=true"]),
    );
    let got = dir.path().join("got");
    finish(our_fetch(&torrent, &got).args(["--peer", &at.to_string()]));
    assert_same(&torrent, got.join("image"));
    assert_eq!(stats(&got)["bytes_from_named_peers"], torrent.bytes);
}

#[test]
fn our_client_downloads_from_libtorrent() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let at = place();
    let _libtorrent = start(&mut libtorrent(&torrent, &dir.path().join("theirs"), at));
    let got = dir.path().join("got");
    finish(our_fetch(&torrent, &got).args(["--peer", &at.to_string()]));
    assert_same(&torrent, got.join("image"));
    assert_eq!(stats(&got)["bytes_from_named_peers"], torrent.bytes);
}

#[test]
fn what_is_there_is_verified_and_only_the_rest_is_downloaded() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let seed_at = place();
    let _seed = our_seed(&torrent, seed_at);
    let got = dir.path().join("got");
    std::fs::create_dir(&got).unwrap();
    let mut bytes = std::fs::read(&torrent.data).unwrap();
    // One byte of the eighth piece is wrong, and all after the fortieth is missing.
    bytes[7 * 256 * 1024] ^= 1;
    bytes.truncate(40 * 256 * 1024);
    std::fs::write(got.join("image"), &bytes).unwrap();
    let done = dir.path().join("done");
    let mut command = our_fetch(&torrent, &got);
    command.args(["--peer", &seed_at.to_string(), "--on-complete", &format!("touch {}", done.display())]);
    finish(&mut command);
    assert_same(&torrent, got.join("image"));
    assert!(done.exists(), "the command was run");
    let piece = 256 * 1024;
    assert_eq!(
        (stats(&got)["bytes_found"].as_u64(), stats(&got)["bytes_in"].as_u64()),
        (Some(39 * piece), Some(41 * piece))
    );
    finish(&mut command);
    assert_eq!((stats(&got)["bytes_in"].as_u64(), stats(&got)["complete"].as_bool()), (Some(0), Some(true)));
}

#[test]
fn the_seed_names_the_file_that_is_wrong() {
    let dir = Folder::new();
    let torrent = image(dir.path());
    let mut bytes = std::fs::read(&torrent.data).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&torrent.data, bytes).unwrap();
    let mut command = Command::new(programs::path("boottorrent-seed"));
    command.arg("--torrent").arg(&torrent.file).arg("--data").arg(&torrent.data);
    let output = command.args(["--listen", &place().to_string()]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("image does not match the torrent (1 of 80"), "{text}");
}
