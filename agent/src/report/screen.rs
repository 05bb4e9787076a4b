//! The thread between people and the boot: it draws the pages, reads the keys, and gives consoles to programs and back.
//!
//! Decides who gets a key. A fault in it costs the pages, never the boot: the next worker goes on with plain text.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Inner, Report};
use crate::console::{Key, shell};
use crate::screen::{self, Pressed, Question};
use crate::supervisor::{Off, switch_off};
use crate::{clock, mounts};

/// Its name, by which a panic's hook knows whose fault it was.
pub(crate) const THREAD: &str = "screen";
/// The mark of a fault in drawing.
const FAULT_FILE: &str = "screen-fault";
/// How often a clock on a page may have moved on, where no key and no stage asks for a frame.
const TICK: Duration = Duration::from_millis(200);
/// An Escape that stays alone becomes a key by itself after a moment, without a byte that would end a wait.
const KEY_SLICE: Duration = Duration::from_millis(40);
/// Keys typed ahead of a menu; more are dropped.
const MAX_KEYS: usize = 64;

/// The panic's hook says that this thread was it.
pub(crate) fn fault() {
    let _ = mounts::keep(FAULT_FILE, ""); // without it the next worker tries to draw again
}

/// What the header says of this node's place.
pub(crate) struct Facts<'a> {
    /// Empty: not known yet.
    pub(crate) site: &'a str,
    pub(crate) card: &'a str,
    pub(crate) address: Ipv4Addr,
}

enum Wanted {
    Off(Question),
    Shell(String),
}

impl Report {
    /// Shows pages from now on, unless drawing has killed a worker of this boot.
    pub(crate) fn show_pages(&self) {
        if mounts::kept(FAULT_FILE).is_some() {
            self.note("screen", "drawing pages failed before: plain text only");
            return;
        }
        let started = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .map_err(|error| error.to_string())
            .and_then(|wake| {
                let wake = Arc::new(wake);
                let (own, ears) = (self.clone(), Arc::clone(&wake));
                let thread = std::thread::Builder::new().name(THREAD.into());
                thread.spawn(move || own.watch(&ears)).map_err(|error| error.to_string())?;
                Ok(wake)
            });
        match started {
            Ok(wake) => {
                let mut inner = self.lock();
                inner.wake = Some(wake);
                inner.consoles.start_pages();
                inner.refresh();
            }
            Err(error) => self.note("screen", &format!("no pages, plain text only: {error}")),
        }
    }

    /// What this node is to the network.
    pub(crate) fn tell(&self, facts: &Facts<'_>) {
        let speed = std::fs::read_to_string(format!("/sys/class/net/{}/speed", facts.card)).ok();
        let mut inner = self.lock();
        let node = &mut inner.model.node;
        if !facts.site.is_empty() {
            facts.site.clone_into(&mut node.site);
        }
        node.address = facts.address.to_string();
        // -1 of a card that has no such thing, a virtual one for instance.
        node.speed_mbit = speed.and_then(|text| text.trim().parse().ok()).filter(|mbit| *mbit > 0);
    }

    /// The menu as it is now; None: a choice has been made.
    pub(crate) fn show_menu(&self, menu: Option<&screen::Menu>) {
        let mut inner = self.lock();
        let same = |old: &&screen::Menu| {
            menu.is_some_and(|new| (old.selected, old.seconds_left) == (new.selected, new.seconds_left))
        };
        if inner.model.menu.as_ref().filter(same).is_some() {
            return;
        }
        inner.model.menu = menu.cloned();
        inner.refresh();
    }

    /// What the details page says of the chosen image.
    pub(crate) fn describe_image(&self, details: Vec<(String, String)>) {
        self.lock().model.details = details;
    }

    /// What the details page says of this machine.
    pub(crate) fn describe_node(&self, facts: Vec<(String, String)>) {
        self.lock().model.facts = facts;
    }

    /// The download as it is now; `line` for consoles without pages.
    pub(crate) fn downloading(&self, download: screen::Download, line: &str) {
        let mut inner = self.lock();
        inner.model.download = Some(download);
        inner.model.progress.clear();
        inner.consoles.progress(line);
    }

    /// A failure is on the page until then; the keys that help are for consoles without pages.
    pub(crate) fn rest_until(&self, until: Duration, keys: &str) {
        let mut inner = self.lock();
        if let Some(failure) = &mut inner.model.failure {
            failure.again_at = Some(until);
        }
        inner.consoles.say_plain(keys);
        inner.refresh();
    }

    /// For the consoles that have no pages.
    pub(crate) fn say_plain(&self, text: &str) {
        self.lock().consoles.say_plain(text);
    }

    /// A program takes the console: nothing is drawn there and no key read until [`Report::take_back_console`].
    pub(crate) fn give_up_console(&self, name: &str) {
        self.lock().consoles.give_up(name);
    }

    /// The program has ended: the terminal is set up anew, shows its page, and what was said meanwhile.
    pub(crate) fn take_back_console(&self, name: &str) {
        let mut inner = self.lock();
        inner.consoles.take_back(name);
        inner.refresh();
    }

    /// The consoles that there are.
    pub(crate) fn console_names(&self) -> Vec<String> {
        self.lock().consoles.names()
    }

    /// Columns and rows of one.
    pub(crate) fn console_size(&self, name: &str) -> Option<(u16, u16)> {
        self.lock().consoles.size(name)
    }

    /// What becomes readable when a key is typed, for a process without pages.
    pub(crate) fn ears(&self) -> Vec<OwnedFd> {
        self.lock().consoles.ears()
    }

    /// The keys since the last call, each with its console, for a process without pages.
    pub(crate) fn typed(&self) -> Vec<(Key, String)> {
        self.lock().consoles.keys()
    }

    /// A key from any console that no page has taken. The consoles are free for others meanwhile: whoever loads a
    /// keyboard's driver, for one.
    pub(crate) fn key(&self, until: Duration) -> Option<Key> {
        let mut inner = self.lock();
        inner.heard = true;
        let key = loop {
            if inner.wake.is_none() {
                let keys: Vec<Key> = inner.consoles.keys().into_iter().map(|(key, _)| key).collect();
                inner.hear(keys);
            }
            let key = inner.keys.pop_front();
            let left = until.saturating_sub(clock::now());
            if key.is_some() || left.is_zero() {
                break key;
            }
            if inner.wake.is_none() {
                let ears = inner.consoles.ears();
                drop(inner);
                let ears: Vec<BorrowedFd<'_>> = ears.iter().map(AsFd::as_fd).collect();
                clock::wait_readable(&ears, until.min(clock::now() + KEY_SLICE));
                inner = self.lock();
            } else {
                inner = match self.typed.wait_timeout(inner, left) {
                    Ok((inner, _)) => inner,
                    Err(poisoned) => PoisonError::into_inner(poisoned).0,
                };
            }
        };
        inner.heard = false;
        key
    }

    /// What was typed before is for nobody.
    pub(crate) fn forget_keys(&self) {
        let mut inner = self.lock();
        if inner.wake.is_none() {
            drop(inner.consoles.keys());
        }
        inner.keys.clear();
    }

    fn watch(&self, wake: &EventFd) {
        loop {
            let (ears, slice) = {
                let mut inner = self.lock();
                let now = clock::now();
                let inner = &mut *inner;
                inner.consoles.draw(&inner.model, now);
                (inner.consoles.ears(), if inner.consoles.has_half_key() { KEY_SLICE } else { TICK })
            };
            let mut fds: Vec<BorrowedFd<'_>> = ears.iter().map(AsFd::as_fd).collect();
            fds.push(wake.as_fd());
            clock::wait_readable(&fds, clock::now() + slice);
            let _ = wake.read(); // EAGAIN: a key or the clock ended the wait
            // In a statement of its own: whoever carries it out speaks, and needs the lock for that.
            let wanted = self.lock().take_keys();
            for wanted in wanted {
                match wanted {
                    Wanted::Off(Question::PowerOff) => {
                        switch_off(self, Off::Power, "asked for at the console");
                    }
                    Wanted::Off(Question::Reboot) => {
                        switch_off(self, Off::Reboot, "asked for at the console")
                    }
                    Wanted::Shell(console) => shell::open(self, &console),
                }
            }
            self.typed.notify_all();
        }
    }
}

impl Inner {
    /// The header says who this is.
    pub(super) fn introduce(&mut self) {
        self.model.node.mac = self.mac.to_string();
        self.model.node.name =
            if self.node == self.mac.hyphenated() { String::new() } else { self.node.clone() };
    }

    /// The next frame is due now.
    pub(super) fn refresh(&mut self) {
        self.consoles.hurry();
        if let Some(wake) = &self.wake {
            let _ = wake.write(1); // at the counter's end it is awake all the same
        }
    }

    fn take_keys(&mut self) -> Vec<Wanted> {
        let keys = self.consoles.keys();
        let mut wanted = Vec::new();
        if keys.is_empty() {
            return wanted;
        }
        let resting = self.model.failure.as_ref().is_some_and(|failure| failure.again_at.is_some());
        let heard = self.heard || self.model.menu.is_some() || resting;
        for (key, console) in keys {
            if key == Key::Redraw {
                self.consoles.redraw();
            }
            match self.model.press(key, heard) {
                Pressed::Passed => self.hear([key]),
                // Whatever it was: a person is there, and no countdown goes on.
                Pressed::Taken => self.hear([Key::Other]),
                Pressed::Confirmed(question) => wanted.push(Wanted::Off(question)),
                Pressed::Shell => {
                    self.hear([Key::Other]);
                    wanted.push(Wanted::Shell(console));
                }
            }
        }
        self.refresh();
        wanted
    }

    fn hear(&mut self, keys: impl IntoIterator<Item = Key>) {
        let room = MAX_KEYS.saturating_sub(self.keys.len());
        self.keys.extend(keys.into_iter().take(room));
    }
}
