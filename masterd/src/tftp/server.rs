//! All clients together: which request gets a session, which is refused and in what words, when sessions end.
//! Never waits: the daemon calls in when a socket is readable or a time has come.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};

use boottorrent_swarm::Time;
use nix::errno::Errno;

use super::config::TftpConfig;
use super::limits::{TRANSFERS, TRANSFERS_OF_ONE_ADDRESS};
use super::packet::{ErrorCode, Malformed, ReadRequest, Request, emit_error};
use super::session::{End, Oddity, Session};
use super::sockets::{self, Arrival};
use super::source::{Source, open_below};
use super::state::{Finished, State};
use super::{name, options};
use crate::service::Warnings;

/// Why a request is not served: an error packet, or silence where the client had better ask again.
#[derive(Debug)]
enum Refusal {
    Error(ErrorCode, String),
    Silence(&'static str),
}

#[derive(Debug)]
pub(super) struct Server {
    root: PathBuf,
    pub(super) config: TftpConfig,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
    by_client: HashMap<SocketAddrV4, usize>,
    /// No session is due before this.
    sweep_at: Option<Time>,
    buffer: Vec<u8>,
    pub(super) warnings: Warnings,
    pub(super) state: State,
    /// Seconds since 1970, as the daemon last told.
    pub(super) unix_time: u64,
}

impl Server {
    pub(super) fn new(root: PathBuf, config: TftpConfig) -> Self {
        Self {
            root,
            config,
            sessions: Vec::new(),
            free: Vec::new(),
            by_client: HashMap::new(),
            sweep_at: None,
            buffer: Vec::new(),
            warnings: Warnings::default(),
            state: State::default(),
            unix_time: 0,
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The socket of a session, for the daemon's poll set.
    pub(super) fn socket(&self, slot: usize) -> Option<&UdpSocket> {
        self.sessions.get(slot)?.as_ref().map(|s| &s.socket)
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.sweep_at
    }

    pub(super) fn active(&self) -> usize {
        self.by_client.len()
    }

    /// A packet at port 69. The slot of a new session is returned, so that its socket can be watched.
    pub(super) fn request(
        &mut self,
        now: Time,
        arrival: &Arrival,
        packet: &[u8],
        reply: &UdpSocket,
    ) -> Option<usize> {
        if arrival.broadcast || arrival.from.port() == 0 {
            self.warnings.warn(now, "request that cannot be answered", arrival.from);
            return None;
        }
        let (code, text) = match Request::parse(packet) {
            Ok(Request::Read(read)) => match self.read(now, arrival, packet, &read) {
                Ok(slot) => return slot,
                Err(Refusal::Silence(why)) => {
                    self.warnings.warn(now, why, arrival.from);
                    return None;
                }
                Err(Refusal::Error(code, text)) => {
                    self.told(now, arrival.from, &read, code, &text);
                    (code, text)
                }
            },
            Ok(Request::Write(file)) => {
                let detail = format!("{} from {}", name::shown(file), arrival.from);
                self.warnings.warn(now, "write request", detail);
                (ErrorCode::AccessViolation, "this server is read only".to_owned())
            }
            Err(Malformed::Stray(opcode)) => {
                // tftp-hpa's client acknowledges an error that it got from this port.
                log::debug!("{}: opcode {opcode} belongs to a transfer, not to this port", arrival.from);
                return None;
            }
            Err(why) => {
                self.warnings.warn(now, "malformed packet", format!("{why}, from {}", arrival.from));
                (why.answer()?, why.to_string())
            }
        };
        let _lost = reply.send_to(&emit_error(code, &text), arrival.from);
        None
    }

    /// A refused file is news, unless it is one that only some nodes have: every node asks for its own.
    fn told(&mut self, now: Time, client: SocketAddrV4, read: &ReadRequest<'_>, code: ErrorCode, text: &str) {
        let file = name::shown(read.name);
        if code == ErrorCode::NotFound && file.trim_start_matches('/').starts_with("nodes/") {
            log::debug!("{client} {file}: {text}");
        } else {
            self.warnings.warn(now, "refused request", format!("{client} {file}: {text}"));
        }
    }

    fn read(
        &mut self,
        now: Time,
        arrival: &Arrival,
        packet: &[u8],
        read: &ReadRequest<'_>,
    ) -> Result<Option<usize>, Refusal> {
        self.state.requests += 1;
        if let Some(&slot) = self.by_client.get(&arrival.from) {
            let known = self.sessions.get(slot).and_then(Option::as_ref);
            if known.is_some_and(|s| s.fresh() && s.request == packet) {
                // Our first packet is on its way, or its repeat will be.
                return Ok(None);
            }
            self.end(now, slot, End::Refused("the client has begun anew".into()));
        }
        self.admit(arrival.from)?;
        let path = name::path(read.name)
            .map_err(|why| Refusal::Error(ErrorCode::AccessViolation, why.to_string()))?;
        let file = open_below(&self.root, &path).map_err(|e| refusal(&e))?;
        let size = file.metadata().map_err(|e| refusal(&e))?.len();
        let granted = options::negotiate(read, size, self.config.max_block_size)
            .map_err(|why| Refusal::Error(ErrorCode::Options, why.to_string()))?;
        let source = Source::new(file, read.mode, granted.block_size).map_err(|e| refusal(&e))?;
        let socket = open_socket(arrival.local)?;
        let shown = name::shown(path.as_os_str().as_encoded_bytes());
        let session = Session::new(now, arrival.from, shown, packet, socket, source, granted);
        Ok(self.begin(now, session))
    }

    fn admit(&self, client: SocketAddrV4) -> Result<(), Refusal> {
        if self.by_client.len() >= TRANSFERS {
            return Err(Refusal::Silence("request left unanswered, all transfers are taken"));
        }
        // Only reached by requests, of which there are few beside the packets of transfers.
        if self.by_client.keys().filter(|c| c.ip() == client.ip()).count() >= TRANSFERS_OF_ONE_ADDRESS {
            return Err(Refusal::Silence("request left unanswered, the client has too many transfers"));
        }
        Ok(())
    }

    fn begin(&mut self, now: Time, mut session: Session) -> Option<usize> {
        if let Some(end) = session.start(now, &mut self.buffer) {
            self.over(now, &session, end);
            return None;
        }
        let due = session.due();
        self.sweep_at = Some(self.sweep_at.map_or(due, |at| at.min(due)));
        let client = session.client;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.sessions.push(None);
                self.sessions.len() - 1
            }
        };
        if let Some(place) = self.sessions.get_mut(slot) {
            *place = Some(session);
        }
        self.by_client.insert(client, slot);
        Some(slot)
    }

    /// The session's socket is readable.
    pub(super) fn readable(&mut self, now: Time, slot: usize) {
        let Some(session) = self.sessions.get_mut(slot).and_then(Option::as_mut) else { return };
        let warnings = &mut self.warnings;
        let end = session.readable(now, &mut self.buffer, |odd| match odd {
            Oddity::Malformed(from, why) => {
                warnings.warn(now, "malformed packet", format!("{why}, from {from}"));
            }
            Oddity::Stranger(from) => warnings.warn(now, "packet from a stranger's port", from),
        });
        if let Some(end) = end {
            self.end(now, slot, end);
        }
    }

    /// Repeats what is due. Acknowledgements only ever move a session's time back, so that `sweep_at` may be early
    /// but never late, and no timer has to be moved for a packet.
    pub(super) fn sweep(&mut self, now: Time) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Time> = None;
        for slot in 0..self.sessions.len() {
            let Some(session) = self.sessions.get_mut(slot).and_then(Option::as_mut) else { continue };
            if session.due() <= now
                && let Some(end) = session.expired(now, &mut self.buffer)
            {
                self.end(now, slot, end);
                continue;
            }
            let due = session.due();
            next = Some(next.map_or(due, |at| at.min(due)));
        }
        self.sweep_at = next;
    }

    fn end(&mut self, now: Time, slot: usize, end: End) {
        let Some(session) = self.sessions.get_mut(slot).and_then(Option::take) else { return };
        self.free.push(slot);
        self.by_client.remove(&session.client);
        self.over(now, &session, end);
    }

    fn over(&mut self, now: Time, session: &Session, end: End) {
        let failure = match end {
            End::Done => None,
            // Firmware asks for a file's size and then gives up the transfer (error 0 or 8): no news.
            End::Refused(why) if session.fresh() => {
                log::debug!("{} {}: ended by the client at once: {why}", session.client, session.name);
                return;
            }
            End::Refused(why) => Some(format!("ended by the client: {why}")),
            End::Failed(why) => Some(why),
        };
        let finished = session.finished(now, self.unix_time, failure);
        tell(&finished);
        self.state.finished(finished);
    }
}

/// One line a transfer. Boot files are news; the many small ones behind them are not.
fn tell(done: &Finished) {
    let Finished { client, file, bytes, seconds, block_size, window, repeats, .. } = done;
    let options = format!("blksize {block_size}, windowsize {window}, {repeats} repeats");
    match &done.failure {
        Some(why) => log::warn!("{client} {file}: {why}, after {bytes} bytes in {seconds:.2} s ({options})"),
        None if file.starts_with("boot/") => {
            log::info!("{client} {file}: {bytes} bytes in {seconds:.2} s ({options})");
        }
        None => log::debug!("{client} {file}: {bytes} bytes in {seconds:.2} s ({options})"),
    }
}

fn open_socket(local: Ipv4Addr) -> Result<UdpSocket, Refusal> {
    sockets::open_transfer(local).map_err(|e| match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => {
            Refusal::Silence("request left unanswered, no descriptor is left (LimitNOFILE=)")
        }
        _ => Refusal::Silence("request left unanswered, no socket could be opened for it"),
    })
}

fn refusal(error: &io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::EISDIR | Errno::ENAMETOOLONG) => {
            Refusal::Error(ErrorCode::NotFound, "no such file".into())
        }
        Some(Errno::EMFILE | Errno::ENFILE) => {
            Refusal::Silence("request left unanswered, no descriptor is left (LimitNOFILE=)")
        }
        // EXDEV and ELOOP among them: a way out of the root, a symbolic link.
        _ => Refusal::Error(ErrorCode::AccessViolation, "the file may not be read".into()),
    }
}
