//! Option negotiation (RFC 2347): blksize (2348), tsize and timeout (2349), windowsize (7440).
//! Decides what is granted and what the OACK says; an option that is not known here is passed over in silence.

use std::fmt;
use std::time::Duration;

use super::limits::{BLOCK_DEFAULT, BLOCK_MAX, BLOCK_MIN, WINDOW_MAX};
use super::packet::{Mode, ReadRequest};

/// What a transfer runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) block_size: u16,
    pub(super) window: u16,
    /// A wait that the client has set: it then neither adapts nor grows.
    pub(super) wait: Option<Duration>,
    /// In the client's order; empty: no OACK, the first DATA packet answers.
    pub(super) acknowledged: Vec<(&'static str, u64)>,
}

/// Why options cannot be served (error 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadOption {
    Value {
        option: &'static str,
        asked: String,
    },
    /// RFC 2347 section 2: an option may be given once.
    Twice(&'static str),
}

impl fmt::Display for BadOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { option, asked } => write!(f, "option {option} cannot be {asked}"),
            Self::Twice(option) => write!(f, "option {option} is given twice"),
        }
    }
}

const KNOWN: [&str; 4] = ["blksize", "tsize", "timeout", "windowsize"];

/// `size` is what tsize answers: the file's bytes on the wire, where they are known beforehand (in netascii, which
/// lengthens lines, they are not, and the option is passed over).
pub(super) fn negotiate(
    request: &ReadRequest<'_>,
    size: u64,
    max_block_size: u16,
) -> Result<Granted, BadOption> {
    let mut granted = Granted { block_size: BLOCK_DEFAULT, window: 1, wait: None, acknowledged: Vec::new() };
    for (name, value) in &request.options {
        let Some(option) = KNOWN.into_iter().find(|k| name.eq_ignore_ascii_case(k.as_bytes())) else {
            continue;
        };
        if granted.acknowledged.iter().any(|a| a.0 == option) {
            return Err(BadOption::Twice(option));
        }
        let asked = std::str::from_utf8(value).ok().and_then(|v| v.trim().parse::<u64>().ok());
        let wrong = || BadOption::Value { option, asked: value.escape_ascii().to_string() };
        let asked = asked.ok_or_else(wrong)?;
        let answer = match option {
            "blksize" => {
                let asked = u16::try_from(asked).unwrap_or(u16::MAX);
                if asked < BLOCK_MIN {
                    return Err(wrong());
                }
                granted.block_size = asked.min(max_block_size.clamp(BLOCK_DEFAULT, BLOCK_MAX));
                u64::from(granted.block_size)
            }
            "windowsize" => {
                let asked = u16::try_from(asked).map_err(|_| wrong())?;
                if asked == 0 {
                    return Err(wrong());
                }
                granted.window = asked.min(WINDOW_MAX);
                u64::from(granted.window)
            }
            "timeout" => {
                if !(1..=255).contains(&asked) {
                    return Err(wrong());
                }
                granted.wait = Some(Duration::from_secs(asked));
                asked
            }
            _ if request.mode == Mode::Octet => size,
            _ => continue,
        };
        granted.acknowledged.push((option, answer));
    }
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(mode: Mode, options: &[(&str, &str)]) -> Result<Granted, BadOption> {
        let options = options.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        negotiate(&ReadRequest { name: b"x", mode, options }, 77, 1468)
    }

    #[test]
    fn without_options_it_is_plain_rfc_1350() {
        let plain = Granted { block_size: 512, window: 1, wait: None, acknowledged: vec![] };
        assert_eq!(ask(Mode::Octet, &[]), Ok(plain.clone()));
        assert_eq!(ask(Mode::Octet, &[("multicast", "")]), Ok(plain));
    }

    #[test]
    fn what_is_granted_is_what_the_oack_says() {
        let granted = ask(
            Mode::Octet,
            &[("TSIZE", "0"), ("blksize", "65464"), ("windowsize", "65535"), ("timeout", "3")],
        )
        .unwrap();
        assert_eq!((granted.block_size, granted.window), (1468, WINDOW_MAX));
        assert_eq!(granted.wait, Some(Duration::from_secs(3)));
        assert_eq!(
            granted.acknowledged,
            [("tsize", 77), ("blksize", 1468), ("windowsize", WINDOW_MAX.into()), ("timeout", 3)]
        );
        assert_eq!(ask(Mode::Octet, &[("blksize", "8")]).unwrap().block_size, 8);
        assert_eq!(ask(Mode::Octet, &[("blksize", "70000")]).unwrap().block_size, 1468);
        assert_eq!(ask(Mode::Netascii, &[("tsize", "0")]).unwrap().acknowledged, []);
    }

    #[test]
    fn values_that_cannot_be_are_error_8() {
        for (option, value) in [
            ("blksize", "7"),
            ("blksize", "-1"),
            ("blksize", ""),
            ("windowsize", "0"),
            ("windowsize", "65536"),
            ("timeout", "0"),
            ("timeout", "256"),
            ("tsize", "x"),
        ] {
            assert!(
                matches!(ask(Mode::Octet, &[(option, value)]), Err(BadOption::Value { .. })),
                "{option} {value}"
            );
        }
        assert_eq!(
            ask(Mode::Octet, &[("blksize", "512"), ("blksize", "512")]),
            Err(BadOption::Twice("blksize"))
        );
    }
}
