//! What strangers write, made fit for a terminal, a journal and a state file: no control characters, no endless lines.
//! Never changes what can be shown.

use super::limits::LINE_CHARS;

/// Stands where something was cut off.
const CUT: char = '…';

/// The text without control characters (Unicode's and the two separators that end a line), cut to `limit` characters.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().take(limit).map(shown).collect();
    if text.chars().nth(limit).is_some() {
        out.push(CUT);
    }
    out
}

/// The same in at most `limit` bytes, for what is kept: with the sign that it was cut.
pub(super) fn kept(text: &str, limit: usize) -> String {
    let mut out: String = text.chars().map(shown).collect();
    if out.len() > limit {
        out.truncate(out.floor_char_boundary(limit.saturating_sub(CUT.len_utf8())));
        out.push(CUT);
    }
    out
}

fn shown(c: char) -> char {
    if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }
}

/// A syslog line that is none of our records: its severity and its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// RFC 5424 severity, 0 to 7; 6 where the line names none.
    pub(super) severity: u8,
    pub(super) text: String,
}

/// A stranger's line is an error at most: what is graver, journald writes onto every terminal of the master.
const GRAVEST: u8 = 3;

/// `None` where nothing can be shown.
pub(super) fn foreign(datagram: &[u8]) -> Option<Foreign> {
    let text = String::from_utf8_lossy(datagram);
    let (severity, text) = match text.strip_prefix('<').and_then(|t| t.split_once('>')) {
        // RFC 5424 section 6.2.1: one to three digits, 191 at most.
        Some((priority, rest)) if priority.len() <= 3 && priority.parse::<u8>().is_ok_and(|p| p <= 191) => {
            (priority.parse::<u8>().map_or(6, |p| (p % 8).max(GRAVEST)), rest)
        }
        _ => (6, &*text),
    };
    let text = clean(text.trim_matches(|c: char| c.is_control() || c.is_whitespace()), LINE_CHARS);
    (!text.is_empty()).then_some(Foreign { severity, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_safe() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{9b}d\u{7f}", 99), "a [31mb c d ");
        assert_eq!(clean("äöü", 2), "äö…");
        assert_eq!(clean("äöü", 3), "äöü");
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        assert_eq!((kept("äöü", 6).as_str(), kept("äöü", 5).as_str()), ("äöü", "ä…"));
        assert_eq!((kept("a\u{1b}b", 3).as_str(), kept("", 3).as_str()), ("a b", ""));
        for limit in 3..40 {
            for text in ["\u{1f512}".repeat(20), "x".repeat(100), "ü".repeat(30)] {
                assert!(kept(&text, limit).len() <= limit, "{text} in {limit}");
            }
        }
    }

    #[test]
    fn foreign_lines() {
        let line = foreign(b"<13>Oct 11 22:14:15 n01 login: tty1\n\0").unwrap();
        assert_eq!(line, Foreign { severity: 5, text: "Oct 11 22:14:15 n01 login: tty1".into() });
        assert_eq!(foreign(b"<0>to everybody").unwrap().severity, 3);
        assert_eq!(foreign(b"plain").unwrap(), Foreign { severity: 6, text: "plain".into() });
        assert_eq!(foreign(b"<999>x").unwrap().text, "<999>x");
        assert_eq!(foreign(b"<").unwrap().text, "<");
        assert_eq!(foreign(b"\xff\xfe").unwrap().text, "\u{fffd}\u{fffd}");
        assert_eq!(foreign(b"<13> \n"), None);
        assert_eq!(foreign(b""), None);
        assert_eq!(foreign(&[b'x'; 2000]).unwrap().text.chars().count(), LINE_CHARS + 1);
    }
}
