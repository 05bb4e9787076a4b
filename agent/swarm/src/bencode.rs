//! Bencode (BEP 3): a strict reader that borrows from its input, and a writer.
//! Decides what is well-formed and bounds depth and size; never interprets a key.

use alloc::vec::Vec;
use core::fmt;

/// Nesting that any of our formats or a real torrent needs is 5 (catalog: dict, list, dict, list, dict); the bound
/// keeps recursion from being driven by input.
const MAX_DEPTH: u8 = 12;
/// Values in one document: a torrent of 100,000 files has about 500,000; each costs at most 40 bytes here.
const MAX_VALUES: u32 = 1_000_000;

/// Why a document was refused; `at` is the byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    pub at: usize,
    pub what: &'static str,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bencode: {} at byte {}", self.what, self.at)
    }
}

impl core::error::Error for Error {}

/// One value; byte strings, and the source of a dictionary, borrow from the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    Int(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Dict(Dict<'a>),
}

/// A dictionary together with its exact source, since an info-hash is taken over that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dict<'a> {
    pub source: &'a [u8],
    entries: Vec<(&'a [u8], Value<'a>)>,
    sorted: bool,
}

impl<'a> Dict<'a> {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.entries.iter().find(|(k, _)| *k == key.as_bytes()).map(|(_, v)| v)
    }

    #[must_use]
    pub fn bytes(&self, key: &str) -> Option<&'a [u8]> {
        self.get(key).and_then(Value::as_bytes)
    }

    #[must_use]
    pub fn str(&self, key: &str) -> Option<&'a str> {
        self.bytes(key).and_then(|b| core::str::from_utf8(b).ok())
    }

    /// An integer that is not negative.
    #[must_use]
    pub fn uint(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Value::Int(i)) => u64::try_from(*i).ok(),
            _ => None,
        }
    }

    #[must_use]
    pub fn list(&self, key: &str) -> Option<&[Value<'a>]> {
        match self.get(key) {
            Some(Value::List(l)) => Some(l),
            _ => None,
        }
    }

    #[must_use]
    pub fn dict(&self, key: &str) -> Option<&Dict<'a>> {
        self.get(key).and_then(Value::as_dict)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &Value<'a>)> {
        self.entries.iter().map(|(k, v)| (*k, v))
    }
}

impl<'a> Value<'a> {
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(b) => Some(b),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_dict(&self) -> Option<&Dict<'a>> {
        match self {
            Value::Dict(d) => Some(d),
            _ => None,
        }
    }

    fn is_canonical(&self) -> bool {
        match self {
            Value::Int(_) | Value::Bytes(_) => true,
            Value::List(l) => l.iter().all(Value::is_canonical),
            Value::Dict(d) => d.sorted && d.entries.iter().all(|(_, v)| v.is_canonical()),
        }
    }
}

/// Parses one document that fills `input`. Keys may come in any order (some programs do not sort them), never twice.
///
/// # Errors
/// Anything that BEP 3 does not allow, a document that is nested too deep or has too many values.
pub fn parse(input: &[u8]) -> Result<Value<'_>, Error> {
    let (value, used) = parse_prefix(input)?;
    if used == input.len() { Ok(value) } else { Err(Error { at: used, what: "bytes after the document" }) }
}

/// Parses one document at the head of `input` and says how many bytes it took (BEP 10 payloads carry more behind it).
///
/// # Errors
/// As [`parse`].
pub fn parse_prefix(input: &[u8]) -> Result<(Value<'_>, usize), Error> {
    let mut reader = Reader { input, at: 0, values: 0 };
    let value = reader.value(0)?;
    Ok((value, reader.at))
}

/// Parses one document whose dictionaries must be sorted: our own signed formats have exactly one spelling.
///
/// # Errors
/// As [`parse`], and a dictionary out of order.
pub fn parse_canonical(input: &[u8]) -> Result<Value<'_>, Error> {
    let value = parse(input)?;
    if value.is_canonical() { Ok(value) } else { Err(Error { at: 0, what: "keys out of order" }) }
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
    values: u32,
}

impl<'a> Reader<'a> {
    fn fail<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(Error { at: self.at, what })
    }

    fn peek(&self) -> Result<u8, Error> {
        self.input.get(self.at).copied().ok_or(Error { at: self.at, what: "unexpected end" })
    }

    fn value(&mut self, depth: u8) -> Result<Value<'a>, Error> {
        self.values += 1;
        if depth > MAX_DEPTH {
            return self.fail("nested too deep");
        }
        if self.values > MAX_VALUES {
            return self.fail("too many values");
        }
        match self.peek()? {
            b'i' => {
                self.at += 1;
                self.int(b'e').map(Value::Int)
            }
            b'0'..=b'9' => self.byte_string().map(Value::Bytes),
            b'l' => self.list(depth),
            b'd' => self.dict(depth),
            _ => self.fail("no value begins with this byte"),
        }
    }

    fn list(&mut self, depth: u8) -> Result<Value<'a>, Error> {
        self.at += 1;
        let mut items = Vec::new();
        while self.peek()? != b'e' {
            items.push(self.value(depth + 1)?);
        }
        self.at += 1;
        Ok(Value::List(items))
    }

    fn dict(&mut self, depth: u8) -> Result<Value<'a>, Error> {
        let start = self.at;
        self.at += 1;
        let mut entries: Vec<(&'a [u8], Value<'a>)> = Vec::new();
        let mut sorted = true;
        while self.peek()? != b'e' {
            let key_at = self.at;
            let key = self.byte_string()?;
            sorted = sorted && entries.last().is_none_or(|(last, _)| *last < key);
            if !sorted {
                if entries.iter().any(|(k, _)| *k == key) {
                    return Err(Error { at: key_at, what: "a key twice" });
                }
                // Looking a key up among unsorted ones is linear: real documents have a dozen keys at most.
                if entries.len() > 64 {
                    return Err(Error { at: key_at, what: "a large dictionary out of order" });
                }
            }
            let value = self.value(depth + 1)?;
            entries.push((key, value));
        }
        self.at += 1;
        let source = self.input.get(start..self.at).unwrap_or_default();
        Ok(Value::Dict(Dict { source, entries, sorted }))
    }

    fn byte_string(&mut self) -> Result<&'a [u8], Error> {
        let length = self.int(b':')?;
        let bytes = usize::try_from(length)
            .ok()
            .and_then(|n| self.at.checked_add(n))
            .and_then(|end| self.input.get(self.at..end));
        match bytes {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.fail("a string runs past the end"),
        }
    }

    /// Digits up to `end`, without leading zeros; a minus sign only in `i…e`.
    fn int(&mut self, end: u8) -> Result<i64, Error> {
        let negative = end == b'e' && self.peek()? == b'-';
        self.at += usize::from(negative);
        let first = self.peek()?;
        let mut value: i64 = 0;
        let mut digits = 0;
        loop {
            let byte = self.peek()?;
            if byte == end && digits > 0 {
                self.at += 1;
                break;
            }
            if !byte.is_ascii_digit() {
                return self.fail("not a digit");
            }
            if digits > 0 && first == b'0' {
                return self.fail("a leading zero");
            }
            let digit = i64::from(byte - b'0');
            value = match value.checked_mul(10).and_then(|v| v.checked_sub(digit)) {
                Some(v) => v, // counted downwards, since the negative range is the larger one
                None => return self.fail("a number that does not fit into 64 bits"),
            };
            digits += 1;
            self.at += 1;
        }
        match (negative, value) {
            (true, 0) => self.fail("negative zero"),
            (true, v) => Ok(v),
            (false, v) => {
                v.checked_neg().ok_or(Error { at: self.at, what: "a number that does not fit into 64 bits" })
            }
        }
    }
}

/// Writes bencode; the caller keeps keys sorted, which `debug_assert` and the canonical parser check.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    #[must_use]
    pub fn new() -> Writer {
        Writer::default()
    }

    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    pub fn int(&mut self, value: u64) -> &mut Writer {
        self.out.push(b'i');
        self.digits(value);
        self.out.push(b'e');
        self
    }

    pub fn bytes(&mut self, value: &[u8]) -> &mut Writer {
        self.digits(value.len() as u64);
        self.out.push(b':');
        self.out.extend_from_slice(value);
        self
    }

    pub fn str(&mut self, value: &str) -> &mut Writer {
        self.bytes(value.as_bytes())
    }

    pub fn list(&mut self, body: impl FnOnce(&mut Writer)) -> &mut Writer {
        self.out.push(b'l');
        body(self);
        self.out.push(b'e');
        self
    }

    /// A dictionary: `body` writes key, value, key, value.
    pub fn dict(&mut self, body: impl FnOnce(&mut Writer)) -> &mut Writer {
        let start = self.out.len();
        self.out.push(b'd');
        body(self);
        self.out.push(b'e');
        debug_assert!(
            self.out.get(start..).is_some_and(|d| parse_canonical(d).is_ok()),
            "keys out of order or a value missing"
        );
        self
    }

    fn digits(&mut self, value: u64) {
        use core::fmt::Write as _;
        struct Sink<'a>(&'a mut Vec<u8>);
        impl fmt::Write for Sink<'_> {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                self.0.extend_from_slice(s.as_bytes());
                Ok(())
            }
        }
        // Writing into memory cannot fail.
        let _ = write!(Sink(&mut self.out), "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn a_document_reads_back() {
        let mut w = Writer::new();
        w.dict(|w| {
            w.str("a").int(7).str("b").list(|w| {
                w.str("x").bytes(&[0, 255]);
            });
        });
        let bytes = w.finish();
        assert_eq!(bytes, b"d1:ai7e1:bl1:x2:\x00\xffee");
        let value = parse_canonical(&bytes).unwrap();
        let dict = value.as_dict().unwrap();
        assert_eq!(dict.uint("a"), Some(7));
        assert_eq!(dict.list("b").unwrap(), &[Value::Bytes(b"x"), Value::Bytes(&[0, 255])]);
        assert_eq!(dict.source, &bytes[..]);
    }

    #[test]
    fn integers_keep_to_one_spelling_and_64_bits() {
        assert_eq!(parse(b"i-9223372036854775808e"), Ok(Value::Int(i64::MIN)));
        assert_eq!(parse(b"i9223372036854775807e"), Ok(Value::Int(i64::MAX)));
        for bad in [&b"i9223372036854775808e"[..], b"i-0e", b"i01e", b"ie", b"i-e", b"i1", b"i+1e", b"i 1e"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_bep_3_does_not_allow_is_refused() {
        for bad in [
            &b""[..],
            b"x",
            b"5:abc",
            b"99999999999999999999:a",
            b"99999999999999:a",
            b"05:abcde",
            b"-1:a",
            b"l",
            b"d1:a",
            b"d1:ae",
            b"di1ei2ee",
            b"d1:ai1e1:ai2ee",
            b"d1:bi1e1:ai2e1:bi3ee",
            b"i1ei2e",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!(parse(b"d1:bi1e1:ai2ee").is_ok(), "unsorted is tolerated");
        assert!(parse_canonical(b"d1:bi1e1:ai2ee").is_err(), "but not in our own formats");
        assert!(parse_canonical(b"ld1:bi1e1:ai2eee").is_err(), "wherever it stands");
    }

    #[test]
    fn depth_is_bounded() {
        let mut deep = vec![b'l'; 100_000];
        deep.extend(vec![b'e'; 100_000]);
        assert_eq!(parse(&deep).unwrap_err().what, "nested too deep");
    }

    #[test]
    fn a_prefix_says_how_much_it_took() {
        let (value, used) = parse_prefix(b"d1:ai1eerest").unwrap();
        assert_eq!((value.as_dict().unwrap().uint("a"), used), (Some(1), 8));
    }
}
