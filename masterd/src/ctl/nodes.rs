//! A row for each node: what it has said of its present boot, and those of the site that have said nothing yet.
//! Decides what a node is at and which failure still stands; never what is done about it.

use std::cmp::Ordering;
use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::Mac;
use serde::Serialize;

use super::sources::{BootFile, Sources};
use crate::nodelog::nodes::{Node, Step};

/// A rate that was told longer ago is none any more.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// The site names it, and it has said nothing since the master was switched on.
    Unseen,
    /// Its firmware has fetched a boot file since it last said anything.
    Firmware,
    Booting,
    /// The last thing it said of a stage is a failure.
    Failed,
    /// It has handed over to its operating system.
    Started,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) mac: String,
    pub(super) address: Option<Ipv4Addr>,
    pub(super) os: Option<String>,
    /// Whether the site names it.
    pub(super) listed: bool,
    pub(super) state: State,
    pub(super) stage: Option<String>,
    /// Of the image.
    pub(super) percent: Option<u8>,
    pub(super) bytes_done: Option<u64>,
    pub(super) bytes_total: Option<u64>,
    /// Bytes a second, received and sent.
    pub(super) rate: Option<u64>,
    pub(super) rate_sent: Option<u64>,
    pub(super) peers: Option<u32>,
    pub(super) bytes_master: Option<u64>,
    pub(super) bytes_peers: Option<u64>,
    pub(super) bytes_sent: Option<u64>,
    pub(super) boots: u32,
    /// Seconds since 1970.
    pub(super) last_seen: Option<u64>,
    pub(super) last_error: Option<Failure>,
    /// The last line that was no record, of the system that it booted.
    pub(super) last_line: Option<String>,
    pub(super) boot_file: Option<BootFile>,
}

/// A failure of the present boot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Failure {
    pub(super) stage: String,
    pub(super) text: String,
    /// The stage has ended well since, or one behind it has begun.
    pub(super) overcome: bool,
}

/// By name, numbers by their value.
pub(super) fn rows(sources: &Sources, now: u64) -> Vec<Row> {
    let listed = &sources.config.nodes;
    let mut rows: Vec<Row> = sources.nodes.iter().map(|(mac, node)| seen(mac, node, now)).collect();
    for node in listed {
        let mac = node.mac.to_string();
        let at = rows.iter().position(|row| row.mac == mac).unwrap_or_else(|| {
            rows.push(unseen(&mac));
            rows.len() - 1
        });
        let row = &mut rows[at];
        row.listed = true;
        row.name.clone_from(&node.name);
        row.os = row.os.take().or_else(|| node.os.clone());
        row.address = row.address.or(node.address);
    }
    for row in &mut rows {
        let lease = row.mac.parse::<Mac>().ok().and_then(|mac| sources.leases.get(&mac).copied());
        row.address = row.address.or(lease);
    }
    for (mac, address) in &sources.leases {
        // Nobody's, and yet it boots from here.
        if sources.boot_files.contains_key(address) && !rows.iter().any(|row| row.mac == mac.to_string()) {
            rows.push(Row { name: mac.hyphenated(), address: Some(*address), ..unseen(&mac.to_string()) });
        }
    }
    for row in &mut rows {
        note_boot_file(row, sources);
    }
    rows.sort_by(|a, b| natural(&a.name, &b.name).then_with(|| a.mac.cmp(&b.mac)));
    rows
}

/// Whoever fetches boot files again has started anew, whatever it said before.
fn note_boot_file(row: &mut Row, sources: &Sources) {
    let Some(file) = row.address.and_then(|address| sources.boot_files.get(&address)) else { return };
    if row.last_seen.is_none_or(|seen| seen < file.at) {
        let Row { name, mac, address, os, listed, boots, .. } = row.clone();
        let stage = Some("firmware".to_owned());
        let last_seen = Some(file.at);
        *row = Row {
            name,
            address,
            os,
            listed,
            boots,
            state: State::Firmware,
            stage,
            last_seen,
            ..unseen(&mac)
        };
    }
    row.boot_file = Some(file.clone());
}

fn unseen(mac: &str) -> Row {
    Row {
        name: String::new(),
        mac: mac.to_owned(),
        address: None,
        os: None,
        listed: false,
        state: State::Unseen,
        stage: None,
        percent: None,
        bytes_done: None,
        bytes_total: None,
        rate: None,
        rate_sent: None,
        peers: None,
        bytes_master: None,
        bytes_peers: None,
        bytes_sent: None,
        boots: 0,
        last_seen: None,
        last_error: None,
        last_line: None,
        boot_file: None,
    }
}

fn seen(mac: &str, node: &Node, now: u64) -> Row {
    let told = node.steps.iter().rfind(|step| step.event != "note").or(node.steps.last());
    let figures = node.progress.as_ref();
    let fresh = figures.filter(|figures| now.saturating_sub(figures.at) <= FRESH.as_secs());
    let done = figures.filter(|figures| figures.bytes_total > 0);
    let stage = told.map(|step| step.stage.clone()).or_else(|| figures.map(|figures| figures.stage.clone()));
    Row {
        name: node.name.clone(),
        address: Some(node.address).filter(|address| !address.is_unspecified()),
        os: node.os.clone(),
        state: state(told),
        stage,
        percent: done.map(|figures| percent(figures.bytes_done, figures.bytes_total)),
        bytes_done: done.map(|figures| figures.bytes_done),
        bytes_total: done.map(|figures| figures.bytes_total),
        rate: fresh.map(|figures| figures.rate),
        rate_sent: fresh.map(|figures| figures.rate_sent),
        peers: fresh.map(|figures| figures.peers),
        bytes_master: node.bytes_master,
        bytes_peers: node.bytes_peers,
        bytes_sent: figures.map(|figures| figures.bytes_sent),
        boots: node.boots,
        last_seen: Some(node.last_seen),
        last_error: last_error(&node.steps),
        last_line: node.line.clone(),
        ..unseen(mac)
    }
}

fn state(told: Option<&Step>) -> State {
    match told.map(|step| (step.stage.as_str(), step.event.as_str())) {
        Some((_, "fail")) => State::Failed,
        Some(("kexec", "end")) => State::Started,
        _ => State::Booting,
    }
}

fn last_error(steps: &[Step]) -> Option<Failure> {
    let at = steps.iter().rposition(|step| step.event == "fail")?;
    let failed = steps.get(at)?;
    // The table of stages goes back after a failure, so that an earlier stage that begins again is no way out.
    let before = |step: &Step| steps.iter().take(at).any(|earlier| earlier.stage == step.stage);
    let overcome = steps.iter().skip(at + 1).any(|step| match step.event.as_str() {
        "end" => step.stage == failed.stage,
        "begin" => step.stage != failed.stage && !before(step),
        _ => false,
    });
    Some(Failure { stage: failed.stage.clone(), text: failed.cause.clone(), overcome })
}

fn percent(done: u64, total: u64) -> u8 {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    u8::try_from(percent).unwrap_or(100).min(100)
}

/// `n2` before `n10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    loop {
        let (left, right) = (part(rest_a), part(rest_b));
        let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        // By their digits, however many: a name may be anything, and the order must be one all the same.
        let size = |number: &str| number.trim_start_matches('0').len();
        let order = if is_number(left) && is_number(right) {
            size(left)
                .cmp(&size(right))
                .then_with(|| left.trim_start_matches('0').cmp(right.trim_start_matches('0')))
        } else {
            left.cmp(right)
        };
        if order != Ordering::Equal || left.is_empty() {
            return order.then_with(|| a.cmp(b));
        }
        (rest_a, rest_b) = (&rest_a[left.len()..], &rest_b[right.len()..]);
    }
}

/// Digits, or what is none, up to the next change.
fn part(text: &str) -> &str {
    let Some(first) = text.chars().next() else { return text };
    let end = text.find(|c: char| c.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::sources::tests::sources;

    #[test]
    fn who_was_never_seen_is_listed_and_who_is_not_listed_is_shown() {
        let rows = rows(&sources(), 1003);
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["n01", "n02", "n03", "visitor"]);
        let states: Vec<State> = rows.iter().map(|row| row.state).collect();
        assert_eq!(states, [State::Booting, State::Unseen, State::Unseen, State::Failed]);
        let [one, two, three, visitor] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(
            (one.stage.as_deref(), one.percent, one.rate),
            (Some("download"), Some(25), Some(12_000_000))
        );
        assert!(one.listed && one.last_error.as_ref().is_some_and(|e| e.overcome && e.stage == "lease"));
        assert_eq!((two.os.as_deref(), two.last_seen), (Some("debian"), None));
        assert_eq!(three.address, Some(Ipv4Addr::new(10, 0, 0, 103)), "of its lease");
        assert!(!visitor.listed && visitor.last_error.as_ref().is_some_and(|e| !e.overcome));
    }

    #[test]
    fn a_machine_in_its_firmware_is_no_mystery() {
        let mut sources = sources();
        let file = |at| BootFile { name: "boot/boot.ipxe".into(), at, failure: None };
        let of = |last: [u8; 4], at| (Ipv4Addr::from(last), file(at));
        sources.leases.insert(Mac([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(10, 0, 0, 107));
        // n01 spoke at 1000, n03 never did, and nobody named the last one.
        sources.boot_files =
            [of([10, 0, 0, 11], 999), of([10, 0, 0, 103], 1002), of([10, 0, 0, 107], 1001)].into();
        let rows = rows(&sources, 1003);
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!((row("n01").state, row("n03").state), (State::Booting, State::Firmware));
        assert_eq!((row("n03").stage.as_deref(), row("n03").last_seen), (Some("firmware"), Some(1002)));
        assert_eq!(row("n03").boot_file, Some(file(1002)));
        assert_eq!(row("02-00-00-00-00-07").state, State::Firmware);
        sources.boot_files = [of([10, 0, 0, 11], 1001)].into();
        let again = super::rows(&sources, 1003);
        assert_eq!((again[0].state, again[0].percent, &again[0].last_error), (State::Firmware, None, &None));
    }

    #[test]
    fn an_old_rate_is_none() {
        let rows = rows(&sources(), 2000);
        assert_eq!((rows[0].rate, rows[0].percent), (None, Some(25)));
    }

    #[test]
    fn going_back_after_a_failure_does_not_overcome_it() {
        let step = |sequence, stage: &str, event: &str| {
            let step =
                serde_json::json!({ "stage": stage, "event": event, "seconds": 1.0, "sequence": sequence });
            serde_json::from_value::<Step>(step).unwrap()
        };
        let mut steps = vec![step(1, "link", "begin"), step(2, "link", "end"), step(3, "lease", "fail")];
        assert!(!last_error(&steps).unwrap().overcome);
        steps.extend([step(4, "link", "begin"), step(5, "link", "end"), step(6, "lease", "begin")]);
        assert!(!last_error(&steps).unwrap().overcome, "it only tries again");
        steps.push(step(7, "lease", "end"));
        assert!(last_error(&steps).unwrap().overcome);
        assert_eq!(last_error(&steps[..2]), None);
    }

    #[test]
    fn numbers_are_sorted_by_value() {
        let mut names = [
            "n10",
            "n9",
            "n09",
            "a",
            "",
            "n9b",
            "n9a",
            "99999999999999999999999",
            "n99999999999999999999999",
        ];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "",
                "99999999999999999999999",
                "a",
                "n09",
                "n9",
                "n9a",
                "n9b",
                "n10",
                "n99999999999999999999999"
            ]
        );
    }

    #[test]
    fn percents_survive_nonsense() {
        assert_eq!((percent(u64::MAX, u64::MAX), percent(5, 0), percent(1, 3)), (100, 100, 33));
    }
}
