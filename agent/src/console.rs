//! The consoles: every message goes to each of them, pages to those where somebody may look, and a key may come from
//! any.
//!
//! Decides who may be looking: a screen always, a serial line once it has answered or typed. Until then it is taken for
//! a log, which gets plain lines. Never waits long for one.

mod keys;
pub(crate) mod shell;
mod terminal;

use std::os::fd::OwnedFd;
use std::time::Duration;

use ratatui::buffer::Buffer;

use crate::cmdline::Cmdline;
use crate::screen::{Glyphs, Layout, Model, ansi, harmless, render};
use crate::{clock, mounts};

pub(crate) use keys::Key;
use keys::{Token, decode};
use terminal::Terminal;

/// A serial line keeps every line that it gets: one every five seconds is enough to see that it moves.
const SERIAL_PROGRESS: Duration = Duration::from_secs(5);
/// A screen shows progress in place, and once a second is as fast as a person reads.
const SCREEN_PROGRESS: Duration = Duration::from_secs(1);
/// Between two frames that nobody's key asked for: 115200 bit/s carry ten steady frames in that time.
const SERIAL_FRAME: Duration = Duration::from_secs(1);
const SCREEN_FRAME: Duration = Duration::from_millis(400);
/// A serial terminal that does not say how large it is.
const SERIAL_SIZE: (u16, u16) = (80, 24);
/// Bytes that were typed ahead; more are dropped.
const MAX_TYPED: usize = 64;
/// The bytes of one key press follow each other faster than this, at 1200 bit/s too.
const ESCAPE: Duration = Duration::from_millis(30);
/// Lines that a console gets afterwards when a program gives it back.
const MAX_MISSED: usize = 200;
/// The consoles with pages, for a process that has to clean up behind a dead one.
const PAGES_FILE: &str = "pages";

pub(crate) struct Consoles {
    list: Vec<Console>,
    /// Pages are wanted wherever somebody may look.
    pages: bool,
}

struct Console {
    name: String,
    terminal: Terminal,
    /// A virtual terminal, not a line.
    screen: bool,
    /// Progress without a line end is on the screen and must go before the next message.
    dirty: bool,
    next_progress: Duration,
    readable: bool,
    /// Bytes that are not a key yet, and when the last of them came.
    typed: Vec<u8>,
    typed_at: Duration,
    glyphs: Glyphs,
    size: (u16, u16),
    /// Asked how large it is; its answers are no keys.
    asked: bool,
    glass: Option<Glass>,
    /// A program has it; the lines that it missed.
    given_up: Option<Vec<String>>,
}

/// What a console with pages shows.
struct Glass {
    layout: Layout,
    /// None: nothing that we know of.
    shown: Option<Buffer>,
    next_frame: Duration,
}

/// The terminals of a command line: each `console=`, the screen always, and a serial line where none was named.
pub(crate) fn names(cmdline: &Cmdline) -> Vec<String> {
    let mut names = cmdline.consoles.clone();
    if names.is_empty() {
        names.push("ttyS0".into());
    }
    // tty0 is whichever virtual terminal is shown, tty1 the one that we and the keyboard have.
    for name in &mut names {
        if name == "tty0" || name == "tty" {
            *name = "tty1".into();
        }
    }
    if !names.iter().any(|name| is_screen(name)) {
        names.insert(0, "tty1".into());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
}

impl Consoles {
    /// Opens what can be opened; a name without a device behind it is left out without a word, as the kernel does.
    pub(crate) fn open(cmdline: &Cmdline) -> Self {
        let fallback = cmdline.consoles.is_empty();
        let open = |name: &String| {
            let screen = is_screen(name);
            let terminal = Terminal::open(name, screen, fallback).ok()?;
            Some(Console::new(name, screen, terminal))
        };
        Self { list: names(cmdline).iter().filter_map(open).collect(), pages: false }
    }

    /// Screens show pages from now on, and serial lines are asked whether somebody is there.
    pub(crate) fn start_pages(&mut self) {
        if std::mem::replace(&mut self.pages, true) {
            return;
        }
        for console in &mut self.list {
            if console.screen { console.open_glass() } else { console.ask() }
        }
        self.keep_names();
    }

    /// Everything is plain text again.
    pub(crate) fn stop_pages(&mut self) {
        self.pages = false;
        self.list.iter_mut().for_each(Console::leave_glass);
        self.keep_names();
    }

    /// Cleans up behind a process that died while it showed pages.
    pub(crate) fn clean_up(&mut self) {
        let Some(names) = mounts::kept(PAGES_FILE) else { return };
        for console in self.list.iter_mut().filter(|console| names.lines().any(|name| name == console.name)) {
            console.terminal.write(ansi::LEAVE);
        }
        mounts::forget(PAGES_FILE);
    }

    fn keep_names(&self) {
        let names: String = self
            .list
            .iter()
            .filter(|console| console.glass.is_some())
            .map(|console| format!("{}\n", console.name))
            .collect();
        let _ = mounts::keep(PAGES_FILE, &names); // without it a dead worker leaves its last page on the screen
    }

    /// A line, or several, to every console.
    pub(crate) fn say(&mut self, text: &str) {
        let text = harmless(text);
        self.list.iter_mut().for_each(|console| console.say(&text));
        self.list.retain(|console| !console.terminal.is_gone());
    }

    /// For those that have no pages to see it on.
    pub(crate) fn say_plain(&mut self, text: &str) {
        let text = harmless(text);
        self.list.iter_mut().filter(|console| console.glass.is_none()).for_each(|console| console.say(&text));
    }

    /// A line that the next one replaces; shown as often as each console can bear, where there are no pages.
    pub(crate) fn progress(&mut self, text: &str) {
        let (now, text) = (clock::now(), harmless(text));
        for console in &mut self.list {
            if console.glass.is_none() && console.given_up.is_none() && console.next_progress <= now {
                console.progress(&text, now);
            }
        }
    }

    /// The model has changed because of a person: the next frame is due.
    pub(crate) fn hurry(&mut self) {
        self.list
            .iter_mut()
            .filter_map(|c| c.glass.as_mut())
            .for_each(|glass| glass.next_frame = Duration::ZERO);
    }

    /// Draws on every console that has pages and is due.
    pub(crate) fn draw(&mut self, model: &Model, now: Duration) {
        self.list.iter_mut().for_each(|console| console.draw(model, now));
    }

    /// Everything is drawn anew: something else has written there.
    pub(crate) fn redraw(&mut self) {
        for console in &mut self.list {
            if let Some(glass) = &mut console.glass {
                glass.shown = None;
            }
            if !console.screen && self.pages {
                console.ask();
            }
        }
        self.hurry();
    }

    /// The keys that were typed since the last call, each with its console. Never waits: the terminals were opened so.
    pub(crate) fn keys(&mut self) -> Vec<(Key, String)> {
        let mut keys = Vec::new();
        let mut changed = false;
        for console in self.list.iter_mut().filter(|console| console.given_up.is_none()) {
            if console.readable {
                console.read();
            }
            while let Some(token) = console.typed_token() {
                let had = console.glass.is_some();
                keys.extend(console.take(token, self.pages).map(|key| (key, console.name.clone())));
                changed |= had != console.glass.is_some();
            }
        }
        if changed {
            self.keep_names();
        }
        keys
    }

    /// What becomes readable when something is typed; copies, so that nobody holds the consoles while waiting.
    pub(crate) fn ears(&self) -> Vec<OwnedFd> {
        let readable = self.list.iter().filter(|console| console.readable && console.given_up.is_none());
        readable.filter_map(|console| console.terminal.share()).collect()
    }

    /// Whether half a key waits for its rest: an Escape that stays alone ends no wait.
    pub(crate) fn has_half_key(&self) -> bool {
        self.list.iter().any(|console| !console.typed.is_empty())
    }

    /// A program takes the console: nothing is drawn there and no key read until it is taken back.
    pub(crate) fn give_up(&mut self, name: &str) {
        for console in self.list.iter_mut().filter(|console| console.name == name) {
            if console.glass.as_ref().is_some_and(|glass| glass.shown.is_some()) {
                console.terminal.write(ansi::LEAVE);
            }
            console.given_up = Some(Vec::new());
        }
    }

    pub(crate) fn take_back(&mut self, name: &str) {
        for console in self.list.iter_mut().filter(|console| console.name == name) {
            let Some(missed) = console.given_up.take() else { continue };
            console.terminal.restore();
            console.readable = true;
            console.typed.clear();
            if let Some(glass) = &mut console.glass {
                glass.shown = None;
                glass.next_frame = Duration::ZERO;
            }
            console.terminal.write(ansi::LEAVE);
            missed.iter().for_each(|text| console.say(text));
        }
    }
}

impl Console {
    fn new(name: &str, screen: bool, terminal: Terminal) -> Self {
        Self {
            name: name.to_owned(),
            screen,
            dirty: false,
            next_progress: Duration::ZERO,
            readable: true,
            typed: Vec::new(),
            typed_at: Duration::ZERO,
            glyphs: if screen { Glyphs::Vga } else { Glyphs::Ascii },
            size: SERIAL_SIZE,
            asked: false,
            glass: None,
            given_up: None,
            terminal,
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(missed) = &mut self.given_up {
            if missed.len() == MAX_MISSED {
                missed.remove(0);
            }
            missed.push(text.to_owned());
            return;
        }
        // What is waited for next shows soon, however lately the last thing did.
        self.next_progress = self.next_progress.min(clock::now() + SCREEN_PROGRESS);
        match &self.glass {
            Some(Glass { layout, shown: Some(_), .. }) => {
                let bytes = ansi::say(layout, self.glyphs, text);
                self.terminal.write(&bytes);
            }
            // The first frame of a screen comes with the log's last lines.
            Some(_) if self.screen => {}
            _ => {
                let clear = if std::mem::take(&mut self.dirty) { "\r\x1b[K" } else { "" };
                self.terminal.write(&format!("{clear}{text}\n"));
            }
        }
    }

    fn progress(&mut self, text: &str, now: Duration) {
        if self.screen {
            self.next_progress = now + SCREEN_PROGRESS;
            self.dirty = true;
            self.terminal.write(&format!("\r\x1b[K{text}"));
        } else {
            self.next_progress = now + SERIAL_PROGRESS;
            self.terminal.write(&format!("{text}\n"));
        }
    }

    fn ask(&mut self) {
        self.asked = true;
        self.terminal.offer(ansi::PROBE);
    }

    fn open_glass(&mut self) {
        if self.screen {
            self.size = self.terminal.size().unwrap_or(self.size);
        }
        let layout = Layout::new(self.size.0, self.size.1);
        let known = self.glass.as_ref().map(|glass| glass.layout);
        if layout != known {
            self.leave_glass();
            self.glass = layout.map(|layout| Glass { layout, shown: None, next_frame: Duration::ZERO });
        }
    }

    fn leave_glass(&mut self) {
        if self.glass.take().is_some_and(|glass| glass.shown.is_some()) && self.given_up.is_none() {
            self.terminal.write(ansi::LEAVE);
        }
    }

    fn draw(&mut self, model: &Model, now: Duration) {
        let due = self.glass.as_ref().is_some_and(|glass| glass.next_frame <= now);
        if !due || self.given_up.is_some() || !self.terminal.is_drained() {
            return;
        }
        // A driver of the graphics card may have made the screen a larger one.
        if self.screen && self.terminal.size().is_some_and(|size| size != self.size) {
            self.open_glass();
        }
        let torn = self.terminal.take_torn();
        let Some(glass) = &mut self.glass else { return };
        let mut bytes = String::new();
        let shown = match glass.shown.take() {
            Some(shown) if !torn => shown,
            _ => {
                bytes.push_str(&ansi::enter(&glass.layout, self.screen));
                // A serial line has had its lines: whoever keeps them gets each once.
                if self.screen && !model.log.is_empty() {
                    let lines = model.log.len().saturating_sub(glass.layout.log_lines().into());
                    let log: Vec<&str> = model.log.iter().skip(lines).map(String::as_str).collect();
                    bytes.push_str(&ansi::say(&glass.layout, self.glyphs, &log.join("\n")));
                }
                Buffer::empty(glass.layout.area())
            }
        };
        let frame = render(model, &glass.layout, now);
        bytes.push_str(&ansi::update(&glass.layout, self.glyphs, &shown, &frame));
        glass.shown = Some(frame);
        glass.next_frame = now + if self.screen { SCREEN_FRAME } else { SERIAL_FRAME };
        if !bytes.is_empty() {
            self.terminal.offer(&bytes);
        }
    }

    /// Takes what was typed; a terminal that hung up would be "readable" for ever, so it is not asked again.
    fn read(&mut self) {
        match self.terminal.read() {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => {
                if self.typed.len() < MAX_TYPED {
                    self.typed.extend(bytes);
                }
                self.typed_at = clock::now();
            }
            Err(_) => self.readable = false,
        }
    }

    fn typed_token(&mut self) -> Option<Token> {
        // The bytes of an arrow key come one by one on a serial line; an Escape that stays alone is a key of its own.
        let patient = clock::now().saturating_sub(self.typed_at) < ESCAPE;
        let (token, used) = decode(&self.typed, patient)?;
        self.typed.drain(..used.min(self.typed.len()));
        Some(token)
    }

    /// A key is passed on; an answer, and the first key too, open the pages of a serial line.
    fn take(&mut self, token: Token, pages: bool) -> Option<Key> {
        match token {
            Token::Key(key) => {
                if pages && self.glass.is_none() {
                    if !self.screen {
                        self.ask();
                    }
                    self.open_glass();
                }
                Some(key)
            }
            Token::Cursor { .. } if !self.asked || self.screen => Some(Key::Other),
            // The first answer: behind a no-break space of two bytes.
            Token::Cursor { column: 2, .. } => {
                self.glyphs = Glyphs::Utf8;
                if let Some(glass) = &mut self.glass {
                    glass.shown = None;
                }
                None
            }
            Token::Cursor { column: 0..=3, .. } => {
                self.glyphs = Glyphs::Ascii;
                None
            }
            // The second: as far as a cursor gets.
            Token::Cursor { row, column } => {
                self.asked = false;
                self.size = (column, row);
                if pages {
                    self.open_glass();
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
