//! What a program prints, as lines for people who were not there: the last of them, and as many for the master as it
//! should get.
//!
//! Decides what of a terminal's output is text. Never keeps more than a few lines.

use std::collections::VecDeque;
use std::time::Duration;

/// Lines that are kept for the end.
const LAST: usize = 5;
/// Bytes of a line; a record of the master holds so many with all its fields.
const MAX_LINE: usize = 400;
/// Lines of one WINDOW that go to the master: enough for a program that says what it does, far below what a log fills with.
const MAX_LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Output {
    line: Vec<u8>,
    last: VecDeque<String>,
    escape: Escape,
    /// A carriage return has come: what follows overwrites the line, unless the line ends there.
    returned: bool,
    ends: Duration,
    sent: u32,
}

/// Where in a terminal's control sequence the output is (ECMA-48).
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Begun,
    /// CSI: parameters until a letter.
    Control,
    /// OSC, before its first byte.
    Command,
    /// So many bytes of a colour are to come.
    Palette(u8),
    /// OSC and its like: until BEL or ST.
    Text,
}

/// What follows `ESC ] P`: a colour's number, and red, green and blue in two digits each.
const PALETTE_BYTES: u8 = 7;

impl Output {
    /// Takes what was printed; lines for the master.
    pub(super) fn take(&mut self, bytes: &[u8], now: Duration) -> Vec<String> {
        let mut lines = self.renew(now);
        for byte in bytes {
            if let Some(line) = self.byte(*byte) {
                self.sent = self.sent.saturating_add(1);
                if self.sent <= MAX_LINES {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// What was printed last, and the line that has no end yet.
    pub(super) fn last(&mut self) -> Vec<String> {
        self.end_line();
        self.last.iter().cloned().collect()
    }

    /// At the end of a window: how many lines it swallowed.
    pub(super) fn renew(&mut self, now: Duration) -> Vec<String> {
        if now < self.ends {
            return Vec::new();
        }
        self.ends = now + WINDOW;
        let swallowed = std::mem::take(&mut self.sent).saturating_sub(MAX_LINES);
        if swallowed > 0 { vec![format!("({swallowed} more lines)")] } else { Vec::new() }
    }

    fn byte(&mut self, byte: u8) -> Option<String> {
        self.escape = match (self.escape, byte) {
            (Escape::None, 0x1b) => Escape::Begun,
            (Escape::None, _) => return self.plain(byte),
            (Escape::Begun, b'[') => Escape::Control,
            (Escape::Begun, b']') => Escape::Command,
            (Escape::Begun, b'P' | b'^' | b'_') => Escape::Text,
            // Linux's own palette commands have no end of their own (console_codes(4)); ncurses sends the first when it ends.
            (Escape::Command, b'R') => Escape::None,
            (Escape::Command, b'P') => Escape::Palette(PALETTE_BYTES),
            (Escape::Palette(1), _) => Escape::None,
            (Escape::Palette(n), _) => Escape::Palette(n - 1),
            // What is cut off must not swallow all that follows.
            (Escape::Text | Escape::Command, b'\n' | 0x18 | 0x1a) => Escape::None,
            (Escape::Command, 0x07) => Escape::None,
            (Escape::Command, 0x1b) => Escape::Begun,
            (Escape::Command, _) => Escape::Text,
            // `ESC ( B` and the like have one more byte.
            (Escape::Begun, 0x20..=0x2f) => Escape::Begun,
            (Escape::Control, 0x20..=0x3f) => Escape::Control,
            (Escape::Text, 0x07) => Escape::None,
            (Escape::Text, 0x1b) => Escape::Begun,
            (Escape::Text, _) => Escape::Text,
            _ => Escape::None,
        };
        None
    }

    fn plain(&mut self, byte: u8) -> Option<String> {
        let returned = std::mem::replace(&mut self.returned, byte == b'\r');
        match byte {
            b'\n' => return self.end_line(),
            0x08 => _ = self.line.pop(),
            b'\t' => self.push(b' '),
            0..=0x1f | 0x7f => {}
            _ => {
                if returned {
                    self.line.clear();
                }
                self.push(byte);
            }
        }
        None
    }

    fn push(&mut self, byte: u8) {
        if self.line.len() < MAX_LINE {
            self.line.push(byte);
        }
    }

    fn end_line(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        if line.is_empty() {
            return None;
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(line.clone());
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn lines_are_text_whatever_a_terminal_would_make_of_them() {
        let mut output = Output::default();
        let drawn =
            b"\x1b[2J\x1b[1;31mfail\x1b[0med\r\n\x1b]0;title\x07\x1b(B50 %\r100 %\r\n\n\x07a\tb\x08c\n";
        assert_eq!(output.take(drawn, NOW), ["failed", "100 %", "a c"]);
        assert!(output.take(b"cut \xff \x1b[", NOW).is_empty());
        assert!(output.take(b"31mhere", NOW).is_empty());
        assert_eq!(output.last(), ["failed", "100 %", "a c", "cut \u{fffd} here"]);
    }

    #[test]
    fn no_sequence_swallows_the_last_words() {
        let mut output = Output::default();
        let drawn = b"\x1b]Rqemu: gone\n\x1b]P0123456black\n\x1b]0;no end\nafter\n\x1bPcut\x18kept\n";
        assert_eq!(output.take(drawn, NOW), ["qemu: gone", "black", "after", "kept"]);
    }

    #[test]
    fn a_flood_is_counted_and_only_its_end_is_kept() {
        let mut output = Output::default();
        let flood: Vec<u8> = (0..5000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        assert_eq!(output.take(&flood, NOW).len(), MAX_LINES as usize);
        assert_eq!(output.take(b"more\n", NOW + WINDOW), ["(4990 more lines)", "more"]);
        assert_eq!(output.last(), ["line 4996", "line 4997", "line 4998", "line 4999", "more"]);
        output.take(&[b'x'; 100_000], NOW);
        assert_eq!(output.last()[4].len(), MAX_LINE);
    }
}
