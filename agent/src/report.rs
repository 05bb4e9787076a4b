//! What the node says: each stage's begin, end and failure, on every console and to the master's UDP 514.
//!
//! Decides the form of a line. Never waits and never fails a stage: the master may be deaf, the boot goes on.

mod screen;
mod voice;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boottorrent_swarm::Mac;
use boottorrent_swarm::record::{Event, Params, Record};
use nix::sys::eventfd::EventFd;

use crate::clock;
use crate::cmdline::Cmdline;
use crate::console::{Consoles, Key, shell};
use crate::kmsg::Log;
use crate::mounts;
use crate::screen::Model;

pub(crate) use screen::{Facts, THREAD as SCREEN_THREAD, fault as screen_fault};
use voice::Voice;

/// The last words before the kernel is replaced are sent this often: there is no later chance.
const LAST_COPIES: usize = 3;
/// Between those: a card's queue is emptied, and one burst on the wire does not take all of them.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// What the supervisor needs to speak for a dead worker.
const IDENTITY: &str = "identity";

/// A handle; all copies speak through the same consoles and the same socket.
#[derive(Clone)]
pub(crate) struct Report {
    inner: Arc<Mutex<Inner>>,
    /// Notified when a key was typed.
    typed: Arc<Condvar>,
}

struct Inner {
    consoles: Consoles,
    /// What the pages show; fed by everything that is said.
    model: Model,
    keys: VecDeque<Key>,
    /// Somebody waits for a key.
    heard: bool,
    /// Wakes the thread that draws; None: there are no pages in this process.
    wake: Option<Arc<EventFd>>,
    log: Log,
    /// The log has what is waited for, too; and what that was last.
    debug: Option<String>,
    node: String,
    mac: Mac,
    boot: u32,
    last_sequence: u32,
    voice: Voice,
}

impl Report {
    pub(crate) fn new(cmdline: &Cmdline) -> Self {
        let inner = Inner {
            consoles: Consoles::open(cmdline),
            model: Model::new(shell::is_there()),
            keys: VecDeque::new(),
            heard: false,
            wake: None,
            log: Log::open(),
            debug: cmdline.debug.then(String::new),
            node: String::new(),
            mac: Mac::default(),
            boot: boot_number(),
            last_sequence: 0,
            voice: Voice::default(),
        };
        Self { inner: Arc::new(Mutex::new(inner)), typed: Arc::default() }
    }

    /// Who speaks: the name that the site or DHCP gave, else the MAC.
    pub(crate) fn identify(&self, node: &str, mac: Mac, master: Option<Ipv4Addr>) {
        let mut inner = self.lock();
        inner.node = if node.is_empty() { mac.hyphenated() } else { node.to_owned() };
        inner.mac = mac;
        inner.introduce();
        if let Some(master) = master {
            // The kernel keeps the text for a supervisor that has to speak for this process; losing it costs that only.
            let _ = mounts::keep(IDENTITY, &format!("{}\n{mac}\n{master}\n", inner.node));
            inner.connect(master);
        }
    }

    /// Speaks under the name that a worker left behind.
    pub(crate) fn take_identity(&self) {
        let Some(text) = mounts::kept(IDENTITY) else { return };
        let mut lines = text.lines();
        let node = lines.next().unwrap_or_default().to_owned();
        let mac = lines.next().and_then(|line| line.parse().ok());
        let master = lines.next().and_then(|line| line.parse().ok());
        if let (Some(mac), Some(master)) = (mac, master) {
            let mut inner = self.lock();
            inner.node = node;
            inner.mac = mac;
            inner.introduce();
            inner.connect(master);
        }
    }

    /// Speaks on after a worker that died, perhaps in the middle of a page.
    pub(crate) fn take_over(&self) {
        self.take_identity();
        self.lock().consoles.clean_up();
    }

    /// What is said from now on may not reach the master.
    pub(crate) fn doubt(&self) {
        self.lock().voice.doubt();
    }

    /// The master has answered: what it may have missed is said to it again.
    pub(crate) fn heard(&self) {
        let mut inner = self.lock();
        let (node, mac) = (inner.node.clone(), inner.mac);
        inner.voice.heard(|message| introduced(message, &node, mac));
    }

    /// This node has another address: the master is spoken to from there.
    pub(crate) fn moved(&self, address: Ipv4Addr) {
        let mut inner = self.lock();
        inner.model.node.address = address.to_string();
        inner.voice.doubt();
        if let Some(master) = inner.voice.master() {
            inner.connect(master);
        }
    }

    /// Whom this node speaks to.
    pub(crate) fn master(&self) -> Option<Ipv4Addr> {
        self.lock().voice.master()
    }

    pub(crate) fn begin(&self, stage: &str, text: &str) {
        self.lock().record(stage, Event::Begin, clock::now(), Params::new(), text);
    }

    pub(crate) fn end(&self, stage: &str, took: Duration, params: Params, text: &str) {
        self.lock().record(stage, Event::End, took, params, text);
    }

    pub(crate) fn fail(&self, stage: &str, took: Duration, text: &str) {
        self.lock().record(stage, Event::Fail, took, Params::new(), text);
    }

    /// Something that a person may want to know and that changes nothing.
    pub(crate) fn note(&self, stage: &str, text: &str) {
        self.lock().record(stage, Event::Note, clock::now(), Params::new(), text);
    }

    /// A line that a program has printed: the consoles that it has show it already.
    pub(crate) fn printed(&self, stage: &str, line: &str) {
        let mut inner = self.lock();
        inner.consoles.printed(true);
        inner.record(stage, Event::Note, clock::now(), Params::new(), line);
        inner.consoles.printed(false);
    }

    /// How far a stage is, for the master alone: the consoles have a line of their own.
    pub(crate) fn figures(&self, stage: &str, params: Params) {
        let mut inner = self.lock();
        if inner.voice.master().is_some() {
            let message = inner.message(stage, Event::Progress, clock::now(), params, "");
            inner.voice.send(&message);
        }
    }

    /// The last record of this kernel: sent several times, since there is no later one to show a gap.
    pub(crate) fn last(&self, stage: &str, took: Duration, params: Params, text: &str) {
        let mut inner = self.lock();
        inner.consoles.stop_pages();
        let line = inner.record(stage, Event::End, took, params, text);
        for _ in 1..LAST_COPIES {
            clock::pause(LAST_PAUSE);
            inner.voice.send(&line);
        }
        clock::pause(LAST_PAUSE);
    }

    /// For the consoles only.
    pub(crate) fn say(&self, text: &str) {
        self.lock().say(text);
    }

    /// A line on the consoles that the next one replaces.
    pub(crate) fn progress(&self, text: &str) {
        let mut inner = self.lock();
        text.trim().clone_into(&mut inner.model.progress);
        inner.debug(text.trim());
        inner.consoles.progress(text);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked with the lock leaves at worst half a line: the others go on speaking.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// What is waited for: once, however its numbers change.
    fn debug(&mut self, text: &str) {
        let wording = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
        let Some(before) = &mut self.debug else { return };
        if *before != wording(text) {
            *before = wording(text);
            let line = format!("[{:>9.3}] debug: {text}", clock::now().as_secs_f64());
            self.model.said(&line);
            self.log.write(&line);
        }
    }

    fn say(&mut self, text: &str) {
        self.model.said(text);
        self.log.write(text);
        self.consoles.say(text);
    }

    fn record(&mut self, stage: &str, event: Event, elapsed: Duration, params: Params, text: &str) -> String {
        let now = clock::now();
        self.model.recorded(stage, event, now, elapsed, text);
        self.say(&line(now, stage, event, elapsed, text));
        if let (Event::Begin, Some(_)) = (event, &self.wake) {
            self.consoles.start_pages(); // where a hand-over was refused: they go on
        }
        self.refresh();
        if event == Event::Fail {
            self.voice.doubt(); // what has failed may be the way to the master
        }
        let message = self.message(stage, event, elapsed, params, text);
        self.voice.say(message.clone());
        message
    }

    /// The next record, as it is sent.
    fn message(
        &mut self,
        stage: &str,
        event: Event,
        elapsed: Duration,
        params: Params,
        text: &str,
    ) -> String {
        self.last_sequence = next_sequence(self.last_sequence, clock::now());
        let record = Record {
            node: self.node.clone(),
            mac: self.mac,
            boot: self.boot,
            sequence: self.last_sequence,
            stage: stage.to_owned(),
            event,
            elapsed_ms: elapsed.as_millis().try_into().unwrap_or(u64::MAX),
            params,
            text: text.to_owned(),
        };
        record.emit()
    }

    fn connect(&mut self, master: Ipv4Addr) {
        let (node, mac) = (self.node.clone(), self.mac);
        self.voice.connect(master, |message| introduced(message, &node, mac));
    }
}

/// A message under the name and MAC that are known by now: it may have been made before there were any.
fn introduced(message: &str, node: &str, mac: Mac) -> String {
    match Record::parse(message.as_bytes()) {
        Ok(record) => Record { node: node.to_owned(), mac, ..record }.emit(),
        Err(_) => message.to_owned(),
    }
}

/// Counts up over all workers and the supervisor of a boot, which share nothing but the clock.
fn next_sequence(last: u32, now: Duration) -> u32 {
    u32::try_from(now.as_millis()).unwrap_or(u32::MAX).max(last.saturating_add(1))
}

/// The same for every process of a boot and another one for the next boot: the kernel draws it.
fn boot_number() -> u32 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.get(..8).and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or_default()
}

/// A line of a console: `[   12.345] download: done in 3.2 s: ...`.
fn line(now: Duration, stage: &str, event: Event, elapsed: Duration, text: &str) -> String {
    let at = format!("[{:>9.3}] {stage}", now.as_secs_f64());
    match event {
        Event::Begin => format!("{at}: {text}"),
        Event::End => format!("{at}: done in {:.1} s: {text}", elapsed.as_secs_f64()),
        Event::Fail => format!("{at}: FAILED after {:.1} s: {text}", elapsed.as_secs_f64()),
        Event::Note | Event::Progress => format!("{at}: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_two_processes_only_ever_grow() {
        let first = next_sequence(0, Duration::from_millis(1200));
        let second = next_sequence(first, Duration::from_millis(1200));
        assert_eq!((first, second), (1200, 1201));
        assert_eq!(next_sequence(0, Duration::from_millis(5000)), 5000, "a worker that started later");
    }

    #[test]
    fn lines_say_what_and_how_long() {
        let now = Duration::from_millis(12_345);
        let text = line(now, "lease", Event::Fail, Duration::from_secs(10), "nobody answered");
        assert_eq!(text, "[   12.345] lease: FAILED after 10.0 s: nobody answered");
        assert!(
            line(now, "lease", Event::End, Duration::from_millis(250), "10.0.0.9")
                .contains("done in 0.2 s: 10.0.0.9")
        );
    }
}
