//! A node's serial console: everything it ever said with the time of each piece, and a way to type.
//! Waiters are woken by output; nothing is polled and nothing is lost between two looks.

use crate::clock::{Deadline, now};
use crate::error::LabError;
use crate::process::tail;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A line is written at once; a node that stops in the middle of one has stopped.
const REST_OF_LINE: Duration = Duration::from_secs(20);

/// A text that was awaited and came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Since the node was switched on.
    pub after: Duration,
    /// The whole line around it, as far as it has come.
    pub line: String,
    /// Where in the console's text the match ends: to go on from there.
    pub end: usize,
}

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    /// What a terminal of 80 columns and 24 rows shows of it.
    terminal: Terminal,
    /// (length of `bytes` after it came, when)
    arrivals: Vec<(usize, Duration)>,
    ended: bool,
}

struct Terminal(vt100::Parser);

impl Default for Terminal {
    fn default() -> Self {
        Self(vt100::Parser::new(24, 80, 0))
    }
}

struct Shared {
    text: Mutex<Text>,
    grown: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Console {
    shared: Arc<Shared>,
    input: Mutex<Box<dyn Write + Send>>,
    reader: Option<JoinHandle<()>>,
    what: String,
}

impl Console {
    /// Reads `output` in a thread of its own until it ends, and keeps a copy in `log`.
    ///
    /// # Errors
    /// `Io` when the log can't be made.
    pub fn new(
        what: &str,
        input: impl Write + Send + 'static,
        output: impl Read + Send + 'static,
        switched_on: Instant,
        log: impl Into<PathBuf>,
    ) -> Result<Self, LabError> {
        let log = log.into();
        let file = std::fs::File::create(&log).map_err(LabError::io("write", &log))?;
        let shared = Arc::new(Shared { text: Mutex::default(), grown: Condvar::new() });
        let writer = Arc::clone(&shared);
        let reader = std::thread::spawn(move || listen(output, file, switched_on, &writer));
        let input: Mutex<Box<dyn Write + Send>> = Mutex::new(Box::new(input));
        Ok(Self { shared, input, reader: Some(reader), what: what.into() })
    }

    #[must_use]
    pub fn text(&self) -> String {
        text_of(&self.shared.lock().bytes)
    }

    /// Waits for the text, from the beginning on.
    ///
    /// # Errors
    /// `Timeout`, or `Ended` when the node is gone; both with the last lines.
    pub fn expect(&self, wanted: &str, limit: Duration) -> Result<Seen, LabError> {
        self.expect_from(0, &[wanted], limit)
    }

    /// Waits for the first of several texts that stands after byte `start`.
    ///
    /// # Errors
    /// As `expect`.
    pub fn expect_from(&self, start: usize, wanted: &[&str], limit: Duration) -> Result<Seen, LabError> {
        let deadline = Deadline::after(limit);
        let mut text = self.shared.lock();
        loop {
            if let Some(seen) = wanted.iter().filter_map(|one| find(&text, start, one)).min_by_key(|s| s.end)
            {
                return Ok(seen);
            }
            let last_lines = || tail(&text_of(&text.bytes));
            if text.ended {
                return Err(LabError::Ended { what: self.what.clone(), seen: last_lines() });
            }
            let Some(left) = deadline.left() else {
                return Err(deadline.timeout(format!("{wanted:?} on {}", self.what), last_lines()));
            };
            text = match self.shared.grown.wait_timeout(text, left) {
                Ok((text, _)) => text,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// As `expect`, and waits for the end of the line too.
    ///
    /// # Errors
    /// As `expect`.
    pub fn expect_line(&self, wanted: &str, limit: Duration) -> Result<Seen, LabError> {
        let seen = self.expect(wanted, limit)?;
        self.expect_from(seen.end, &["\n"], REST_OF_LINE)?;
        Ok(find(&self.shared.lock(), seen.end - wanted.len(), wanted).unwrap_or(seen))
    }

    /// Waits until a terminal shows the text, whatever was drawn in which order.
    ///
    /// # Errors
    /// As `expect`, with what it shows.
    pub fn expect_shown(&self, wanted: &str, limit: Duration) -> Result<String, LabError> {
        let deadline = Deadline::after(limit);
        let mut text = self.shared.lock();
        loop {
            let shown = text.terminal.0.screen().contents();
            if shown.contains(wanted) {
                return Ok(shown);
            }
            if text.ended {
                return Err(LabError::Ended { what: self.what.clone(), seen: shown });
            }
            let Some(left) = deadline.left() else {
                return Err(deadline.timeout(format!("{wanted:?} on the screen of {}", self.what), shown));
            };
            text = match self.shared.grown.wait_timeout(text, left) {
                Ok((text, _)) => text,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// How often a text was said so far.
    #[must_use]
    pub fn count(&self, wanted: &str) -> usize {
        self.text().matches(wanted).count()
    }

    /// Length of what was said so far: a place to go on from.
    #[must_use]
    pub fn end(&self) -> usize {
        self.shared.lock().bytes.len()
    }

    /// Types; a node that is gone does not listen.
    pub fn send(&self, keys: &str) {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = input.write_all(keys.as_bytes()).and_then(|()| input.flush());
    }

    /// Answers as a terminal does that was asked what it is: one that knows UTF-8 and has 80 columns and 24 rows.
    pub fn answer_as_terminal(&self) {
        self.send("\x1b[1;2R\x1b[24;80R");
    }

    /// Waits until the other end is closed and everything is in the log.
    pub(crate) fn close(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn listen(mut output: impl Read, mut log: std::fs::File, switched_on: Instant, shared: &Shared) {
    let mut chunk = [0; 4096];
    let mut escape = Escape::default();
    loop {
        let length = match output.read(&mut chunk) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let bytes = chunk.get(..length).unwrap_or_default();
        let _ = log.write_all(bytes);
        let mut text = shared.lock();
        text.bytes.extend(bytes.iter().filter(|byte| escape.is_text(**byte)));
        let arrival = (text.bytes.len(), now() - switched_on);
        text.arrivals.push(arrival);
        text.terminal.0.process(bytes);
        shared.grown.notify_all();
    }
    shared.lock().ended = true;
    shared.grown.notify_all();
}

fn find(text: &Text, start: usize, wanted: &str) -> Option<Seen> {
    let hay = text.bytes.get(start..)?;
    let at = start + hay.windows(wanted.len().max(1)).position(|part| part == wanted.as_bytes())?;
    let end = at + wanted.len();
    let arrival = text.arrivals.partition_point(|(length, _)| *length < end);
    let after = text.arrivals.get(arrival).map_or(Duration::ZERO, |(_, after)| *after);
    let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let first = text.bytes.get(..at)?.iter().rposition(is_break).map_or(0, |place| place + 1);
    let rest = text.bytes.get(end..)?;
    let last = rest.iter().position(is_break).map_or(text.bytes.len(), |place| end + place);
    Some(Seen { after, line: text_of(text.bytes.get(first..last)?), end })
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\r', "")
}

/// Where in an escape sequence (ECMA-48, 5.4) the last piece of output ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Escape {
    #[default]
    None,
    Begun,
    Control,
}

impl Escape {
    /// Whether a byte is text: firmware and systemd colour the middle of their lines.
    fn is_text(&mut self, byte: u8) -> bool {
        let (next, text) = match (*self, byte) {
            (_, 0x1b) => (Self::Begun, false),
            (Self::Begun, b'[') => (Self::Control, false),
            (Self::Control, 0x20..=0x3f) => (Self::Control, false),
            (Self::Begun | Self::Control, _) => (Self::None, false),
            (Self::None, _) => (Self::None, byte >= b' ' || matches!(byte, b'\n' | b'\r' | b'\t')),
        };
        *self = next;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn console() -> (Console, UnixStream) {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (near, far) = UnixStream::pair().unwrap();
        let log = std::env::temp_dir().join(format!("bt-console-{}-{number}", std::process::id()));
        let console = Console::new("a node", near.try_clone().unwrap(), near, now(), &log).unwrap();
        std::fs::remove_file(log).unwrap();
        (console, far)
    }

    #[test]
    fn a_text_in_two_pieces_is_found_with_its_line() {
        let (console, mut far) = console();
        far.write_all(b"one\r\nname=n0").unwrap();
        console.expect("one", Duration::from_secs(5)).unwrap();
        far.write_all(b"1 ready\r\n").unwrap();
        let seen = console.expect("n01 ready", Duration::from_secs(5)).unwrap();
        assert_eq!(seen.line, "name=n01 ready");
        assert!(console.expect_from(seen.end, &["name="], Duration::from_millis(1)).is_err());
    }

    #[test]
    fn what_is_drawn_in_pieces_is_shown_as_a_whole() {
        let (console, mut far) = console();
        far.write_all(b"\x1b[2;6Hworld\x1b[2;1Hhell\x1b[2;5Ho").unwrap();
        let shown = console.expect_shown("helloworld", Duration::from_secs(5)).unwrap();
        assert_eq!(shown.trim(), "helloworld");
        assert!(console.expect_shown("hello world", Duration::from_millis(1)).is_err());
    }

    #[test]
    fn a_node_that_is_gone_ends_the_wait() {
        let (console, mut far) = console();
        far.write_all(b"last words\n").unwrap();
        drop(far);
        let error = console.expect("never", Duration::from_secs(60)).unwrap_err();
        assert!(matches!(&error, LabError::Ended { seen, .. } if seen.contains("last words")), "{error}");
    }

    #[test]
    fn what_is_typed_arrives() {
        let (console, mut far) = console();
        console.send("2\n");
        let mut typed = [0; 2];
        far.read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"2\n");
    }

    #[test]
    fn escape_sequences_do_not_hide_text() {
        let (console, mut far) = console();
        far.write_all(b"\x1b[2J\x1b[1;31mWelcome \x1b[").unwrap();
        console.expect("Welcome", Duration::from_secs(5)).unwrap();
        far.write_all(b"0mto\x07 it\n").unwrap();
        assert_eq!(
            console.expect_line("Welcome to it", Duration::from_secs(5)).unwrap().line,
            "Welcome to it"
        );
    }
}
