//! The tables of `boottorrentctl status`.
//! Decides their form: what is wrong stands in red below its row; nothing is shown that a terminal would obey.

use super::nodes::{Row as Node, State};
use super::screen::Screen;
use super::seed::Image;
use super::sources::BootFile;
use super::status::Report;
use super::table::{Column, Kind, Row, Tone, cut, lines, toned, wrapped};
use super::units::Service;
use crate::nodelog::clean;

/// Characters of a sentence.
const SENTENCE: usize = 400;
/// Seconds after which a node that should speak is silent.
const SILENT: u64 = 30;
/// Home, and what a line or the screen had behind it (ECMA-48, 8.3.21, 8.3.41, 8.3.39).
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";

const fn column(title: &'static str, kind: Kind) -> Column {
    Column { title, kind }
}

const SERVICES: [Column; 3] =
    [column("SERVICE", Kind::Text), column("SOCKET", Kind::Text), column("STATE", Kind::Text)];
const IMAGES: [Column; 5] = [
    column("IMAGE", Kind::Name),
    column("MB", Kind::Number),
    column("COPIES SENT", Kind::Number),
    column("PEERS", Kind::Number),
    column("STATE", Kind::Text),
];
const NODES: [Column; 9] = [
    column("NODE", Kind::Name),
    column("MAC", Kind::Text),
    column("ADDRESS", Kind::Text),
    column("OS", Kind::Name),
    column("STAGE", Kind::Text),
    column("DONE", Kind::Number),
    column("MB/s", Kind::Number),
    column("PEERS", Kind::Number),
    column("SEEN", Kind::Number),
];

/// All of it, once.
pub(super) fn page(report: &Report, screen: Screen) -> String {
    let mut text = all(report, screen).join("\n");
    text.push('\n');
    text
}

/// All that fits the screen, over what was there before; below the last where there is no screen.
pub(super) fn frame(report: &Report, screen: Screen) -> String {
    let Some(height) = screen.height else { return page(report, screen) + "\n" };
    let mut lines = all(report, screen);
    let room = height.saturating_sub(1).max(1);
    if lines.len() > room {
        let more = lines.len() - room + 1;
        lines.truncate(room.saturating_sub(1));
        lines.push(toned(&format!("… {more} more lines"), Tone::Faint, screen.colour));
    }
    let body: String = lines.iter().map(|line| format!("{line}{REST_OF_LINE}\n")).collect();
    format!("{HOME}{body}{REST_OF_SCREEN}")
}

fn all(report: &Report, screen: Screen) -> Vec<String> {
    let Screen { width, colour, .. } = screen;
    let mut all = vec![cut(&headline(report), width)];
    let trouble = report.trouble.iter().flat_map(|sentence| wrapped(sentence, 0, width));
    all.extend(trouble.map(|line| toned(&line, Tone::Bad, colour)));
    let mut table = |columns: &[Column], rows: Vec<Row>| {
        if !rows.is_empty() {
            all.push(String::new());
            all.extend(lines(columns, &rows, width, colour));
        }
    };
    table(&SERVICES, report.services.iter().map(service).collect());
    table(&IMAGES, report.images.iter().map(image).collect());
    table(&NODES, report.nodes.iter().map(|row| node(row, report.at)).collect());
    if !report.unread.is_empty() {
        all.push(String::new());
    }
    let unread = report.unread.iter().flat_map(|what| wrapped(&format!("not shown: {what}"), 0, width));
    all.extend(unread.map(|line| toned(&line, Tone::Bad, colour)));
    all
}

/// `Site lab, generation 3: 12 nodes, 3 booting, 1 failed, 2 running, 4 started, 2 never seen`
fn headline(report: &Report) -> String {
    let count = |state| report.nodes.iter().filter(|node| node.state == state).count();
    let mut line = format!("Site {}", clean(&report.site, SENTENCE));
    if let Some(number) = report.generation {
        line.push_str(&format!(", generation {number}"));
    }
    let total = report.nodes.len();
    line.push_str(&format!(": {total} {}", if total == 1 { "node" } else { "nodes" }));
    for (state, word) in [
        (State::Firmware, "in firmware"),
        (State::Booting, "booting"),
        (State::Failed, "failed"),
        (State::Running, "running"),
        (State::Started, "started"),
        (State::Off, "off"),
        (State::Unseen, "never seen"),
    ] {
        let count = count(state);
        if count > 0 {
            line.push_str(&format!(", {count} {word}"));
        }
    }
    line
}

fn service(service: &Service) -> Row {
    let Service { name, state, sockets, sentence, restarts } = service;
    let is_well = state.is_well();
    let mut short = if is_well { sentence.clone() } else { word(*state).to_owned() };
    if is_well && *restarts > 0 {
        short.push_str(&format!(" (started again {restarts} times)"));
    }
    Row {
        cells: vec![name.clone(), joined(sockets), short],
        tone: if is_well { Tone::Plain } else { Tone::Bad },
        note: (!is_well).then(|| sentence.clone()),
    }
}

fn word(state: super::units::State) -> &'static str {
    use super::units::State as Is;
    match state {
        Is::Running => "running",
        Is::Listening => "listening",
        Is::Starting => "starting",
        Is::Failed => "failed",
        Is::Stopped => "stopped",
        Is::Masked => "masked",
        Is::Missing => "missing",
    }
}

/// Sockets of one address stand together: `UDP+TCP 10.0.0.1:6969`.
fn joined(sockets: &[String]) -> String {
    let mut places: Vec<(String, &str)> = Vec::new();
    for socket in sockets {
        let (kind, address) = socket.split_once(' ').unwrap_or(("", socket));
        match places.iter_mut().find(|(_, place)| *place == address) {
            Some((kinds, _)) => kinds.push_str(&format!("+{kind}")),
            None => places.push((kind.to_owned(), address)),
        }
    }
    let words: Vec<String> = places.iter().map(|(kinds, address)| format!("{kinds} {address}")).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(", ") }
}

fn image(image: &Image) -> Row {
    let cells = vec![
        image.name.clone(),
        megabytes(image.bytes),
        format!("{:.2}", image.copies),
        image.peers_connected.to_string(),
        image.standing.clone(),
    ];
    let tone = if image.refusal.is_some() { Tone::Bad } else { Tone::Plain };
    Row { cells, tone, note: image.refusal.clone() }
}

fn node(node: &Node, now: u64) -> Row {
    let dash = || "-".to_owned();
    let rate = |rate: u64| if rate == 0 { dash() } else { megabytes(rate) };
    let cells = vec![
        node.name.clone(),
        node.mac.clone(),
        node.address.map_or_else(dash, |address| address.to_string()),
        node.os.clone().unwrap_or_else(dash),
        stage(node, now).unwrap_or_else(dash),
        node.percent.map_or_else(dash, |percent| format!("{percent}%")),
        node.rate.map_or_else(dash, rate),
        node.peers.map_or_else(dash, |peers| peers.to_string()),
        node.last_seen.map_or_else(|| "never".to_owned(), |at| age(now.saturating_sub(at))),
    ];
    let standing = node.last_error.as_ref().filter(|error| !error.overcome);
    let tone = match (node.state, standing) {
        (State::Failed, _) | (_, Some(_)) => Tone::Bad,
        (State::Started | State::Running, None) => Tone::Good,
        (State::Unseen | State::Off, None) => Tone::Faint,
        (State::Booting | State::Firmware, None) => Tone::Plain,
    };
    let about = match (node.state, standing) {
        (State::Firmware, _) => node.boot_file.as_ref().map(boot_file),
        (State::Running, None) => silence(node, now),
        (_, standing) => standing.map(|error| format!("{}: {}", error.stage, error.text)),
    };
    let next = node.next_boot.as_ref().map(|order| {
        format!(
            "next boot, if it comes within {}: {}",
            age(order.until.saturating_sub(now)),
            order.in_words()
        )
    });
    let notes: Vec<String> = about.into_iter().chain(next).collect();
    Row { cells, tone, note: (!notes.is_empty()).then(|| notes.join("; ")) }
}

/// With the time that a program has been running, or a machine off.
fn stage(node: &Node, now: u64) -> Option<String> {
    let stage = node.stage.as_ref()?;
    match (node.state, node.since) {
        (State::Running | State::Off, Some(since)) => {
            let word = if node.state == State::Off { "off" } else { stage };
            Some(format!("{word} {}", age(now.saturating_sub(since))))
        }
        _ => Some(stage.clone()),
    }
}

/// A node that runs a program tells of itself once a second.
fn silence(node: &Node, now: u64) -> Option<String> {
    let seconds = now.saturating_sub(node.last_seen?);
    (seconds > SILENT).then(|| format!("it has said nothing for {}: it may be off", age(seconds)))
}

fn boot_file(file: &BootFile) -> String {
    match &file.failure {
        None => format!("its firmware has {}", file.name),
        Some(failure) => format!("its firmware did not get {}: {failure}", file.name),
    }
}

/// Only for the eye: a tenth is enough.
fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// At most four characters for three years.
fn age(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5999 => format!("{}m", seconds / 60),
        6000..=359_999 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
