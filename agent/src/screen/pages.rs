//! The pages: each writes its rows and returns the help that stands below them.
//!
//! Decides what a person sees of a model. Never what a key does.

use std::time::Duration;

use super::model::{Download, Entry, Menu, Model, Outcome};
use super::view::{BOLD, PLAIN, RED, REVERSED, Sheet, bytes, columns, cut, padded, pair_lines};

/// Rows below the menu's list: how much more there is, local disk, countdown.
const BELOW_LIST: usize = 3;
/// Columns right of an entry's title: size, memory, mark.
const FACTS: usize = 36;
const MIB: u64 = 1 << 20;
/// Rows of the pieces map.
const MAP_ROWS: usize = 3;
const LESS_COMMON: &str = "d details   l log   p power off   r reboot";
const READING: &str = "arrows, page up and down: scroll   Esc: back";

pub(super) fn menu(model: &Model, sheet: &mut Sheet<'_>) -> String {
    let Some(menu) = &model.menu else { return LESS_COMMON.into() };
    if let Some(notice) = &menu.notice {
        sheet.text(&format!("! {notice}"), RED);
        sheet.skip(1);
    }
    sheet.line("Choose an operating system", BOLD);
    sheet.skip(1);
    // What an entry lacks gets its row whichever is selected, so that the list stands still.
    let why = usize::from(menu.entries.iter().any(|entry| entry.blocked.is_some()));
    let rows = sheet.left().saturating_sub(BELOW_LIST + why).max(1);
    let first = first_row(menu.entries.len(), menu.selected, rows);
    for (at, entry) in menu.entries.iter().enumerate().skip(first).take(rows) {
        let line = entry_line(menu, at, entry, sheet.width());
        if at == menu.selected { sheet.bar(&line, REVERSED) } else { sheet.line(&line, PLAIN) }
    }
    let behind = menu.entries.len().saturating_sub(first + rows);
    match (first, behind) {
        (0, 0) => sheet.skip(1),
        (above, below) => sheet.line(&format!("     ▲ {above} more   ▼ {below} more"), PLAIN),
    }
    let blocked = menu.entries.get(menu.selected).and_then(|entry| entry.blocked.as_deref());
    if let Some(blocked) = blocked {
        sheet.line(blocked, RED);
    }
    sheet.skip_to_last(2);
    match &menu.local_disk {
        Some(Ok(what)) => sheet.line(&format!("b  boot from local disk: {what}"), PLAIN),
        Some(Err(why)) => sheet.line(&format!("b  local disk: no; {why}"), PLAIN),
        None => sheet.skip(1),
    }
    let default = menu.entries.get(menu.selected).map_or("", |entry| entry.title.as_str());
    if let Some(seconds) = menu.seconds_left {
        let (title, _) = cut(default, sheet.width().saturating_sub(46));
        sheet.line(&format!("{title} starts in {seconds} s; any key stops the countdown"), BOLD);
    }
    format!("arrows, number, Enter   {LESS_COMMON}")
}

/// Which entry stands in the first of `rows` rows so that the selected one is seen, in the middle where possible.
fn first_row(entries: usize, selected: usize, rows: usize) -> usize {
    selected.saturating_sub(rows / 2).min(entries.saturating_sub(rows))
}

fn entry_line(menu: &Menu, at: usize, entry: &Entry, width: usize) -> String {
    let mark = if at == menu.selected { '>' } else { ' ' };
    let title = padded(&entry.title, width.saturating_sub(FACTS + 6));
    let memory = format!("{} MiB", entry.memory.div_ceil(MIB));
    let last = match (&entry.blocked, menu.default == Some(at)) {
        (Some(_), _) => "too small",
        (None, true) => "default",
        (None, false) => "",
    };
    let size = bytes(entry.bytes);
    format!("{mark} {:>3} {title} {size:>8}  {memory:>10} RAM  {last:<9}", at + 1)
}

pub(super) fn stages(model: &Model, now: Duration, sheet: &mut Sheet<'_>) -> String {
    let rows = sheet.left().saturating_sub(2);
    for stage in model.stages.iter().skip(model.stages.len().saturating_sub(rows)) {
        let (mark, took, style) = match stage.outcome {
            Outcome::Running => ("now", now.saturating_sub(stage.begun), BOLD),
            Outcome::Done(took) => ("ok", took, PLAIN),
            Outcome::Failed(took) => ("FAILED", took, RED),
        };
        let line = format!("{mark:<7}{:<9} {:>6.1} s  {}", stage.name, took.as_secs_f64(), stage.text);
        sheet.line(&line, style);
    }
    sheet.skip(1);
    sheet.line(&model.progress, PLAIN);
    LESS_COMMON.into()
}

pub(super) fn download(model: &Model, sheet: &mut Sheet<'_>) -> String {
    let Some(download) = &model.download else { return LESS_COMMON.into() };
    sheet.line(&download.title, BOLD);
    sheet.skip(1);
    let share = download.bytes_done as f64 / download.bytes_total.max(1) as f64;
    let width = sheet.width().saturating_sub(9);
    let filled = ((share * width as f64) as usize).min(width);
    let bar = format!("{}{}", "█".repeat(filled), "░".repeat(width - filled));
    sheet.line(&format!("{bar}  {:5.1} %", share * 100.0), PLAIN);
    let left = match download.seconds_left {
        _ if download.bytes_done >= download.bytes_total => "complete".into(),
        Some(seconds) => format!("{} left", duration(seconds)),
        None if download.bytes_done == 0 => "waiting for the first bytes".into(),
        None => "nothing comes at the moment".into(),
    };
    let (done, total, rate) =
        (bytes(download.bytes_done), bytes(download.bytes_total), bytes(download.rate as u64));
    sheet.line(&format!("{:<24}{:<16}{left}", format!("{done} of {total}"), format!("{rate}/s")), PLAIN);
    sheet.skip(1);
    map(download, sheet);
    sheet.skip(1);
    sheet.pair("peers", &download.peers.to_string(), PLAIN);
    let all = download.bytes_master + download.bytes_nodes;
    let of = |part: u64| format!("{:<9} {:>3} %", bytes(part), part * 100 / all.max(1));
    sheet.pair("from the master", &of(download.bytes_master), PLAIN);
    sheet.pair("from nodes", &of(download.bytes_nodes), PLAIN);
    sheet.pair("sent to nodes", &bytes(download.bytes_sent), PLAIN);
    if let Some(trouble) = &download.tracker_trouble {
        sheet.pair("tracker", trouble, PLAIN);
    } else if !model.progress.is_empty() {
        sheet.line(&model.progress, PLAIN);
    }
    LESS_COMMON.into()
}

/// Each character stands for one piece or for several: all here, some, none.
fn map(download: &Download, sheet: &mut Sheet<'_>) {
    let pieces = &download.pieces;
    let width = sheet.width();
    let per_cell = pieces.len().div_ceil(width * MAP_ROWS).max(1);
    let cells: String = pieces
        .chunks(per_cell)
        .map(|cell| match cell.iter().filter(|here| **here).count() {
            0 => '·',
            here if here == cell.len() => '█',
            _ => '▒',
        })
        .collect();
    let here = pieces.iter().filter(|here| **here).count();
    sheet.line(&format!("pieces: {here} of {}", pieces.len()), PLAIN);
    for row in 0..MAP_ROWS {
        let line: String = cells.chars().skip(row * width).take(width).collect();
        if row == 0 || !line.is_empty() {
            sheet.line(&line, PLAIN);
        }
    }
}

pub(super) fn failure(model: &Model, now: Duration, sheet: &mut Sheet<'_>) -> String {
    let Some(failure) = &model.failure else { return LESS_COMMON.into() };
    sheet.line(&format!("The stage \"{}\" failed", failure.stage), BOLD);
    sheet.skip(1);
    sheet.text(&failure.sentence, RED);
    sheet.skip(1);
    if let Some(at) = failure.again_at {
        let seconds = at.saturating_sub(now).as_millis().div_ceil(1000);
        sheet.line(&format!("Trying again in {seconds} s. Enter: now"), BOLD);
    }
    sheet.skip(1);
    for stage in model.stages.iter().filter(|stage| !matches!(stage.outcome, Outcome::Failed(_))) {
        sheet.line(&format!("ok     {:<9} {}", stage.name, stage.text), PLAIN);
    }
    format!("Enter: try again now   {LESS_COMMON}")
}

pub(super) fn details(model: &Model, sheet: &mut Sheet<'_>) -> String {
    let chosen = model.menu.as_ref().and_then(|menu| menu.entries.get(menu.selected));
    let image = chosen.map_or(&model.details, |entry| &entry.details);
    let mut lines = Vec::new();
    for (label, text) in image.iter().chain(&model.facts) {
        lines.extend(pair_lines(label, text, sheet.width()));
    }
    let first = model.scrolled.min(lines.len().saturating_sub(sheet.left()));
    for line in lines.iter().skip(first) {
        sheet.line(line, PLAIN);
    }
    READING.into()
}

/// The newest line stands last; a line of more columns than the page has takes several rows.
pub(super) fn log(model: &Model, sheet: &mut Sheet<'_>) -> String {
    let rows = sheet.left();
    let last = model.log.len().saturating_sub(model.scrolled).max(rows.min(model.log.len()));
    let mut shown = Vec::new();
    for line in model.log.iter().take(last).rev() {
        let lines = if columns(line) <= sheet.width() {
            vec![line.clone()]
        } else {
            super::view::wrapped(line, sheet.width())
        };
        shown.extend(lines.into_iter().rev());
        if shown.len() >= rows {
            break;
        }
    }
    shown.truncate(rows);
    for line in shown.iter().rev() {
        sheet.line(line, PLAIN);
    }
    READING.into()
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}
