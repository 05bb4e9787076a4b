//! Option values as people write them, checked and encoded when the site folder is compiled. It decides which values
//! are legal; the daemon only sends the bytes.

mod table;
mod value;

use std::fmt;

use crate::site::finding::nearest;
use table::Kind;

/// A value longer than this fits no reply on an Ethernet beside the options that every reply has.
const MAX_VALUE: usize = 1024;

/// Why an option of the site folder is refused. One sentence; the caller adds file and line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// Neither a name of the table nor a number from 1 to 254.
    Unknown { name: String, nearest: Option<&'static str> },
    /// An option that is not for people to set.
    Reserved { name: &'static str, code: u8, why: &'static str },
    /// A value of the wrong form.
    Value { option: String, wanted: &'static str, found: String },
    /// More than fits a reply.
    TooLong { option: String, bytes: usize },
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest: Some(nearest) } => {
                write!(f, "unknown DHCP option \"{name}\"; did you mean \"{nearest}\"?")
            }
            Self::Unknown { name, nearest: None } => write!(
                f,
                "unknown DHCP option \"{name}\"; use a name of dhcp-options(5), or a number from 1 to 254"
            ),
            Self::Reserved { name, code, why } => {
                write!(f, "DHCP option {code} ({name}) cannot be set: {why}; remove it")
            }
            Self::Value { option, wanted, found } => {
                write!(f, "DHCP option {option} needs {wanted}, not {found}")
            }
            Self::TooLong { option, bytes } => write!(
                f,
                "DHCP option {option} has {bytes} bytes; more than {MAX_VALUE} fit no reply, so shorten it"
            ),
        }
    }
}

impl std::error::Error for OptionError {}

/// Encodes one option of the site folder: its code and its value as it goes onto the wire.
///
/// `name_or_number` is a name of dhcp-options(5) or a number. A string that starts with `hex:` gives the bytes of
/// any option; a number without a name in the table also takes `ip:`, `text:`, `u8:`, `u16:` and `u32:`.
///
/// # Errors
/// [`OptionError`], a sentence that says what is wrong and what to write instead.
pub fn encode(name_or_number: &str, value: &toml::Value) -> Result<(u8, Vec<u8>), OptionError> {
    let (code, known) = match name_or_number.parse::<u8>() {
        Ok(code) => (code, table::by_code(code)),
        Err(_) => {
            let known = table::by_name(name_or_number).ok_or_else(|| OptionError::Unknown {
                name: name_or_number.to_owned(),
                nearest: nearest(name_or_number, names().map(|(_, name)| name)),
            })?;
            (known.code, Some(known))
        }
    };
    let option = known.map_or_else(|| code.to_string(), |known| format!("{code} ({})", known.name));
    if let Some(known) = known
        && let Kind::Protocol(why) = known.kind
    {
        return Err(OptionError::Reserved { name: known.name, code, why });
    }
    let bytes = value::encode(known.map(|known| known.kind), value).map_err(|wanted| OptionError::Value {
        option: option.clone(),
        wanted,
        found: value.to_string(),
    })?;
    if bytes.len() > MAX_VALUE {
        return Err(OptionError::TooLong { option, bytes: bytes.len() });
    }
    Ok((code, bytes))
}

/// All names of the table with their codes, in the order of the codes; for listings and completeness tests.
pub fn names() -> impl Iterator<Item = (u8, &'static str)> {
    table::TABLE.iter().map(|known| (known.code, known.name))
}

/// Whether the maintainer may set the option at all.
#[must_use]
pub fn is_settable(code: u8) -> bool {
    !matches!(table::by_code(code).map(|known| known.kind), Some(Kind::Protocol(_)))
}

#[cfg(test)]
mod tests;
