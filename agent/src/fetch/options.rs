//! The command line of `fetch`. Decides what is well-formed, names what is not; opens nothing.

use lexopt::{Arg, Parser, ValueExt};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

pub(super) const HELP: &str = "\
usage: boottorrent-agent fetch TORRENT --to DIR [option ...]

Downloads what the .torrent file TORRENT names into DIR, checks every piece, and
shares it with others while they need it. Files that are there already are
checked and not downloaded again.

  --to DIR               where the files go (made if missing)
  --tracker ADDRESS:PORT UDP tracker, instead of the torrent's own; may repeat
  --peer ADDRESS:PORT    a peer to hold on to; may repeat
  --listen ADDRESS:PORT  where peers reach us (default: every address, any port)
  --pieces FILE          check by this SHA-256 list (32 bytes a piece) instead of
                         the torrent's SHA-1
  --on-complete COMMAND  run by /bin/sh once everything is there
  --linger WHEN          how long to share after that: seconds, auto (while a
                         peer that we are linked to needs us; the default), forever
  --seed-rate RATE       send at most so much to others, as 50Mbit
  --stats FILE           write statistics as JSON at the end
";

/// How long we share when we have everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Linger {
    Auto,
    For(Duration),
    Forever,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) torrent: PathBuf,
    pub(super) to: PathBuf,
    pub(super) trackers: Vec<SocketAddrV4>,
    pub(super) peers: Vec<SocketAddrV4>,
    pub(super) listen: SocketAddrV4,
    pub(super) pieces: Option<PathBuf>,
    pub(super) on_complete: Option<String>,
    pub(super) linger: Linger,
    /// Bytes a second.
    pub(super) seed_rate: Option<u64>,
    pub(super) stats: Option<PathBuf>,
}

#[derive(Debug)]
pub(super) enum Parsed {
    Run(Box<Options>),
    Help,
}

pub(super) fn parse(mut parser: Parser) -> Result<Parsed, String> {
    let (mut torrent, mut to) = (None, None);
    let mut options = Options {
        torrent: PathBuf::new(),
        to: PathBuf::new(),
        trackers: Vec::new(),
        peers: Vec::new(),
        listen: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        pieces: None,
        on_complete: None,
        linger: Linger::Auto,
        seed_rate: None,
        stats: None,
    };
    while let Some(arg) = parser.next().map_err(|e| e.to_string())? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Parsed::Help),
            Arg::Long("to") => to = Some(PathBuf::from(value(&mut parser)?)),
            Arg::Long("tracker") => options.trackers.push(address("--tracker", value(&mut parser)?)?),
            Arg::Long("peer") => options.peers.push(address("--peer", value(&mut parser)?)?),
            Arg::Long("listen") => options.listen = address("--listen", value(&mut parser)?)?,
            Arg::Long("pieces") => options.pieces = Some(value(&mut parser)?.into()),
            Arg::Long("on-complete") => {
                options.on_complete = Some(value(&mut parser)?.string().map_err(|e| e.to_string())?);
            }
            Arg::Long("linger") => options.linger = linger(value(&mut parser)?)?,
            Arg::Long("seed-rate") => options.seed_rate = Some(rate(&value(&mut parser)?)?),
            Arg::Long("stats") => options.stats = Some(value(&mut parser)?.into()),
            Arg::Value(path) if torrent.is_none() => torrent = Some(PathBuf::from(path)),
            other => return Err(format!("{}; --help lists the options", other.unexpected())),
        }
    }
    options.torrent = torrent.ok_or("give the .torrent file to fetch; --help lists the options")?;
    options.to = to.ok_or("give --to DIR, the folder that the files go to")?;
    Ok(Parsed::Run(Box::new(options)))
}

fn value(parser: &mut Parser) -> Result<std::ffi::OsString, String> {
    parser.value().map_err(|e| e.to_string())
}

fn address(option: &str, value: std::ffi::OsString) -> Result<SocketAddrV4, String> {
    let text = value.to_string_lossy();
    let bare = text.strip_prefix("udp://").unwrap_or(&text);
    bare.parse().map_err(|_| format!("{option} {text}: give an IPv4 address and a port, as 10.0.0.1:6969"))
}

fn linger(value: std::ffi::OsString) -> Result<Linger, String> {
    match value.to_str() {
        Some("auto") => Ok(Linger::Auto),
        Some("forever") => Ok(Linger::Forever),
        text => {
            let seconds = text.and_then(|t| t.trim_end_matches('s').parse().ok());
            let length = seconds.and_then(|s: f64| Duration::try_from_secs_f64(s).ok());
            length.map(Linger::For).ok_or_else(|| {
                format!("--linger {}: give a number of seconds, auto or forever", value.to_string_lossy())
            })
        }
    }
}

/// Bytes a second, as os.toml spells them.
fn rate(value: &std::ffi::OsStr) -> Result<u64, String> {
    let text = value.to_string_lossy();
    let units = [("kbit", 125.0), ("Mbit", 125e3), ("Gbit", 125e6)];
    let read = |(unit, bytes): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * bytes);
    let rate = units.into_iter().find_map(read).filter(|rate| rate.is_finite() && *rate >= 1.0);
    rate.map(|rate| rate as u64).ok_or_else(|| format!("--seed-rate {text}: give a rate such as 50Mbit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, String> {
        match parse(Parser::from_args(args))? {
            Parsed::Run(options) => Ok(*options),
            Parsed::Help => Err("help".into()),
        }
    }

    #[test]
    fn a_full_command_line_reads() {
        let o = parsed(&[
            "x.torrent",
            "--to",
            "d",
            "--tracker",
            "udp://10.0.0.1:6969",
            "--peer",
            "10.0.0.2:1",
            "--peer",
            "10.0.0.3:2",
            "--linger",
            "2.5",
            "--stats",
            "s",
            "--listen",
            "127.0.0.5:0",
            "--pieces",
            "p",
            "--seed-rate",
            "2.5Mbit",
        ])
        .unwrap();
        assert_eq!(
            (o.trackers.len(), o.peers.len(), o.linger),
            (1, 2, Linger::For(Duration::from_millis(2500)))
        );
        assert_eq!(o.seed_rate, Some(312_500));
        assert_eq!(o.listen, "127.0.0.5:0".parse().unwrap());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (args, word) in [
            (&["--to", "d"][..], ".torrent"),
            (&["x"], "--to"),
            (&["x", "--to", "d", "--peer", "host:1"], "--peer host:1"),
            (&["x", "--to", "d", "--linger", "-1"], "--linger -1"),
            (&["x", "--to", "d", "--linger", "inf"], "--linger inf"),
            (&["x", "--to", "d", "--seed-rate", "50"], "--seed-rate 50"),
            (&["x", "--to", "d", "--seed-rate", "0Mbit"], "--seed-rate 0Mbit"),
            (&["x", "y", "--to", "d"], "y"),
            (&["x", "--frobnicate"], "--frobnicate"),
        ] {
            let sentence = parsed(args).unwrap_err();
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}
