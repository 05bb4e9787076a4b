//! The command line of boottorrentctl.
//! Decides what is asked for; opens nothing.

use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::store;

/// Where the services write their state: the RuntimeDirectory= of their units.
const RUN: &str = "/run/boottorrent";

const HELP: &str = "\
boottorrentctl: shows what the nodes and services of this master do, and wakes nodes

Usage: boottorrentctl [options] status [--json] [--watch]
       boottorrentctl [options] log NODE [--follow | --boot N]
       boottorrentctl [options] wake NODE... | --all

NODE is the name of a node or its MAC.

  --json              status: one JSON document
  --watch             status: again every second
  --follow            log: go on with what comes
  --boot N            log: 0 is the latest boot (the default), -1 the one before it; all: every one
  --all               wake: every node that the site names
  --store DIR         what boottorrent-gen wrote (default /var/lib/boottorrent)
  --run DIR           where the services write their state (default /run/boottorrent)
  --help, --version

Exit status: 0, 1 if something is wrong (a service, a command, an unknown node), 2 for a wrong command line.
See boottorrentctl(8).
";

/// Which boot of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boot {
    All,
    /// This many before the latest.
    Back(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Status {
        json: bool,
        watch: bool,
    },
    Log {
        node: String,
        follow: bool,
        boot: Boot,
    },
    /// None named: all.
    Wake {
        nodes: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) action: Action,
    pub(super) store: PathBuf,
    pub(super) run: PathBuf,
}

/// Why there is nothing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Print(String),
    Wrong(String),
}

/// As they stand in the command line; which of them belong together is asked at its end.
#[derive(Default)]
struct Words {
    verb: Option<String>,
    nodes: Vec<String>,
    json: bool,
    watch: bool,
    follow: bool,
    boot: Option<Boot>,
    all: bool,
}

impl Options {
    pub(super) fn parse(mut parser: Parser) -> Result<Self, Stop> {
        let (mut store, mut run) = (PathBuf::from(store::DEFAULT), PathBuf::from(RUN));
        let mut words = Words::default();
        while let Some(arg) = parser.next().map_err(wrong)? {
            match arg {
                Arg::Long("help") | Arg::Short('h') => return Err(Stop::Print(HELP.to_owned())),
                Arg::Long("version") | Arg::Short('V') => {
                    return Err(Stop::Print(format!("boottorrentctl {}\n", env!("CARGO_PKG_VERSION"))));
                }
                Arg::Long("store") => store = parser.value().map_err(wrong)?.into(),
                Arg::Long("run") => run = parser.value().map_err(wrong)?.into(),
                Arg::Long("json") => words.json = true,
                Arg::Long("watch") => words.watch = true,
                Arg::Long("follow") | Arg::Short('f') => words.follow = true,
                Arg::Long("all") => words.all = true,
                Arg::Long("boot") => {
                    let value = parser.value().and_then(|v| v.string()).map_err(wrong)?;
                    words.boot = Some(boot(&value)?);
                }
                Arg::Value(word) => {
                    let word = word.string().map_err(wrong)?;
                    if words.verb.is_none() { words.verb = Some(word) } else { words.nodes.push(word) }
                }
                other => return Err(wrong(other.unexpected())),
            }
        }
        Ok(Self { action: words.action()?, store, run })
    }
}

impl Words {
    fn action(self) -> Result<Action, Stop> {
        let verb = self.verb.as_deref().unwrap_or_default();
        let given = [
            ("--json", self.json, "status"),
            ("--watch", self.watch, "status"),
            ("--follow", self.follow, "log"),
            ("--boot", self.boot.is_some(), "log"),
            ("--all", self.all, "wake"),
        ];
        if !["status", "log", "wake"].contains(&verb) {
            let what = if verb.is_empty() {
                "say what to do".to_owned()
            } else {
                format!("there is no command {verb:?}")
            };
            return Err(Stop::Wrong(format!("{what}: status, log or wake; --help explains them")));
        }
        if let Some((option, _, of)) = given.iter().find(|(_, given, of)| *given && *of != verb) {
            return Err(Stop::Wrong(format!("{option} belongs to {of}, not to {verb}")));
        }
        match (verb, self.nodes.as_slice()) {
            ("status", []) => Ok(Action::Status { json: self.json, watch: self.watch }),
            ("status", [extra, ..]) => Err(Stop::Wrong(format!(
                "status takes no {extra:?}; `boottorrentctl log {extra}` tells of one node"
            ))),
            ("log", _) if self.follow && self.boot.is_some() => Err(Stop::Wrong(
                "--follow shows what comes, so --boot says nothing to it: leave one out".into(),
            )),
            ("log", [node]) => {
                let boot = self.boot.unwrap_or(Boot::Back(0));
                Ok(Action::Log { node: node.clone(), follow: self.follow, boot })
            }
            ("log", []) => Err(Stop::Wrong("say whose log: boottorrentctl log NODE".into())),
            ("log", _) => Err(Stop::Wrong("log tells of one node at a time".into())),
            (_, []) if !self.all => Err(Stop::Wrong("say whom to wake: names or MACs, or --all".into())),
            (_, [first, ..]) if self.all => {
                Err(Stop::Wrong(format!("--all wakes {first:?} as well: leave one of the two out")))
            }
            _ => Ok(Action::Wake { nodes: self.nodes }),
        }
    }
}

fn boot(text: &str) -> Result<Boot, Stop> {
    if text == "all" {
        return Ok(Boot::All);
    }
    match text.parse::<i32>() {
        Ok(back) if back <= 0 => Ok(Boot::Back(usize::try_from(back.unsigned_abs()).unwrap_or(usize::MAX))),
        _ => Err(Stop::Wrong(format!(
            "--boot {text}: write 0 for the latest, -1 for the one before it, or all"
        ))),
    }
}

fn wrong(error: lexopt::Error) -> Stop {
    Stop::Wrong(format!("{error}; --help lists the options"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Action, String> {
        Options::parse(Parser::from_args(words)).map(|options| options.action).map_err(|stop| match stop {
            Stop::Print(text) | Stop::Wrong(text) => text,
        })
    }

    #[test]
    fn commands_and_their_options() {
        assert_eq!(parse(&["status", "--json"]), Ok(Action::Status { json: true, watch: false }));
        let log = |follow, boot| Action::Log { node: "n01".into(), follow, boot };
        assert_eq!(parse(&["log", "n01"]), Ok(log(false, Boot::Back(0))));
        assert_eq!(parse(&["log", "--boot=-2", "n01"]), Ok(log(false, Boot::Back(2))));
        assert_eq!(parse(&["log", "--boot", "all", "n01"]), Ok(log(false, Boot::All)));
        assert_eq!(parse(&["log", "n01", "-f"]), Ok(log(true, Boot::Back(0))));
        assert_eq!(parse(&["wake", "--all"]), Ok(Action::Wake { nodes: vec![] }));
        assert_eq!(parse(&["wake", "a", "b"]), Ok(Action::Wake { nodes: vec!["a".into(), "b".into()] }));
    }

    #[test]
    fn mistakes_are_told() {
        for (words, told) in [
            (&[][..], "say what to do"),
            (&["stats"], "there is no command \"stats\""),
            (&["status", "n01"], "boottorrentctl log n01"),
            (&["status", "--all"], "--all belongs to wake"),
            (&["log"], "say whose log"),
            (&["log", "a", "b"], "one node at a time"),
            (&["log", "a", "--boot", "1"], "write 0 for the latest"),
            (&["log", "a", "--boot", "0", "--follow"], "leave one out"),
            (&["wake"], "or --all"),
            (&["wake", "a", "--all"], "leave one of the two out"),
            (&["wake", "--colour"], "--colour"),
        ] {
            let said = parse(words).unwrap_err();
            assert!(said.contains(told), "{words:?}: {said}");
        }
    }
}
