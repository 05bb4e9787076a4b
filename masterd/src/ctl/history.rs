//! `boottorrentctl log`: what a node said, from systemd's journal.
//! Decides which entries; journalctl shows them in its own way, with its own pager.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::options::{Boot, Options};
use super::sources::{Sources, Who};
use super::{Error, Verdict};
use crate::nodelog::clean;

/// The fields are the log service's only in entries of its unit: others may write what they like.
const UNIT: &str = "_SYSTEMD_UNIT=boottorrent-log.service";
/// What `--follow` shows of the past: the stages of a boot.
const PAST: &str = "--lines=40";
/// Boots that are told apart; a node that starts anew every minute does so in a day.
const MOST_BOOTS: usize = 1440;
/// Bytes of an entry's line that are looked at: the fields that are asked for are short.
const LINE: u64 = 4096;

pub(super) fn run(options: &Options, node: &str, follow: bool, boot: Boot) -> Result<Verdict, Error> {
    let who = Sources::read(options)?.find(node)?;
    let mac = format!("MAC={}", who.mac);
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-hostname", "--output=short-precise", UNIT, &mac]);
    if follow {
        command.args(["--follow", PAST]);
    } else {
        let back = match boot {
            Boot::All => 0,
            Boot::Back(back) => back,
        };
        let boots = boots(&mac, back.saturating_add(1).min(MOST_BOOTS))?;
        if boots.is_empty() {
            return Err(Error::Told(silence(&who)));
        }
        if let Boot::Back(back) = boot {
            let boot = boots.get(back).ok_or_else(|| too_far(&who, boots.len()))?;
            command.arg(format!("BOOT={boot}"));
        }
    }
    let status = command.status().map_err(no_journalctl)?;
    // Whoever ends a pager or presses Ctrl-C has seen enough.
    Ok(if status.success() || status.code().is_none() { Verdict::Good } else { Verdict::Wrong })
}

/// The numbers of a node's latest boots, the latest first: read backwards, and no further than is wanted.
fn boots(mac: &str, wanted: usize) -> Result<Vec<String>, Error> {
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--reverse", "--output=json", "--output-fields=BOOT", UNIT, mac]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(no_journalctl)?;
    let boots =
        child.stdout.take().map(|entries| distinct(BufReader::new(entries), wanted)).unwrap_or_default();
    if boots.len() == wanted {
        // It has more to say than anybody asked for.
        let _gone = child.kill();
        let _reaped = child.wait();
        return Ok(boots);
    }
    let mut why = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _unread = stderr.take(LINE).read_to_string(&mut why); // its status counts, with or without a reason
    }
    if child.wait().map_err(no_journalctl)?.success() {
        return Ok(boots);
    }
    let why = clean(why.lines().next().unwrap_or("it does not say why"), 200);
    Err(Error::Told(format!("the journal cannot be read: {why}")))
}

/// In the order in which they first stand there, until there are as many as are wanted.
fn distinct(mut entries: impl BufRead, wanted: usize) -> Vec<String> {
    let mut boots: Vec<String> = Vec::new();
    let mut line = Vec::new();
    while boots.len() < wanted {
        line.clear();
        match entries.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let entry: Value = serde_json::from_slice(&line).unwrap_or_default();
        if let Some(boot) = entry.get("BOOT").and_then(Value::as_str)
            && boots.last().is_none_or(|last| last != boot)
            && !boots.iter().any(|known| known == boot)
        {
            boots.push(boot.to_owned());
        }
    }
    boots
}

fn silence(who: &Who) -> String {
    let Who { name, mac, .. } = who;
    format!(
        "the journal has no word of {name} ({mac}): it has said nothing, the journal has forgotten it, or you may not \
         read it (root and the group systemd-journal may)"
    )
}

fn too_far(who: &Who, boots: usize) -> Error {
    let name = &who.name;
    Error::Told(match boots {
        1 => format!("the journal knows one boot of {name}: --boot 0"),
        _ => format!("the journal knows {boots} boots of {name}: --boot 0 to --boot -{}", boots - 1),
    })
}

fn no_journalctl(e: std::io::Error) -> Error {
    Error::Told(format!("the journal cannot be asked: journalctl: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::Mac;

    #[test]
    fn boots_are_told_apart_in_their_order() {
        let entry = |boot: &str| format!("{{\"__CURSOR\":\"s=1\",\"BOOT\":\"{boot}\"}}\n");
        let entries = [
            entry("0000beef"),
            entry("0000beef"),
            entry("00000007"),
            "{}\nnonsense\n".into(),
            entry("0000beef"),
        ];
        let entries = entries.concat();
        assert_eq!(distinct(entries.as_bytes(), 9), ["0000beef", "00000007"]);
        assert_eq!(distinct(entries.as_bytes(), 1), ["0000beef"], "it reads no further than it must");
        assert!(distinct(&b""[..], 9).is_empty());
        let long = format!("{{\"x\":\"{}\"}}\n{}", "y".repeat(100_000), entry("00000008"));
        assert_eq!(distinct(long.as_bytes(), 1), ["00000008"]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let who = Who { mac: Mac([2, 0, 0, 0, 0, 1]), name: "n01".into(), address: None };
        assert!(silence(&who).contains("n01 (02:00:00:00:00:01)"));
        assert!(too_far(&who, 3).to_string().ends_with("--boot 0 to --boot -2"));
    }
}
