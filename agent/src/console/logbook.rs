//! The second console: what has been said since the kernel's start, to be scrolled through, and the way to a shell.
//!
//! Decides what stands on its screen. Never opens a shell or switches off by itself: process 1, whose it is, does.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::keys::{Key, Token, Typed};
use super::terminal::Terminal;
use super::{log_name, shell};
use crate::cmdline::Cmdline;
use crate::kmsg::{Reader, Record};
use crate::screen::{Glyphs, harmless, wrapped};
use crate::supervisor::Off;

/// Lines that are kept, some 200 kB: a boot that fails for hours, and all that the kernel says of its hardware.
const MAX_LINES: usize = 2000;
/// Records taken at a time: a flood must not keep process 1 from its children.
const MAX_AT_ONCE: usize = 500;
/// Between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Of the kernel's messages, those at this level and more urgent ones are everybody's.
const WARNING: u16 = 4;
/// Whoever has the screen next finds it empty, with a cursor.
const CLEAR: &str = "\x1b[0m\x1b[?25h\x1b[2J\x1b[H";

/// What somebody at this console wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Shell,
    Off(Off),
}

pub(crate) struct Logbook {
    name: String,
    terminal: Terminal,
    readable: bool,
    typed: Typed,
    log: Option<Reader>,
    book: Book,
    /// A shell has it.
    given_up: bool,
    changed: bool,
    next_frame: Duration,
}

impl Logbook {
    /// None: this machine has no such terminal.
    pub(crate) fn open(cmdline: &Cmdline) -> Option<Self> {
        let name = log_name(cmdline);
        let given_up = shell::consoles().contains(&name); // one that was opened before process 1 replaced itself
        let opened = if given_up { Terminal::attach } else { Terminal::open };
        let terminal = opened(&name, true, false).ok()?;
        let book = Book { has_shell: shell::is_there(), everything: cmdline.debug, ..Book::default() };
        Some(Self {
            name,
            terminal,
            readable: true,
            typed: Typed::default(),
            log: Reader::open().ok(),
            book,
            given_up,
            changed: true,
            next_frame: Duration::ZERO,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What becomes readable when there is something to do.
    pub(crate) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let heard = (self.readable && !self.given_up).then(|| self.terminal.as_fd());
        heard.into_iter().chain(self.log.as_ref().map(|log| log.as_fd())).collect()
    }

    /// When it has to be drawn anew.
    pub(crate) fn due(&self) -> Option<Duration> {
        (self.changed && !self.given_up).then_some(self.next_frame)
    }

    /// Takes what was said and typed, and shows it.
    pub(crate) fn turn(&mut self, now: Duration) -> Vec<Wish> {
        for _ in 0..MAX_AT_ONCE {
            let Some(record) = self.log.as_mut().and_then(Reader::next) else { break };
            self.changed |= self.book.take(&record);
        }
        let mut wishes = Vec::new();
        if !self.given_up && self.readable {
            match self.terminal.read() {
                Ok(bytes) => self.typed.take(bytes, now),
                Err(_) => self.readable = false,
            }
            while let Some(token) = self.typed.next(now) {
                self.changed = true;
                if let Token::Key(key) = token {
                    wishes.extend(self.book.press(key));
                }
            }
        }
        if self.due().is_some_and(|due| due <= now) {
            self.next_frame = now + FRAME;
            if self.terminal.is_drained() {
                self.changed = false;
                let (columns, rows) = self.terminal.size().unwrap_or(super::SERIAL_SIZE);
                let page = self.book.page(columns.into(), rows.into());
                self.terminal.offer(&page);
            }
        }
        wishes
    }

    pub(crate) fn give_up(&mut self) {
        self.given_up = true;
        self.terminal.write(CLEAR);
    }

    pub(crate) fn take_back(&mut self) {
        self.given_up = false;
        self.terminal.restore();
        self.readable = true;
        self.typed.forget();
        self.changed = true;
    }
}

/// What it shows.
#[derive(Default)]
struct Book {
    lines: VecDeque<String>,
    /// Rows between the last one and the last one shown.
    scrolled: usize,
    /// Columns of the page that was shown last.
    columns: usize,
    question: Option<Off>,
    has_shell: bool,
    /// The kernel's messages of every level.
    everything: bool,
}

impl Book {
    /// Whether it is a line of this book.
    fn take(&mut self, record: &Record) -> bool {
        let Record { level, at, text, .. } = record;
        let line = if record.is_ours() {
            text.clone()
        } else if self.everything || *level <= WARNING {
            format!("[{:>9.3}] kernel: {text}", at.as_secs_f64())
        } else {
            return false;
        };
        if self.lines.len() == MAX_LINES {
            self.lines.pop_front();
        }
        let line = harmless(&line).into_owned();
        // Who reads back keeps the place.
        if self.scrolled > 0 {
            // The top is the largest number.
            self.scrolled = self.scrolled.saturating_add(rows_of(&line, self.columns).len());
        }
        self.lines.push_back(line);
        true
    }

    fn press(&mut self, key: Key) -> Option<Wish> {
        if let Some(off) = self.question.take() {
            return matches!(key, Key::Character('y' | 'Y')).then_some(Wish::Off(off));
        }
        const PAGE: usize = 10;
        match key {
            Key::Enter if self.has_shell => return Some(Wish::Shell),
            // The page knows where the top is.
            Key::Up => self.scrolled = self.scrolled.saturating_add(1),
            Key::PageUp => self.scrolled = self.scrolled.saturating_add(PAGE),
            Key::Home => self.scrolled = usize::MAX,
            Key::Down => self.scrolled = self.scrolled.saturating_sub(1),
            Key::PageDown => self.scrolled = self.scrolled.saturating_sub(PAGE),
            Key::End => self.scrolled = 0,
            Key::Character('p' | 'P') => self.question = Some(Off::Power),
            Key::Character('r' | 'R') => self.question = Some(Off::Reboot),
            _ => {}
        }
        None
    }

    /// The newest line stands last, above a row that says what the keys do.
    fn page(&mut self, columns: usize, rows: usize) -> String {
        let rows = rows.saturating_sub(1);
        self.columns = columns;
        let wanted = self.scrolled.saturating_add(rows);
        let mut shown: Vec<String> = Vec::new();
        for line in self.lines.iter().rev() {
            shown.extend(rows_of(line, columns).into_iter().rev());
            if shown.len() >= wanted {
                break;
            }
        }
        // Behind the first page there is nothing to scroll to.
        self.scrolled = self.scrolled.min(shown.len().saturating_sub(rows));
        shown.drain(..self.scrolled);
        shown.resize(rows, String::new());
        let mut bytes = String::from("\x1b%G\x1b[0m\x1b[r\x1b[?25l\x1b[H");
        for line in shown.iter().rev() {
            bytes.push_str(&Glyphs::Vga.show(line));
            bytes.push_str("\x1b[K\r\n");
        }
        let help: String = self.help().chars().take(columns.saturating_sub(1)).collect();
        bytes + "\x1b[7m" + &help + "\x1b[K\x1b[0m"
    }

    fn help(&self) -> String {
        match self.question {
            Some(Off::Power) => " Power off? y: yes   any other key: no".into(),
            Some(Off::Reboot) => " Reboot? y: yes   any other key: no".into(),
            None => {
                let shell = if self.has_shell { " Enter: a shell  " } else { "" };
                format!("{shell} Alt-F1: back   PgUp, PgDn: scroll   r: reboot   p: power off")
            }
        }
    }
}

/// A line of the log as rows of a screen; the last column stays free, since writing there moves some cursors on.
fn rows_of(line: &str, columns: usize) -> Vec<String> {
    wrapped(line, columns.saturating_sub(1).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u16 = 31;

    fn record(priority: u16, text: &str) -> Record {
        Record::parse(&format!("{priority},1,1500000,-;{text}")).unwrap()
    }

    fn book(lines: usize) -> Book {
        let mut book = Book { has_shell: true, ..Book::default() };
        (0..lines).for_each(|n| assert!(book.take(&record(OURS, &format!("line {n}")))));
        book
    }

    fn shown(book: &mut Book) -> String {
        let mut parser = vt100::Parser::new(8, 80, 0);
        parser.process(book.page(80, 8).as_bytes());
        parser.screen().contents()
    }

    #[test]
    fn it_ends_with_the_newest_line_and_the_keys() {
        let page = shown(&mut book(20));
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!((lines[0], lines[6]), ("line 13", "line 19"), "{page}");
        assert!(lines[7].contains("Enter: a shell") && lines[7].contains("p: power off"), "{page}");
        let mut book = book(20);
        book.take(&record(OURS, &format!("é\u{1b}[2J{}", "x".repeat(100))));
        assert!(shown(&mut book).contains("line 19\né?[2Jxxx"), "{}", shown(&mut book));
        assert_eq!(shown(&mut Book::default()).trim(), Book::default().help().trim(), "no shell, no lines");
    }

    #[test]
    fn it_scrolls_and_keeps_the_place() {
        let mut book = book(20);
        assert_eq!(book.press(Key::PageUp), None);
        assert!(shown(&mut book).contains("line 9\n") && !shown(&mut book).contains("line 10"));
        book.take(&record(OURS, "another"));
        assert!(shown(&mut book).contains("line 9\n") && !shown(&mut book).contains("line 10"));
        book.press(Key::Home);
        assert!(shown(&mut book).starts_with("line 0\n"));
        book.press(Key::Down);
        assert!(
            shown(&mut book).starts_with("line 1\n"),
            "the top is the top however often it was asked for"
        );
        book.take(&record(OURS, &"a long line ".repeat(20)));
        book.press(Key::Home);
        assert!(shown(&mut book).starts_with("line 0\n"), "however many rows a line takes");
        book.take(&record(OURS, &"a long line ".repeat(20)));
        assert!(shown(&mut book).starts_with("line 0\n"));
        book.take(&record(OURS, "another"));
        book.press(Key::End);
        assert!(shown(&mut book).contains("another\n"));
        (0..3000).for_each(|n| assert!(book.take(&record(OURS, &format!("more {n}")))));
        assert_eq!(book.lines.len(), MAX_LINES);
    }

    #[test]
    fn the_kernels_chatter_is_for_those_who_asked() {
        let mut book = book(0);
        assert!(!book.take(&record(6, "usb 1-1: new device")));
        assert!(book.take(&record(4, "r8169: no firmware")));
        assert!(shown(&mut book).contains("[    1.500] kernel: r8169: no firmware"));
        book.everything = true;
        assert!(book.take(&record(6, "usb 1-1: new device")));
    }

    #[test]
    fn going_off_takes_two_keys() {
        let mut book = book(1);
        assert_eq!(book.press(Key::Enter), Some(Wish::Shell));
        assert_eq!((book.press(Key::Character('r')), book.press(Key::Enter)), (None, None));
        assert_eq!(book.press(Key::Character('r')), None);
        assert!(shown(&mut book).contains("Reboot? y: yes"));
        assert_eq!(book.press(Key::Character('y')), Some(Wish::Off(Off::Reboot)));
        book.has_shell = false;
        assert_eq!(book.press(Key::Enter), None);
    }
}
