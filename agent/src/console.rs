//! The consoles: every message goes to each of them, pages to those where somebody may look, and a key may come from
//! any.
//!
//! Decides who may be looking: a screen always, a serial line once it has answered or typed. Until then it is taken for
//! a log, which gets plain lines. Never waits long for one.

mod keys;
mod logbook;
pub(crate) mod shell;
mod terminal;

use std::os::fd::OwnedFd;
use std::time::Duration;

use ratatui::buffer::Buffer;

use crate::cmdline::Cmdline;
use crate::screen::{Glyphs, Layout, Model, ansi, harmless, render};
use crate::{clock, mounts};

pub(crate) use keys::Key;
use keys::{Token, Typed};
pub(crate) use logbook::{Logbook, Wish};
use terminal::Terminal;
pub(crate) use terminal::device;

/// A serial line keeps every line that it gets: one every five seconds is enough to see that it moves.
const SERIAL_PROGRESS: Duration = Duration::from_secs(5);
/// A screen shows progress in place, and once a second is as fast as a person reads.
const SCREEN_PROGRESS: Duration = Duration::from_secs(1);
/// Between two frames that nobody's key asked for: 115200 bit/s carry ten steady frames in that time.
const SERIAL_FRAME: Duration = Duration::from_secs(1);
const SCREEN_FRAME: Duration = Duration::from_millis(400);
/// A serial terminal that does not say how large it is.
const SERIAL_SIZE: (u16, u16) = (80, 24);
/// Lines that a console gets afterwards when a program gives it back.
const MAX_MISSED: usize = 200;
/// The consoles with pages, for a process that has to clean up behind a dead one.
const PAGES_FILE: &str = "pages";

pub(crate) struct Consoles {
    list: Vec<Console>,
    /// Pages are wanted wherever somebody may look.
    pages: bool,
    /// What is said just now is what a program prints: whoever has lent it a console has it there already.
    printed: bool,
    /// The virtual terminals that are ours to be shown.
    ours: Vec<u16>,
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
    typed: Typed,
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

/// The screen that has the log: the first behind the usual one that is no console.
fn log_name(cmdline: &Cmdline) -> String {
    let consoles = names(cmdline);
    let mut free = (2..=12).map(|n| format!("tty{n}")).filter(|name| !consoles.contains(name));
    free.next().unwrap_or_else(|| "tty13".into())
}

/// The number of a virtual terminal.
fn number(name: &str) -> Option<u16> {
    name.strip_prefix("tty")?.parse().ok()
}

impl Consoles {
    /// Opens what can be opened; a name without a device behind it is left out without a word, as the kernel does.
    pub(crate) fn open(cmdline: &Cmdline) -> Self {
        let fallback = cmdline.consoles.is_empty();
        let taken = shell::consoles();
        let open = |name: &String| {
            let screen = is_screen(name);
            // How a shell has set its terminal is not ours to change.
            if taken.contains(name) {
                let terminal = Terminal::attach(name, screen, fallback).ok()?;
                return Some(Console { given_up: Some(Vec::new()), ..Console::new(name, screen, terminal) });
            }
            let terminal = Terminal::open(name, screen, fallback).ok()?;
            Some(Console::new(name, screen, terminal))
        };
        let ours =
            names(cmdline).iter().chain([&log_name(cmdline)]).filter_map(|name| number(name)).collect();
        let list = names(cmdline).iter().filter_map(open).collect();
        Self { list, pages: false, printed: false, ours }
    }

    /// Those that there are.
    pub(crate) fn names(&self) -> Vec<String> {
        self.list.iter().map(|console| console.name.clone()).collect()
    }

    /// Screens show pages from now on, and serial lines are asked whether somebody is there.
    pub(crate) fn start_pages(&mut self) {
        if std::mem::replace(&mut self.pages, true) {
            return;
        }
        for console in &mut self.list {
            if console.screen { console.open_glass() } else { console.ask_if_free() }
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
        self.come_back();
        // A shell that ended there meanwhile has hung it up for us as well.
        for console in self.list.iter_mut().filter(|console| console.given_up.is_none()) {
            console.terminal.restore();
            console.readable = true;
        }
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

    /// What is said until further notice was printed by the program that has the consoles.
    pub(crate) fn printed(&mut self, printed: bool) {
        self.printed = printed;
    }

    /// A line, or several, to every console.
    pub(crate) fn say(&mut self, text: &str) {
        let text = harmless(text);
        let has_it = |console: &&mut Console| self.printed && console.given_up.is_some();
        self.list.iter_mut().filter(|console| !has_it(console)).for_each(|console| console.say(&text));
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
                console.ask_if_free();
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
            while let Some(token) = console.typed.next(clock::now()) {
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

    /// Columns and rows of a console.
    pub(crate) fn size(&self, name: &str) -> Option<(u16, u16)> {
        let console = self.list.iter().find(|console| console.name == name)?;
        Some(console.terminal.size().unwrap_or(console.size))
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
        // Whoever leaves a serial line leaves the screen to what is shown there.
        if is_screen(name) {
            self.come_back();
        }
        for console in self.list.iter_mut().filter(|console| console.name == name) {
            let Some(missed) = console.given_up.take() else { continue };
            console.terminal.restore();
            console.readable = true;
            console.typed.forget();
            if let Some(glass) = &mut console.glass {
                glass.shown = None;
                glass.next_frame = Duration::ZERO;
            }
            console.terminal.write(ansi::LEAVE);
            missed.iter().for_each(|text| console.say(text));
            // One that somebody else had when the pages began.
            if self.pages && !console.screen && !console.asked && console.glass.is_none() {
                console.ask();
            }
        }
    }

    /// A program that has opened a screen of its own, as X does, leaves that to be shown when it ends.
    fn come_back(&self) {
        let Some(screen) = self.list.iter().find(|console| console.screen) else { return };
        let shown = screen.terminal.shown();
        if let (Some(shown), Some(own)) = (shown.filter(|n| !self.ours.contains(n)), number(&screen.name)) {
            screen.terminal.show(own, shown);
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
            typed: Typed::default(),
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

    fn ask_if_free(&mut self) {
        if self.given_up.is_none() {
            self.ask();
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
            Ok(bytes) => self.typed.take(bytes, clock::now()),
            Err(_) => self.readable = false,
        }
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
