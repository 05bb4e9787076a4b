//! A stage's begin, end or failure as one RFC 5424 message: the node writes it, the master's log reads it.
//! Decides the form and what is legal in it; never sends or stores one.

use crate::Mac;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

/// Bytes of one message: fits an Ethernet frame, so it is never fragmented.
pub const MAX_BYTES: usize = 1400;
/// Further parameters of one record; the most that a stage has is 6.
pub const MAX_PARAMS: usize = 16;
/// RFC 5612 keeps this enterprise number free for examples and for those without one of their own.
const SD_ID: &str = "boottorrent@32473";
const APP_NAME: &str = "boottorrent";
/// Facility local0 (RFC 5424, 6.2.1).
const FACILITY: u8 = 16;

/// Names and values.
pub type Params = Vec<(String, String)>;

/// What happened to the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Begin,
    End,
    Fail,
    /// Nothing changed its state; a person may want to know.
    Note,
    /// How far the stage is, in numbers ([`PROGRESS`]): for a table that is looked at, not for a journal.
    Progress,
}

/// Parameters of an [`Event::Progress`], all numbers: bytes of the image that are verified, of how many, links to others,
/// and bytes received from the master, from nodes, and sent. Rates follow from two of them and their `ms`.
pub const PROGRESS: [&str; 6] =
    ["bytes_done", "bytes_total", "peers", "bytes_master", "bytes_peers", "bytes_sent"];

impl Event {
    const ALL: [(Event, &'static str, u8); 5] = [
        (Event::Begin, "begin", 6),
        (Event::End, "end", 6),
        (Event::Fail, "fail", 3),
        (Event::Note, "note", 5),
        (Event::Progress, "progress", 7),
    ];

    /// The word that stands in the message.
    #[must_use]
    pub fn word(self) -> &'static str {
        Event::ALL.iter().find(|(e, ..)| *e == self).map_or("note", |(_, word, _)| word)
    }

    fn severity(self) -> u8 {
        Event::ALL.iter().find(|(e, ..)| *e == self).map_or(5, |(.., severity)| *severity)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Name of the node, or its MAC while it has none.
    pub node: String,
    pub mac: Mac,
    /// A number that this boot drew: another one means that the node started anew.
    pub boot: u32,
    /// Counts the records of this boot; a record that is sent several times keeps its number.
    pub sequence: u32,
    /// Name of the stage.
    pub stage: String,
    pub event: Event,
    /// Milliseconds: of the stage for `End` and `Fail`, else since the kernel started.
    pub elapsed_ms: u64,
    /// Further facts: names are `[a-z_]+`.
    pub params: Params,
    /// One sentence for a person.
    pub text: String,
}

/// Why a message is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARecord(pub &'static str);

impl fmt::Display for NotARecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no stage record: {}", self.0)
    }
}

impl core::error::Error for NotARecord {}

impl Record {
    /// The value of a further parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The message, at most [`MAX_BYTES`] long: the sentence is cut where it must be.
    #[must_use]
    pub fn emit(&self) -> String {
        let priority = FACILITY * 8 + self.event.severity();
        let mut out = alloc::format!(
            "<{priority}>1 - {} {APP_NAME} - {} [{SD_ID} boot=\"{:08x}\" event=\"{}\" mac=\"{}\" ms=\"{}\" seq=\"{}\"",
            header_word(&self.node, 64),
            header_word(&self.stage, 32),
            self.boot,
            self.event.word(),
            self.mac,
            self.elapsed_ms,
            self.sequence,
        );
        for (name, value) in self.params.iter().take(MAX_PARAMS) {
            let param = alloc::format!(" {name}=\"{}\"", escape(value));
            if out.len() + param.len() < MAX_BYTES - 2 {
                out.push_str(&param);
            }
        }
        out.push(']');
        if !self.text.is_empty() {
            out.push(' ');
            for c in self.text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
                if out.len() + c.len_utf8() > MAX_BYTES {
                    break;
                }
                out.push(c);
            }
        }
        out
    }

    /// # Errors
    /// Not UTF-8, not RFC 5424, or without our element.
    pub fn parse(bytes: &[u8]) -> Result<Record, NotARecord> {
        let text = core::str::from_utf8(bytes).map_err(|_| NotARecord("not UTF-8"))?;
        let rest = text.strip_prefix('<').and_then(|t| t.split_once(">1 ")).ok_or(NotARecord("no header"))?.1;
        let mut words = rest.splitn(6, ' ');
        let mut word = || words.next().ok_or(NotARecord("the header is cut"));
        let (_timestamp, node, app, _procid, stage) = (word()?, word()?, word()?, word()?, word()?);
        let rest = word()?;
        if app != APP_NAME {
            return Err(NotARecord("by another program"));
        }
        let element =
            rest.strip_prefix('[').and_then(|e| e.strip_prefix(SD_ID)).ok_or(NotARecord("no element"))?;
        let (params, sentence) = params(element)?;
        Record::from_params(node, stage, params, sentence)
    }

    fn from_params(
        node: &str,
        stage: &str,
        mut params: Params,
        sentence: &str,
    ) -> Result<Record, NotARecord> {
        let mut take = |name: &'static str| {
            let at =
                params.iter().position(|(n, _)| n == name).ok_or(NotARecord("a parameter is missing"))?;
            Ok(params.remove(at).1)
        };
        let (boot, event, mac) = (take("boot")?, take("event")?, take("mac")?);
        let (ms, sequence) = (take("ms")?, take("seq")?);
        let number = NotARecord("a number is none");
        Ok(Record {
            node: node.to_string(),
            mac: mac.parse().map_err(|_| NotARecord("the MAC is none"))?,
            boot: u32::from_str_radix(&boot, 16).map_err(|_| number)?,
            sequence: sequence.parse().map_err(|_| number)?,
            stage: stage.to_string(),
            event: Event::ALL
                .iter()
                .find(|(_, word, _)| *word == event)
                .map(|(e, ..)| *e)
                .ok_or(NotARecord("an unknown event"))?,
            elapsed_ms: ms.parse().map_err(|_| number)?,
            params,
            text: sentence.to_string(),
        })
    }
}

/// `PARAM-NAME="PARAM-VALUE"` up to the closing bracket, and what follows it.
fn params(mut rest: &str) -> Result<(Params, &str), NotARecord> {
    const CUT: NotARecord = NotARecord("the element is cut");
    let mut params = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix(']') {
            return Ok((params, after.strip_prefix(' ').unwrap_or(after)));
        }
        let (name, value) = rest.strip_prefix(' ').and_then(|p| p.split_once("=\"")).ok_or(CUT)?;
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
            return Err(NotARecord("a parameter's name is not legal"));
        }
        if params.len() >= MAX_PARAMS + 5 {
            return Err(NotARecord("too many parameters"));
        }
        let mut unescaped = String::new();
        let mut chars = value.char_indices();
        rest = loop {
            match chars.next().ok_or(CUT)? {
                (at, '"') => break value.get(at + 1..).unwrap_or_default(),
                (_, '\\') => match chars.next().ok_or(CUT)?.1 {
                    c @ ('"' | '\\' | ']') => unescaped.push(c),
                    c => unescaped.extend(['\\', c]),
                },
                (_, c) => unescaped.push(c),
            }
        };
        params.push((name.to_string(), unescaped));
    }
}

/// PRINTUSASCII without spaces (RFC 5424, 6): what is not becomes `_`.
fn header_word(word: &str, limit: usize) -> String {
    let word: String = word.chars().take(limit).map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
    if word.is_empty() { String::from("-") } else { word }
}

/// RFC 5424, 6.3.3: `"`, `\` and `]` are escaped; control characters have no place in a journal.
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn record() -> Record {
        Record {
            node: "n01".into(),
            mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
            boot: 0xbeef,
            sequence: 12,
            stage: "download".into(),
            event: Event::End,
            elapsed_ms: 5321,
            params: vec![("os".into(), "a \"b\" [c] \\d".into()), ("bytes_peers".into(), "123".into())],
            text: "downloaded 174 MB ] from 3 peers".into(),
        }
    }

    #[test]
    fn a_record_reads_back() {
        let r = record();
        let line = r.emit();
        assert!(
            line.starts_with("<134>1 - n01 boottorrent - download [boottorrent@32473 boot=\"0000beef\" ")
        );
        assert_eq!(Record::parse(line.as_bytes()).unwrap(), r);
        assert_eq!(r.param("bytes_peers"), Some("123"));
    }

    #[test]
    fn control_characters_and_length_are_bounded() {
        let mut r = record();
        r.node = "a b\n".into();
        r.text = "x\u{1b}[31m".into();
        r.text.push_str(&"ü".repeat(2000));
        r.params.push(("long".into(), "y".repeat(5000)));
        let line = r.emit();
        assert!(line.len() <= MAX_BYTES && !line.contains(char::is_control));
        let back = Record::parse(line.as_bytes()).unwrap();
        assert_eq!((back.node.as_str(), back.param("long")), ("a_b_", None));
    }

    #[test]
    fn progress_is_a_debug_message_with_all_its_numbers() {
        let params = PROGRESS.map(|name| (String::from(name), u64::MAX.to_string())).to_vec();
        let r = Record { event: Event::Progress, params, text: String::new(), ..record() };
        let line = r.emit();
        assert!(line.starts_with("<135>1 ") && line.len() < 500, "{line}");
        assert_eq!(Record::parse(line.as_bytes()).unwrap(), r);
    }

    #[test]
    fn other_messages_are_told_apart() {
        for other in [
            "",
            "<34>1",
            "<13>Oct 11 22:14:15 host su: failed",
            "<165>1 - - evntslog - ID47 [exampleSDID@32473 iut=\"3\"] x",
            "<134>1 - n boottorrent - s [boottorrent@32473 boot=\"1\"] x",
            "<134>1 - n boottorrent - s [boottorrent@32473 boot=\"1",
        ] {
            assert!(Record::parse(other.as_bytes()).is_err(), "{other}");
        }
        let line = record().emit();
        let element_ends = line.rfind("] downloaded").unwrap();
        for end in 0..=element_ends {
            assert!(Record::parse(&line.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}
