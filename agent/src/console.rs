//! The consoles: every message goes to each of them, and a key may come from any.
//!
//! Decides which terminals a person may be looking at. Never waits long for one: a serial line that nobody drains
//! loses text, not the boot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    self, ControlFlags, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices,
};

use crate::clock;
use crate::cmdline::Cmdline;

/// How long a message waits for room on a console: 240 bytes at 9600 bit/s, three lines.
const STALL_MS: u16 = 250;
/// A serial line keeps every line that it gets: one every five seconds is enough to see that it moves.
const SERIAL_PROGRESS: Duration = Duration::from_secs(5);
/// A screen shows progress in place, and once a second is as fast as a person reads.
const SCREEN_PROGRESS: Duration = Duration::from_secs(1);
/// Bytes that were typed ahead; more are dropped.
const MAX_TYPED: usize = 64;
/// The bytes of one key press follow each other faster than this, at 1200 bit/s too.
const ESCAPE: Duration = Duration::from_millis(30);

/// What a person pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Character(char),
    Enter,
    Up,
    Down,
    /// Anything else: it stops a countdown and does nothing more.
    Other,
}

pub(crate) struct Consoles {
    list: Vec<Console>,
}

struct Console {
    name: String,
    terminal: File,
    /// A screen shows progress in place; a serial line gets a line of its own now and then.
    screen: bool,
    /// Text without a line end is on the screen and must go before the next message.
    dirty: bool,
    /// A program has it: nothing is written and no key is read.
    given_up: bool,
    next_progress: Duration,
    stalled: bool,
    readable: bool,
    /// Bytes that are not a key yet, and when the last of them came.
    typed: Vec<u8>,
    typed_at: Duration,
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
        let list = names(cmdline).iter().filter_map(|name| Console::open(name, fallback).ok()).collect();
        Self { list }
    }

    /// A line, or several, to every console.
    pub(crate) fn say(&mut self, text: &str) {
        let soon = clock::now() + SCREEN_PROGRESS;
        for console in self.list.iter_mut().filter(|console| !console.given_up) {
            // What is waited for next shows soon, however lately the last thing did.
            console.next_progress = console.next_progress.min(soon);
            let clear = if std::mem::take(&mut console.dirty) { "\r\x1b[K" } else { "" };
            console.write(&format!("{clear}{text}\n"));
        }
        self.list.retain(|console| !console.is_gone());
    }

    /// A line that the next one replaces; shown as often as each console can bear.
    pub(crate) fn progress(&mut self, text: &str) {
        let now = clock::now();
        let due = |console: &&mut Console| !console.given_up && console.next_progress <= now;
        for console in self.list.iter_mut().filter(due) {
            if console.screen {
                console.next_progress = now + SCREEN_PROGRESS;
                console.dirty = true;
                console.write(&format!("\r\x1b[K{text}"));
            } else {
                console.next_progress = now + SERIAL_PROGRESS;
                console.write(&format!("{text}\n"));
            }
        }
    }

    /// A key that was typed on any console. Never waits: the terminals were opened so.
    pub(crate) fn key(&mut self) -> Option<Key> {
        self.list.iter_mut().filter(|console| console.listens()).for_each(Console::read);
        self.list.iter_mut().find_map(Console::typed_key)
    }

    /// What becomes readable when something is typed; copies, so that nobody holds the consoles while waiting.
    pub(crate) fn ears(&self) -> Vec<OwnedFd> {
        let readable = self.list.iter().filter(|console| console.listens());
        readable.filter_map(|console| console.terminal.as_fd().try_clone_to_owned().ok()).collect()
    }

    /// Leaves a console to somebody else.
    pub(crate) fn give_up(&mut self, name: &str) {
        self.list
            .iter_mut()
            .filter(|console| console.name == name)
            .for_each(|console| console.given_up = true);
    }

    pub(crate) fn take_back(&mut self, name: &str) {
        self.list
            .iter_mut()
            .filter(|console| console.name == name)
            .for_each(|console| console.given_up = false);
    }

    /// Whole lines typed on the consoles since the last call are not ours to keep: a menu starts with none.
    pub(crate) fn forget_keys(&mut self) {
        for _ in 0..MAX_TYPED {
            if self.key().is_none() {
                return;
            }
        }
    }
}

impl Console {
    fn open(name: &str, fallback: bool) -> io::Result<Self> {
        let flags = (nix::fcntl::OFlag::O_NOCTTY | nix::fcntl::OFlag::O_NONBLOCK).bits();
        let path = format!("/dev/{name}");
        // A node would be created by opening for writing if /dev were not devtmpfs: look first.
        fs::metadata(&path)?;
        let terminal = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
        // A serial port without a chip behind it fails here, and so is no console.
        let mut settings = termios::tcgetattr(&terminal)?;
        settings.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        settings.input_flags |= InputFlags::ICRNL;
        // One stray Ctrl-S, from noise on a serial line too, would silence the console for good.
        settings.input_flags &= !(InputFlags::IXON | InputFlags::IXOFF);
        // Nothing typed is EAGAIN and not the end of the file.
        settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        settings.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
        if fallback && !is_screen(name) {
            // The kernel set no speed where it has no console; this is what serial consoles of our time have.
            // In the flags by hand: cfsetspeed(3) is a versioned symbol that a static glibc does not have.
            settings.control_flags.remove(ControlFlags::CBAUD);
            settings.control_flags |= ControlFlags::from_bits_retain(libc::B115200);
        }
        termios::tcsetattr(&terminal, SetArg::TCSANOW, &settings)?;
        Ok(Self {
            name: name.to_owned(),
            terminal,
            screen: is_screen(name),
            dirty: false,
            given_up: false,
            next_progress: Duration::ZERO,
            stalled: false,
            readable: true,
            typed: Vec::new(),
            typed_at: Duration::ZERO,
        })
    }

    fn write(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            match self.terminal.write(rest) {
                Ok(0) => return,
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.stalled = false;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.stalled || !self.wait_for_room() {
                        self.stalled = true;
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.name.clear();
                    return;
                }
            }
        }
    }

    fn wait_for_room(&self) -> bool {
        let mut fd = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fd, PollTimeout::from(STALL_MS)).is_ok_and(|ready| ready > 0)
    }

    fn listens(&self) -> bool {
        self.readable && !self.given_up
    }

    fn is_gone(&self) -> bool {
        self.name.is_empty()
    }

    /// Takes what was typed; a terminal that hung up would be "readable" for ever, so it is not asked again.
    fn read(&mut self) {
        let mut bytes = [0; 16];
        match self.terminal.read(&mut bytes) {
            Ok(0) => self.readable = false,
            Ok(length) if self.typed.len() < MAX_TYPED => {
                self.typed.extend_from_slice(bytes.get(..length).unwrap_or_default());
                self.typed_at = clock::now();
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.readable = false,
        }
    }

    fn typed_key(&mut self) -> Option<Key> {
        // The bytes of an arrow key come one by one on a serial line; an Escape that stays alone is a key of its own.
        let patient = clock::now().saturating_sub(self.typed_at) < ESCAPE;
        let (key, used) = decode(&self.typed, patient)?;
        self.typed.drain(..used);
        Some(key)
    }
}

/// The first key of what was typed, and its length in bytes. None: nothing yet, or more may come.
fn decode(bytes: &[u8], patient: bool) -> Option<(Key, usize)> {
    Some(match bytes {
        [] => return None,
        [0x1b] | [0x1b, b'[' | b'O'] if patient => return None,
        [b'\r' | b'\n', ..] => (Key::Enter, 1),
        [0x1b, b'[' | b'O', b'A', ..] => (Key::Up, 3),
        [0x1b, b'[' | b'O', b'B', ..] => (Key::Down, 3),
        [0x1b, b'[' | b'O', _, ..] => (Key::Other, 3),
        [byte @ 0x20..=0x7e, ..] => (Key::Character(char::from(*byte)), 1),
        _ => (Key::Other, 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Vec<String> {
        names(&Cmdline::parse(line))
    }

    #[test]
    fn every_console_and_always_a_screen() {
        assert_eq!(of(""), ["tty1", "ttyS0"]);
        assert_eq!(of("console=tty0 console=ttyS0,115200"), ["tty1", "ttyS0"]);
        assert_eq!(of("console=ttyS1"), ["tty1", "ttyS1"]);
        assert_eq!(of("console=tty0"), ["tty1"]);
        assert_eq!(of("console=hvc0 console=tty2"), ["hvc0", "tty2"]);
        assert_eq!(of("console=tty0 console=ttyS0 console=tty1"), ["tty1", "ttyS0"], "each once");
    }

    #[test]
    fn keys_of_serial_lines_and_keyboards() {
        assert_eq!(decode(b"\r", true), Some((Key::Enter, 1)));
        assert_eq!(decode(b"\x1b[A", true), Some((Key::Up, 3)));
        assert_eq!(decode(b"\x1bOB2", true), Some((Key::Down, 3)));
        assert_eq!(
            decode(b"2\n", true),
            Some((Key::Character('2'), 1)),
            "the line's end is a key of its own"
        );
        assert_eq!(decode(b"", false), None);
    }

    #[test]
    fn an_arrow_may_come_byte_by_byte() {
        assert_eq!(decode(b"\x1b", true), None);
        assert_eq!(decode(b"\x1b[", true), None);
        assert_eq!(decode(b"\x1b", false), Some((Key::Other, 1)), "Escape itself");
    }
}
