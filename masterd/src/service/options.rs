//! The command line that all daemons share. It parses, prints help and version, and opens nothing.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};

/// What a daemon is: `name` without the prefix ("dhcp"), one line of purpose, and help lines for its own options.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    pub purpose: &'static str,
    /// Whether something of it must survive a restart: only then there is a `--state`.
    pub keeps_state: bool,
    /// Whether it inherits sockets, or opens those of `--listen`.
    pub listens: bool,
    /// Usage lines for extra options, each indented by two and ended by a newline, or nothing.
    pub extra_help: &'static str,
}

/// The options that every daemon has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub store: PathBuf,
    pub state: Option<PathBuf>,
    pub run: Option<PathBuf>,
    pub listen: Vec<SocketAddr>,
    pub interface: Option<String>,
}

/// Why parsing ended without options to run with.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help or version: text for stdout.
    Print(String),
    /// A sentence for stderr.
    Wrong(String),
}

impl Options {
    /// Parses the process's command line. On `--help`, `--version` or an error it prints and returns the exit code.
    ///
    /// `extra` is offered every long option that is not common to all daemons; it takes the value from the parser
    /// and answers whether it knows the option.
    pub fn parse(
        program: &Program,
        extra: impl FnMut(&str, &mut Parser) -> Result<bool, lexopt::Error>,
    ) -> Result<Self, ExitCode> {
        Self::parse_from(program, Parser::from_env(), &|name| std::env::var_os(name), extra).map_err(|stop| {
            match stop {
                Stop::Print(text) => {
                    print!("{text}");
                    ExitCode::SUCCESS
                }
                Stop::Wrong(sentence) => {
                    eprintln!("boottorrent-{}: {sentence}", program.name);
                    ExitCode::FAILURE
                }
            }
        })
    }

    pub(crate) fn parse_from(
        program: &Program,
        mut parser: Parser,
        environment: &dyn Fn(&str) -> Option<OsString>,
        mut extra: impl FnMut(&str, &mut Parser) -> Result<bool, lexopt::Error>,
    ) -> Result<Self, Stop> {
        let mut options = Self {
            store: PathBuf::from("/var/lib/boottorrent"),
            state: folder(environment, "STATE_DIRECTORY"),
            run: folder(environment, "RUNTIME_DIRECTORY"),
            listen: Vec::new(),
            interface: None,
        };
        while let Some(arg) = parser.next().map_err(wrong)? {
            match arg {
                Arg::Long("help") | Arg::Short('h') => return Err(Stop::Print(help(program))),
                Arg::Long("version") | Arg::Short('V') => {
                    let version = env!("CARGO_PKG_VERSION");
                    return Err(Stop::Print(format!("boottorrent-{} {version}\n", program.name)));
                }
                Arg::Long("store") => options.store = parser.value().map_err(wrong)?.into(),
                Arg::Long("state") if program.keeps_state => {
                    options.state = Some(parser.value().map_err(wrong)?.into())
                }
                Arg::Long("run") => options.run = Some(parser.value().map_err(wrong)?.into()),
                Arg::Long("listen") if program.listens => {
                    let value = parser.value().and_then(|v| v.string()).map_err(wrong)?;
                    let address = value.parse().map_err(|_| {
                        Stop::Wrong(format!("--listen {value}: give an address and a port, as 10.0.0.1:6881"))
                    })?;
                    options.listen.push(address);
                }
                Arg::Long("interface") => {
                    options.interface = Some(parser.value().and_then(|v| v.string()).map_err(wrong)?);
                }
                Arg::Long(name) => {
                    let name = name.to_owned();
                    if !extra(&name, &mut parser).map_err(wrong)? {
                        return Err(Stop::Wrong(format!(
                            "unknown option --{name}; --help lists the options"
                        )));
                    }
                }
                other => {
                    return Err(Stop::Wrong(format!("{}; --help lists the options", other.unexpected())));
                }
            }
        }
        Ok(options)
    }
}

/// systemd separates several folders by colons; ours is the first.
fn folder(environment: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    let value = environment(name)?;
    let first = value.to_str()?.split(':').next()?;
    (!first.is_empty()).then(|| PathBuf::from(first))
}

fn wrong(error: lexopt::Error) -> Stop {
    Stop::Wrong(error.to_string())
}

pub(super) fn help(program: &Program) -> String {
    let Program { name, purpose, keeps_state, listens, extra_help } = program;
    let state = match keeps_state {
        true => {
            "  --state DIR         what must survive a restart (default $STATE_DIRECTORY, else nothing is kept)\n"
        }
        false => "",
    };
    let sockets = match listens {
        true => {
            "  --listen ADDR:PORT  open this socket instead of inheriting one from systemd; may be repeated\n  \
             --interface IF      bind the sockets of --listen to this interface\n"
        }
        false => "  --interface IF      the interface (default: the site's)\n",
    };
    let by_hand = match listens {
        true => "Started by systemd it inherits its sockets; started by hand it opens them itself.\n",
        false => "",
    };
    format!(
        "boottorrent-{name}: {purpose}\n\n\
         Usage: boottorrent-{name} [options]\n\n\
         \x20 --store DIR         what boottorrent-gen wrote (default /var/lib/boottorrent)\n\
         {state}\
         \x20 --run DIR           the state file {name}.json goes here (default $RUNTIME_DIRECTORY, else none)\n\
         {sockets}{extra_help}\
         \x20 --help, --version\n\n\
         {by_hand}RUST_LOG sets the level of the log (error, warn, info, debug); SIGHUP reads the configuration again.\n",
    )
}
