//! What comes from a terminal's keyboard: keys, and a terminal's answers about itself.
//!
//! Decides where one key ends and the next begins. Never waits: who has no more bytes says so, and how long ago.

use std::time::Duration;

/// Bytes of the longest sequence that a terminal sends; what is longer is noise.
const MAX_SEQUENCE: usize = 16;
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
    PageUp,
    PageDown,
    Home,
    End,
    Escape,
    /// Ctrl-L: whatever garbled the screen, draw it again.
    Redraw,
    /// Anything else: it stops a countdown and does nothing more.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Key(Key),
    /// Where the cursor is, counted from 1: the answer to `ESC [ 6 n` (ECMA-48, 8.3.14).
    Cursor {
        row: u16,
        column: u16,
    },
}

/// What has been typed and is not a key yet.
#[derive(Default)]
pub(super) struct Typed {
    bytes: Vec<u8>,
    /// When the last of them came.
    at: Duration,
}

impl Typed {
    pub(super) fn take(&mut self, bytes: Vec<u8>, now: Duration) {
        if bytes.is_empty() {
            return;
        }
        if self.bytes.len() < MAX_TYPED {
            self.bytes.extend(bytes);
        }
        self.at = now;
    }

    pub(super) fn next(&mut self, now: Duration) -> Option<Token> {
        // The bytes of an arrow key come one by one on a serial line; an Escape that stays alone is a key of its own.
        let patient = now.saturating_sub(self.at) < ESCAPE;
        let (token, used) = decode(&self.bytes, patient)?;
        self.bytes.drain(..used.min(self.bytes.len()));
        Some(token)
    }

    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The first token of what was typed, and its length in bytes. None: nothing yet, or more may come.
fn decode(bytes: &[u8], patient: bool) -> Option<(Token, usize)> {
    let key = |key, used| Some((Token::Key(key), used));
    match bytes {
        [] => None,
        [b'\r' | b'\n', ..] => key(Key::Enter, 1),
        [0x0c, ..] => key(Key::Redraw, 1),
        [0x1b] if patient => None,
        [0x1b] => key(Key::Escape, 1),
        [0x1b, b'[' | b'O', ..] => sequence(bytes, patient),
        [0x1b, 0x1b | b'\r' | b'\n', ..] => key(Key::Escape, 1), // two keys in a hurry
        [0x1b, _, ..] => key(Key::Other, 2),                     // Alt with a key
        [byte @ 0x20..=0x7e, ..] => key(Key::Character(char::from(*byte)), 1),
        _ => key(Key::Other, 1),
    }
}

/// `ESC [` or `ESC O`, parameters, one final byte.
fn sequence(bytes: &[u8], patient: bool) -> Option<(Token, usize)> {
    // Linux's own F1 to F5: two brackets and a letter.
    let start = if bytes.get(2) == Some(&b'[') { 3 } else { 2 };
    let body = bytes.get(start..).unwrap_or_default();
    let length = body.iter().take(MAX_SEQUENCE).take_while(|byte| (0x20..0x40).contains(*byte)).count();
    let Some(last) = body.get(length) else {
        return (!patient || length >= MAX_SEQUENCE).then_some((Token::Key(Key::Other), bytes.len()));
    };
    let used = start + length + 1;
    let parameters = body.get(..length).unwrap_or_default();
    let key = match (start, parameters, last) {
        (2, [], b'A') => Key::Up,
        (2, [], b'B') => Key::Down,
        (2, [], b'H') | (2, b"1" | b"7", b'~') => Key::Home,
        (2, [], b'F') | (2, b"4" | b"8", b'~') => Key::End,
        (2, b"5", b'~') => Key::PageUp,
        (2, b"6", b'~') => Key::PageDown,
        (2, place, b'R') => return Some((cursor(place).unwrap_or(Token::Key(Key::Other)), used)),
        // Not a final byte at all: a key of its own stands behind a torn sequence.
        (_, _, byte) if !(0x40..0x7f).contains(byte) => return Some((Token::Key(Key::Other), used - 1)),
        _ => Key::Other,
    };
    Some((Token::Key(key), used))
}

fn cursor(parameters: &[u8]) -> Option<Token> {
    let (row, column) = std::str::from_utf8(parameters).ok()?.split_once(';')?;
    Some(Token::Cursor { row: row.parse().ok()?, column: column.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Option<(Key, usize)> {
        match decode(bytes, true) {
            Some((Token::Key(key), used)) => Some((key, used)),
            _ => None,
        }
    }

    #[test]
    fn keys_of_serial_lines_and_keyboards() {
        assert_eq!(key(b"\r"), Some((Key::Enter, 1)));
        assert_eq!(key(b"\x1b[A"), Some((Key::Up, 3)));
        assert_eq!(key(b"\x1bOB2"), Some((Key::Down, 3)));
        assert_eq!(key(b"2\n"), Some((Key::Character('2'), 1)), "the line's end is a key of its own");
        assert_eq!(key(b"\x1b[5~"), Some((Key::PageUp, 4)));
        assert_eq!(key(b"\x1b[6~x"), Some((Key::PageDown, 4)));
        assert_eq!(key(b"\x1b[1~"), Some((Key::Home, 4)));
        assert_eq!(key(b"\x1bOF"), Some((Key::End, 3)));
        assert_eq!(key(b"\x1b[[A"), Some((Key::Other, 4)), "F1 of a virtual terminal");
        assert_eq!(key(b"\x1b[15;2~p"), Some((Key::Other, 7)), "no p of a function key's is a key");
        assert_eq!(key(b"\x0c"), Some((Key::Redraw, 1)));
        assert_eq!(decode(b"", false), None);
    }

    #[test]
    fn an_arrow_may_come_byte_by_byte() {
        for torn in [&b"\x1b"[..], b"\x1b[", b"\x1bO", b"\x1b[6", b"\x1b[[", b"\x1b[24;8"] {
            assert_eq!(decode(torn, true), None, "{torn:?}");
        }
        assert_eq!(decode(b"\x1b", false), Some((Token::Key(Key::Escape), 1)));
        assert_eq!(decode(b"\x1b\r", true), Some((Token::Key(Key::Escape), 1)), "then Enter");
        assert_eq!(decode(b"\x1b[6", false), Some((Token::Key(Key::Other), 3)), "the rest never came");
        assert_eq!(decode(b"\x1b[\r", true), Some((Token::Key(Key::Other), 2)), "Enter is not swallowed");
    }

    #[test]
    fn a_terminal_says_where_its_cursor_is() {
        let cursor = Token::Cursor { row: 24, column: 80 };
        assert_eq!(decode(b"\x1b[24;80R1", true), Some((cursor, 8)));
        for wrong in [&b"\x1b[R"[..], b"\x1b[24R", b"\x1b[99999;1R", b"\x1b[;R"] {
            assert_eq!(decode(wrong, true), Some((Token::Key(Key::Other), wrong.len())), "{wrong:?}");
        }
    }

    #[test]
    fn whatever_is_typed_becomes_keys_without_end_or_panic() {
        let alphabet = b"\x1b\x1b\x1b[[O;~0123456789ABRr\r\n\x0c\x00\x7f\xc3\xa9 p";
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..seed % 40 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                bytes.push(alphabet[(seed >> 8) as usize % alphabet.len()]);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                if let Some((_, used)) = decode(rest, true) {
                    assert!((1..=rest.len()).contains(&used), "{rest:?}");
                }
                let (_, used) = decode(rest, false).expect("who has no patience gets a key");
                assert!((1..=rest.len()).contains(&used), "{rest:?}");
                rest = &rest[used..];
            }
        }
    }
}
