//! Templates of kernel command lines: `{mac} {ip} {hostname} {master} {site}`, `{{` and `}}` for braces.
//! Decides which keys and which characters of a value are legal; never guesses a missing value.

use alloc::string::String;
use core::fmt;

/// The keys, so that boottorrent-gen refuses a wrong one long before a node meets it.
pub const KEYS: [&str; 5] = ["mac", "ip", "hostname", "master", "site"];

/// Values for the keys of a template; parts of them come from DHCP and so from anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values<'a> {
    pub mac: &'a str,
    pub ip: &'a str,
    pub hostname: &'a str,
    pub master: &'a str,
    pub site: &'a str,
}

/// Why a template could not be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No such key.
    Key(String),
    /// A brace without its partner.
    Brace,
    /// The value has a character outside `A-Za-z0-9.:_-`, or is empty.
    Value { key: &'static str, value: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Key(key) => {
                write!(f, "there is no {{{key}}}: use {{mac}}, {{ip}}, {{hostname}}, {{master}} or {{site}}")
            }
            Error::Brace => f.write_str("a brace has no partner: write {{ or }} for a brace itself"),
            Error::Value { key, value } if value.is_empty() => write!(f, "{{{key}}} has no value here"),
            Error::Value { key, value } => {
                write!(f, "{{{key}}} would become {value:?}, which has characters outside A-Za-z0-9.:_-")
            }
        }
    }
}

impl core::error::Error for Error {}

/// Checks a template without values.
///
/// # Errors
/// An unknown key, a brace without its partner.
pub fn check(template: &str) -> Result<(), Error> {
    walk(template, |_| Ok("")).map(|_| ())
}

/// The template with its keys replaced.
///
/// # Errors
/// As [`check`], and a value that is empty or has characters that could change a command line's meaning.
pub fn fill(template: &str, values: &Values<'_>) -> Result<String, Error> {
    walk(template, |key| {
        let value = match key {
            "mac" => values.mac,
            "ip" => values.ip,
            "hostname" => values.hostname,
            "master" => values.master,
            _ => values.site,
        };
        if is_plain(value) { Ok(value) } else { Err(Error::Value { key, value: String::from(value) }) }
    })
}

/// Whether a value may stand in a command line as it is.
#[must_use]
pub fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b".:_-".contains(&b))
}

fn walk<'v>(
    template: &str,
    mut value: impl FnMut(&'static str) -> Result<&'v str, Error>,
) -> Result<String, Error> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            out.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            out.push('}');
            rest = after;
        } else if let Some((key, after)) = from.strip_prefix('{').and_then(|k| k.split_once('}')) {
            let known = KEYS.iter().find(|k| **k == key).ok_or_else(|| Error::Key(String::from(key)))?;
            out.push_str(value(known)?);
            rest = after;
        } else {
            return Err(Error::Brace);
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'_> =
        Values { mac: "52:54:00:00:00:01", ip: "10.0.0.11", hostname: "n01", master: "10.0.0.1", site: "" };

    #[test]
    fn keys_are_replaced_and_braces_escaped() {
        assert_eq!(
            fill("a={ip} {{x}} h={hostname}{mac}", &VALUES).unwrap(),
            "a=10.0.0.11 {x} h=n0152:54:00:00:00:01"
        );
        assert_eq!(fill("", &VALUES).unwrap(), "");
    }

    #[test]
    fn wrong_templates_are_named() {
        assert_eq!(check("{host}"), Err(Error::Key("host".into())));
        for bad in ["{", "}", "a{ip", "ip}", "{{}"] {
            assert_eq!(check(bad), Err(Error::Brace), "{bad}");
        }
    }

    #[test]
    fn values_cannot_add_arguments() {
        for evil in ["a b", "x\ninit=/bin/sh", "é", "a\"", "a=b", ""] {
            let values = Values { hostname: evil, ..VALUES };
            assert!(
                matches!(fill("{hostname}", &values), Err(Error::Value { key: "hostname", .. })),
                "{evil:?}"
            );
            assert!(fill("{ip}", &values).is_ok(), "a value that is not used does no harm");
        }
    }
}
