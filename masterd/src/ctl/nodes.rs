//! A row for each node: what it has said of its present boot, and those of the site that have said nothing yet.
//! Decides what a node is at and which failure still stands; never what is done about it.

use std::cmp::Ordering;
use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::Mac;
use serde::Serialize;

use super::sources::{BootFile, Sources};
use crate::nodelog::nodes::{Node, Step};
use crate::orders::Order;

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
    /// It runs a program, and serves its image meanwhile.
    Running,
    /// It has handed over to its operating system.
    Started,
    /// It has said that it goes off.
    Off,
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
    /// When that stage began, ended or failed; seconds since 1970.
    pub(super) since: Option<u64>,
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
    /// What it boots next, once.
    pub(super) next_boot: Option<Order>,
}

/// A failure of the present boot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Failure {
    pub(super) stage: String,
    pub(super) text: String,
    /// The stage has ended well since, or one behind it has begun, or the boot has come to its end.
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
        let lease = row.mac.parse::<Mac>().ok().and_then(|mac| sources.leases.get(&mac));
        row.address = row.address.or(lease.map(|lease| lease.address));
    }
    // Nobody's, and yet it boots from here, or is to.
    let booting =
        sources.leases.iter().filter(|(mac, lease)| sources.boot_file(**mac, lease.address).is_some());
    let ordered = sources.orders.iter().filter(|(_, order)| order.until >= now).map(|(mac, _)| mac);
    for mac in booting.map(|(mac, _)| mac).chain(ordered) {
        if !rows.iter().any(|row| row.mac == mac.to_string()) {
            let address = sources.leases.get(mac).map(|lease| lease.address);
            rows.push(Row { name: mac.hyphenated(), address, ..unseen(&mac.to_string()) });
        }
    }
    for row in &mut rows {
        let Ok(mac) = row.mac.parse::<Mac>() else { continue };
        note_boot_file(row, mac, sources);
        row.next_boot = sources.orders.get(&mac).filter(|order| order.until >= now).cloned();
    }
    rows.sort_by(|a, b| natural(&a.name, &b.name).then_with(|| a.mac.cmp(&b.mac)));
    rows
}

/// Whoever fetches boot files again has started anew, whatever it said before.
fn note_boot_file(row: &mut Row, mac: Mac, sources: &Sources) {
    let address = sources.leases.get(&mac).map(|lease| lease.address).or(row.address);
    let Some(file) = address.and_then(|address| sources.boot_file(mac, address)) else { return };
    if row.last_seen.is_none_or(|seen| seen < file.at) {
        let Row { name, mac, os, listed, boots, .. } = row.clone();
        *row = Row {
            name,
            address,
            os,
            listed,
            boots,
            state: State::Firmware,
            stage: Some("firmware".to_owned()),
            since: Some(file.at),
            last_seen: Some(file.at),
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
        since: None,
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
        next_boot: None,
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
        since: told.map(|step| step.at).filter(|at| *at > 0),
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
    match told {
        Some(step) if step.event == "fail" => State::Failed,
        Some(step) if is_running(step) => State::Running,
        Some(step) if is_started(step) => State::Started,
        // The other thing that a node says of its power is that it reboots.
        Some(step) if step.stage == "power" && step.cause.starts_with("powering off") => State::Off,
        _ => State::Booting,
    }
}

fn is_running(step: &Step) -> bool {
    (step.stage.as_str(), step.event.as_str()) == ("run", "begin")
}

fn is_started(step: &Step) -> bool {
    (step.stage.as_str(), step.event.as_str()) == ("kexec", "end")
}

fn last_error(steps: &[Step]) -> Option<Failure> {
    let at = steps.iter().rposition(|step| step.event == "fail")?;
    let failed = steps.get(at)?;
    let (earlier, later) = (steps.iter().take(at), steps.iter().skip(at + 1));
    // The table of stages goes back after a failure, so that an earlier stage that begins again is no way out.
    let before = |step: &Step| earlier.clone().any(|earlier| earlier.stage == step.stage);
    // A worker that died is no stage: what it was at is what has to end.
    let interrupted =
        earlier.clone().rfind(|step| step.event == "begin").filter(|_| failed.stage == "worker");
    let wanted = interrupted.map_or(&failed.stage, |step| &step.stage);
    let overcome = later.into_iter().any(|step| match step.event.as_str() {
        _ if is_running(step) || is_started(step) => true,
        "end" => step.stage == *wanted,
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
    use crate::ctl::sources::Leased;
    use crate::ctl::sources::tests::sources;
    use crate::orders::Author;

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
        let leased = Leased { address: Ipv4Addr::new(10, 0, 0, 107), booted: Some(1000) };
        sources.leases.insert(Mac([2, 0, 0, 0, 0, 7]), leased);
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

    /// A boot in the order of its records: stage and event.
    fn boot(records: &[(&str, &str)]) -> Vec<Step> {
        let step = |(at, (stage, event)): (usize, &(&str, &str))| {
            let cause = if *stage == "power" { "powering off: asked for at the menu" } else { "why" };
            let step = serde_json::json!({
                "stage": stage, "event": event, "seconds": 1.0, "sequence": at, "cause": cause, "at": 1000 + at,
            });
            serde_json::from_value(step).unwrap()
        };
        records.iter().enumerate().map(step).collect()
    }

    #[test]
    fn a_program_runs_and_a_machine_goes_off() {
        let state_of = |records: &[(&str, &str)]| state(boot(records).last());
        assert_eq!(state_of(&[("layout", "end"), ("run", "begin")]), State::Running);
        assert_eq!(state_of(&[("run", "begin"), ("run", "end")]), State::Booting, "the menu is next");
        assert_eq!(state_of(&[("run", "begin"), ("run", "fail")]), State::Failed);
        assert_eq!(state_of(&[("kexec", "end")]), State::Started);
        assert_eq!(state_of(&[("choice", "begin"), ("power", "end")]), State::Off);
    }

    #[test]
    fn a_crash_is_overcome_by_what_it_interrupted_and_by_a_good_end() {
        let crash = [("lease", "end"), ("download", "begin"), ("worker", "fail")];
        let after = |more: &[(&str, &str)]| last_error(&boot(&[&crash, more].concat())).unwrap().overcome;
        assert!(!after(&[("lease", "begin"), ("lease", "end"), ("download", "begin")]));
        assert!(after(&[("lease", "end"), ("download", "begin"), ("download", "end")]));
        let last = [("run", "begin"), ("worker", "fail"), ("lease", "end"), ("download", "end")];
        assert!(!last_error(&boot(&last)).unwrap().overcome);
        assert!(last_error(&boot(&[&last[..], &[("run", "begin")]].concat())).unwrap().overcome);
        let last = [("kexec", "begin"), ("worker", "fail"), ("kexec", "begin"), ("kexec", "end")];
        assert!(last_error(&boot(&last)).unwrap().overcome, "a good boot");
    }

    #[test]
    fn an_order_is_shown_until_its_time_is_over() {
        let mut sources = sources();
        let order = Order { os: None, until: 1010, by: Author::Master };
        let stranger = Mac([2, 0, 0, 0, 0, 9]);
        sources.orders = [(Mac([0x52, 0x54, 0, 0, 0, 2]), order.clone()), (stranger, order.clone())].into();
        let shown = |sources: &Sources, now| {
            let rows = rows(sources, now);
            let ordered = rows.into_iter().filter(|row| row.next_boot.is_some());
            ordered.map(|row| row.name).collect::<Vec<_>>()
        };
        assert_eq!(shown(&sources, 1010), ["02-00-00-00-00-09", "n02"]);
        assert!(shown(&sources, 1011).is_empty());
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
