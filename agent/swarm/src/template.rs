//! Templates of kernel command lines and of programs' arguments: `{mac} {ip} {hostname} {master} {site}`, for programs
//! `{memory} {cpus} {tap} {tap-mac}` as well, `{{` and `}}` for braces.
//! Decides which keys and which characters of a value are legal; never guesses a missing value.

use alloc::string::String;
use core::fmt;

/// The keys of a kernel command line, so that boottorrent-gen refuses a wrong one long before a node meets it.
pub const KEYS: &[&str] = &["mac", "ip", "hostname", "master", "site"];
/// The keys of a program's arguments and environment.
pub const PROGRAM_KEYS: &[&str] =
    &["mac", "ip", "hostname", "master", "site", "memory", "cpus", "tap", "tap-mac"];

/// Values for the keys of a template; parts of them come from DHCP and so from anybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values<'a> {
    pub mac: &'a str,
    pub ip: &'a str,
    pub hostname: &'a str,
    pub master: &'a str,
    pub site: &'a str,
    /// MiB that a program may take; a kernel command line has none.
    pub memory: &'a str,
    /// Processors of the node; a kernel command line has none.
    pub cpus: &'a str,
    /// The descriptor that a program finds its tap under; others have none.
    pub tap: &'a str,
    /// The MAC address that the tap takes frames for.
    pub tap_mac: &'a str,
}

/// Why a template could not be filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// No such key; those that there are.
    Key { key: String, known: &'static [&'static str] },
    /// A brace without its partner.
    Brace,
    /// The value has a character outside `A-Za-z0-9.:_-`, or is empty.
    Value { key: &'static str, value: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Key { key, known } => {
                write!(f, "there is no {{{key}}}: use")?;
                for (n, name) in known.iter().enumerate() {
                    let before = match known.len() - n {
                        1 => " or",
                        _ if n == 0 => "",
                        _ => ",",
                    };
                    write!(f, "{before} {{{name}}}")?;
                }
                Ok(())
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

/// Checks a template without values; `keys` are [`KEYS`] or [`PROGRAM_KEYS`].
///
/// # Errors
/// An unknown key, a brace without its partner.
pub fn check(template: &str, keys: &'static [&'static str]) -> Result<(), Error> {
    walk(template, keys, |_| Ok("")).map(|_| ())
}

/// The template with its keys replaced.
///
/// # Errors
/// As [`check`], and a value that is empty or has characters that could change a command line's meaning.
pub fn fill(template: &str, values: &Values<'_>) -> Result<String, Error> {
    walk(template, PROGRAM_KEYS, |key| {
        let value = match key {
            "mac" => values.mac,
            "ip" => values.ip,
            "hostname" => values.hostname,
            "master" => values.master,
            "memory" => values.memory,
            "cpus" => values.cpus,
            "tap" => values.tap,
            "tap-mac" => values.tap_mac,
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
    keys: &'static [&'static str],
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
            let unknown = || Error::Key { key: String::from(key), known: keys };
            let known = keys.iter().find(|k| **k == key).ok_or_else(unknown)?;
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
    use alloc::string::ToString as _;

    const VALUES: Values<'_> = Values {
        mac: "52:54:00:00:00:01",
        ip: "10.0.0.11",
        hostname: "n01",
        master: "10.0.0.1",
        site: "",
        memory: "512",
        cpus: "4",
        tap: "7",
        tap_mac: "56:54:00:00:00:01",
    };

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
        let told = check("{host}", KEYS).unwrap_err().to_string();
        assert_eq!(told, "there is no {host}: use {mac}, {ip}, {hostname}, {master} or {site}");
        for bad in ["{", "}", "a{ip", "ip}", "{{}"] {
            assert_eq!(check(bad, KEYS), Err(Error::Brace), "{bad}");
        }
    }

    #[test]
    fn programs_have_keys_that_kernels_have_not() {
        assert_eq!(fill("-m {memory} -smp {cpus}", &VALUES).unwrap(), "-m 512 -smp 4");
        let tap = fill("tap,fd={tap} mac={tap-mac}", &VALUES).unwrap();
        assert_eq!(tap, "tap,fd=7 mac=56:54:00:00:00:01");
        assert_eq!(check("{memory}{cpus}", PROGRAM_KEYS), Ok(()));
        assert!(check("{memory}", KEYS).unwrap_err().to_string().starts_with("there is no {memory}"));
        let kernel = Values { memory: "", ..VALUES };
        assert!(matches!(fill("{memory}", &kernel), Err(Error::Value { key: "memory", .. })));
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
