//! The command line of boottorrentctl.
//! Decides what is asked for; opens nothing.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use super::boot::{Kind, Next, WITHIN};
use crate::site::value::Spelt;
use crate::store;

/// Where the services write their state: the RuntimeDirectory= of their units.
pub(super) const RUN: &str = "/run/boottorrent";

const HELP: &str = "\
boottorrentctl: shows what the nodes and services of this master do, wakes nodes, and says what they boot next

Usage: boottorrentctl [options] status [--json] [--watch]
       boottorrentctl [options] log NODE [--follow | --boot N]
       boottorrentctl [options] wake NODE... | --all [--os NAME | --local [--within TIME]]
       boottorrentctl [options] boot NODE... | --all --os NAME | --local [--within TIME]
       boottorrentctl [options] boot NODE... | --all --as-usual

NODE is the name of a node or its MAC.

  --json              status: one JSON document
  --watch             status: again every second
  --follow            log: go on with what comes
  --boot N            log: 0 is the latest boot (the default), -1 the one before it; all: every one
  --all               wake, boot: every node that the site names
  --os NAME           wake, boot: the next boot, and that one only, starts this operating system and asks nobody
  --local             wake, boot: the next boot, and that one only, is from the node's own disk
  --within TIME       wake, boot: a node that does not come by then boots as usual (default 1h)
  --as-usual          boot: takes back what was said
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
        next: Option<Next>,
    },
    Boot {
        nodes: Vec<String>,
        next: Next,
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
    os: Option<String>,
    local: bool,
    within: Option<Duration>,
    as_usual: bool,
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
                Arg::Long("os") => words.os = Some(parser.value().and_then(|v| v.string()).map_err(wrong)?),
                Arg::Long("local") => words.local = true,
                Arg::Long("as-usual") => words.as_usual = true,
                Arg::Long("within") => {
                    words.within = Some(within(&parser.value().and_then(|v| v.string()).map_err(wrong)?)?);
                }
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
        let known = ["status", "log", "wake", "boot"];
        if !known.contains(&verb) {
            let what = if verb.is_empty() {
                "say what to do".to_owned()
            } else {
                format!("there is no command {verb:?}")
            };
            return Err(Stop::Wrong(format!("{what}: status, log, wake or boot; --help explains them")));
        }
        let given: [(&str, bool, &[&str]); 9] = [
            ("--json", self.json, &["status"]),
            ("--watch", self.watch, &["status"]),
            ("--follow", self.follow, &["log"]),
            ("--boot", self.boot.is_some(), &["log"]),
            ("--all", self.all, &["wake", "boot"]),
            ("--os", self.os.is_some(), &["wake", "boot"]),
            ("--local", self.local, &["wake", "boot"]),
            ("--within", self.within.is_some(), &["wake", "boot"]),
            ("--as-usual", self.as_usual, &["boot"]),
        ];
        if let Some((option, _, of)) = given.iter().find(|(_, given, of)| *given && !of.contains(&verb)) {
            return Err(Stop::Wrong(format!("{option} belongs to {}, not to {verb}", of.join(" and "))));
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
            (_, []) if !self.all => Err(Stop::Wrong(format!("say whom to {verb}: names or MACs, or --all"))),
            (_, [first, ..]) if self.all => {
                Err(Stop::Wrong(format!("--all names {first:?} as well: leave one of the two out")))
            }
            ("wake", _) => Ok(Action::Wake { next: self.next()?, nodes: self.nodes }),
            _ => match self.next()? {
                Some(next) => Ok(Action::Boot { next, nodes: self.nodes }),
                None => Err(Stop::Wrong("say what to boot: --os NAME, --local or --as-usual".into())),
            },
        }
    }

    fn next(&self) -> Result<Option<Next>, Stop> {
        let kind = match (&self.os, self.local, self.as_usual) {
            (None, false, false) if self.within.is_some() => {
                return Err(Stop::Wrong("--within says how long --os or --local holds: add one".into()));
            }
            (None, false, false) => return Ok(None),
            (Some(name), false, false) => Kind::Os(name.clone()),
            (None, true, false) => Kind::LocalDisk,
            (None, false, true) if self.within.is_none() => Kind::AsUsual,
            (None, false, true) => {
                return Err(Stop::Wrong("--as-usual holds at once, so --within says nothing to it".into()));
            }
            _ => {
                return Err(Stop::Wrong(
                    "--os, --local and --as-usual exclude one another: leave one".into(),
                ));
            }
        };
        Ok(Some(Next { kind, within: self.within.unwrap_or(WITHIN) }))
    }
}

fn within(text: &str) -> Result<Duration, Stop> {
    let wrong = |why: String| Stop::Wrong(format!("--within: {why}; write {}", Duration::KIND));
    match Duration::read(text).map_err(wrong)? {
        within if within < Duration::from_secs(1) => Err(wrong(format!("{text:?} is over at once"))),
        within => Ok(within),
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
        assert_eq!(parse(&["wake", "--all"]), Ok(Action::Wake { nodes: vec![], next: None }));
        let nodes = vec!["a".to_owned(), "b".into()];
        assert_eq!(parse(&["wake", "a", "b"]), Ok(Action::Wake { nodes: nodes.clone(), next: None }));
        let os = Next { kind: Kind::Os("debian".into()), within: WITHIN };
        let wake = parse(&["wake", "--os", "debian", "a", "b"]);
        assert_eq!(wake, Ok(Action::Wake { nodes: nodes.clone(), next: Some(os) }));
        let local = Next { kind: Kind::LocalDisk, within: Duration::from_secs(600) };
        let boot = parse(&["boot", "a", "b", "--local", "--within", "10m"]);
        assert_eq!(boot, Ok(Action::Boot { nodes, next: local }));
        let usual = Next { kind: Kind::AsUsual, within: WITHIN };
        assert_eq!(parse(&["boot", "--all", "--as-usual"]), Ok(Action::Boot { nodes: vec![], next: usual }));
    }

    #[test]
    fn mistakes_are_told() {
        for (words, told) in [
            (&[][..], "say what to do"),
            (&["stats"], "there is no command \"stats\""),
            (&["status", "n01"], "boottorrentctl log n01"),
            (&["status", "--all"], "--all belongs to wake and boot"),
            (&["log"], "say whose log"),
            (&["log", "a", "b"], "one node at a time"),
            (&["log", "a", "--boot", "1"], "write 0 for the latest"),
            (&["log", "a", "--boot", "0", "--follow"], "leave one out"),
            (&["wake"], "or --all"),
            (&["wake", "a", "--all"], "leave one of the two out"),
            (&["wake", "--colour"], "--colour"),
            (&["boot"], "say whom to boot"),
            (&["boot", "a"], "say what to boot"),
            (&["boot", "a", "--os", "x", "--local"], "exclude one another"),
            (&["boot", "a", "--as-usual", "--within", "1h"], "says nothing to it"),
            (&["wake", "a", "--as-usual"], "--as-usual belongs to boot, not to wake"),
            (&["wake", "a", "--within", "1h"], "add one"),
            (&["boot", "a", "--local", "--within", "10"], "has no unit"),
            (&["boot", "a", "--local", "--within", "10ms"], "over at once"),
            (&["log", "a", "--os", "x"], "--os belongs to wake and boot"),
        ] {
            let said = parse(words).unwrap_err();
            assert!(said.contains(told), "{words:?}: {said}");
        }
    }
}
