//! What a node starts instead of a kernel: arguments, environment, and what follows the program's end.
//! Decides what is a legal program; never fills in its templates.

use super::{Error, text};
use crate::bencode::{Dict, Value, Writer};
use alloc::string::String;
use alloc::vec::Vec;

/// Words of a command line: QEMU with a dozen devices has about sixty.
pub const MAX_ARGUMENTS: usize = 256;
/// Variables of the environment.
pub const MAX_VARIABLES: usize = 64;
/// The kindest and the harshest priority (nice(2)).
pub const NICE: core::ops::RangeInclusive<i8> = -20..=19;
/// Added to a niceness on the wire, where integers are not negative.
const NICE_BIAS: u8 = 20;

/// A program of an image with `method = "run"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The first is its path in the root; the others are templates.
    pub argv: Vec<String>,
    /// Names and templates of values, each name once.
    pub env: Vec<(String, String)>,
    /// A folder of the root.
    pub workdir: String,
    pub after: After,
    pub nice: i8,
    /// Bytes that the node sends to others in a second while the program runs; none: no bound.
    pub seed_rate: Option<u64>,
    /// It finds a tap on the node's network card open.
    pub tap: bool,
}

/// What follows the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Menu,
    Restart,
    Reboot,
    Poweroff,
}

impl After {
    const ALL: [(After, &'static str); 4] = [
        (After::Menu, "menu"),
        (After::Restart, "restart"),
        (After::Reboot, "reboot"),
        (After::Poweroff, "poweroff"),
    ];

    /// As os.toml and the catalog spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(after, _)| *after == self).map_or("menu", |(_, name)| name)
    }

    #[must_use]
    pub fn read(name: &str) -> Option<After> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(after, _)| *after)
    }
}

/// Whether a text is an absolute path without detours: it cannot lead out of a root by itself.
#[must_use]
pub fn is_plain_path(path: &str) -> bool {
    path == "/"
        || path.strip_prefix('/').is_some_and(|rest| {
            !path.contains('\0')
                && rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        })
}

/// Whether a text can be the name of a variable.
#[must_use]
pub fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl Program {
    pub(super) fn emit(&self, w: &mut Writer) {
        w.dict(|w| {
            w.str("after").str(self.after.name());
            w.str("argv").list(|w| self.argv.iter().for_each(|word| _ = w.str(word)));
            w.str("env").list(|w| {
                for (name, value) in &self.env {
                    w.list(|w| _ = w.str(name).str(value));
                }
            });
            w.str("nice").int(NICE_BIAS.saturating_add_signed(self.nice).into());
            if let Some(rate) = self.seed_rate {
                w.str("seed rate").int(rate);
            }
            if self.tap {
                w.str("tap").int(1);
            }
            w.str("workdir").str(&self.workdir);
        });
    }

    pub(super) fn parse(dict: &Dict<'_>) -> Result<Program, Error> {
        let argv = texts(dict.list("argv").ok_or(Error::Key("argv"))?).ok_or(Error::Key("argv"))?;
        if argv.len() > MAX_ARGUMENTS || !argv.first().is_some_and(|path| is_plain_path(path)) {
            return Err(Error::Key("argv"));
        }
        if argv.iter().any(|word| word.contains('\0')) {
            return Err(Error::Key("argv"));
        }
        let workdir = text(dict, "workdir")?;
        if !is_plain_path(&workdir) {
            return Err(Error::Key("workdir"));
        }
        let nice = dict.uint("nice").and_then(|n| i8::try_from(n).ok()?.checked_sub_unsigned(NICE_BIAS));
        let seed_rate = dict.uint("seed rate");
        if seed_rate == Some(0) {
            return Err(Error::Key("seed rate"));
        }
        Ok(Program {
            argv,
            env: environment(dict.list("env").ok_or(Error::Key("env"))?).ok_or(Error::Key("env"))?,
            workdir,
            after: dict.str("after").and_then(After::read).ok_or(Error::Key("after"))?,
            nice: nice.filter(|nice| NICE.contains(nice)).ok_or(Error::Key("nice"))?,
            seed_rate,
            tap: dict.uint("tap").is_some_and(|tap| tap != 0),
        })
    }
}

fn environment(list: &[Value<'_>]) -> Option<Vec<(String, String)>> {
    let pair = |value: &Value<'_>| match value {
        Value::List(pair) => {
            let [name, value]: [String; 2] = texts(pair)?.try_into().ok()?;
            (is_variable(&name) && !value.contains('\0')).then_some((name, value))
        }
        _ => None,
    };
    let env: Vec<(String, String)> = list.iter().map(pair).collect::<Option<_>>()?;
    let twice =
        |(n, (name, _)): (usize, &(String, String))| env.iter().take(n).any(|(known, _)| known == name);
    (env.len() <= MAX_VARIABLES && !env.iter().enumerate().any(twice)).then_some(env)
}

fn texts(list: &[Value<'_>]) -> Option<Vec<String>> {
    let text = |value: &Value<'_>| core::str::from_utf8(value.as_bytes()?).ok().map(String::from);
    list.iter().map(text).collect()
}
