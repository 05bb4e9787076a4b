//! Rows under a heading, as narrow as their content, and made to fit a terminal.
//! Decides widths and colours; never what stands in a cell.

use std::fmt::Write as _;

use crate::nodelog::clean;

/// Characters of a cell that is as long as it likes.
const CELL: usize = 400;
/// What a name that must give way keeps.
const SHORTEST: usize = 6;

/// Blanks before a note.
const NOTE_INDENT: usize = 4;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Faint,
}

impl Tone {
    /// SGR parameters (ECMA-48, 8.3.117).
    fn code(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Bad => Some("31"),
            Tone::Faint => Some("2"),
        }
    }
}

/// How a column behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Cut, with a sign that it is, where the line would be too long.
    Name,
    Number,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    pub(super) tone: Tone,
    /// A sentence below it, about it.
    pub(super) note: Option<String>,
}

/// The lines of a table.
pub(super) fn lines(columns: &[Column], rows: &[Row], width: Option<usize>, colour: bool) -> Vec<String> {
    let rows: Vec<Row> = rows
        .iter()
        .map(|row| Row { cells: row.cells.iter().map(|cell| clean(cell, CELL)).collect(), ..row.clone() })
        .collect();
    let mut widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.cells.get(at)).map(|cell| cell.chars().count());
            cells.chain([column.title.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let gap = squeeze(columns, &mut widths, width);
    let titles: Vec<String> = columns.iter().map(|column| column.title.to_owned()).collect();
    let mut lines = vec![paint(&line(columns, &titles, &widths, gap, width), "1", colour)];
    for row in &rows {
        lines.push(toned(&line(columns, &row.cells, &widths, gap, width), row.tone, colour));
        if let Some(note) = &row.note {
            lines.extend(wrapped(note, NOTE_INDENT, width).iter().map(|line| toned(line, row.tone, colour)));
        }
    }
    lines
}

/// Narrows what may be narrowed; returns the blanks between columns.
fn squeeze(columns: &[Column], widths: &mut [usize], width: Option<usize>) -> usize {
    let Some(width) = width else { return 2 };
    let all =
        |widths: &[usize], gap: usize| widths.iter().sum::<usize>() + gap * columns.len().saturating_sub(1);
    if all(widths, 2) <= width {
        return 2;
    }
    while all(widths, 1) > width {
        let names = columns.iter().zip(widths.iter_mut()).filter(|(column, _)| column.kind == Kind::Name);
        match names.map(|(_, width)| width).max_by_key(|width| **width) {
            Some(widest) if *widest > SHORTEST => *widest -= 1,
            _ => break,
        }
    }
    1
}

fn line(columns: &[Column], cells: &[String], widths: &[usize], gap: usize, width: Option<usize>) -> String {
    let mut text = String::new();
    for ((column, cell), wide) in columns.iter().zip(cells).zip(widths) {
        if !text.is_empty() {
            text.push_str(&" ".repeat(gap));
        }
        let cell = cut(cell, Some(*wide));
        // Writing to a String cannot fail.
        let _ = match column.kind {
            Kind::Number => write!(text, "{cell:>wide$}"),
            Kind::Text | Kind::Name => write!(text, "{cell:<wide$}"),
        };
    }
    cut(text.trim_end(), width)
}

/// At most this long; what was cut ends with a sign.
pub(super) fn cut(text: &str, width: Option<usize>) -> String {
    match width {
        Some(width) if text.chars().count() > width => {
            text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
        }
        _ => text.to_owned(),
    }
}

/// A sentence in lines that fit, each begun with so many blanks.
pub(super) fn wrapped(sentence: &str, indent: usize, width: Option<usize>) -> Vec<String> {
    let blank = " ".repeat(indent);
    let sentence = clean(sentence, CELL);
    let Some(room) = width.map(|width| width.saturating_sub(indent).max(1)) else {
        return vec![format!("{blank}{sentence}")];
    };
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(cut(word, Some(room))),
        }
    }
    lines.iter().map(|line| format!("{blank}{line}")).collect()
}

pub(super) fn toned(line: &str, tone: Tone, colour: bool) -> String {
    tone.code().map_or_else(|| line.to_owned(), |code| paint(line, code, colour))
}

fn paint(line: &str, code: &str, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{line}\x1b[0m") } else { line.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NODE", kind: Kind::Name },
        Column { title: "MAC", kind: Kind::Text },
        Column { title: "DONE", kind: Kind::Number },
    ];

    fn row(cells: [&str; 3], note: Option<&str>) -> Row {
        Row { cells: cells.map(str::to_owned).to_vec(), tone: Tone::Bad, note: note.map(str::to_owned) }
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let rows =
            [row(["n01", "52:54", "7%"], None), row(["a-longer-name", "52", "100%"], Some("no\x1b[2J"))];
        let lines = lines(&COLUMNS, &rows, None, false);
        assert_eq!(
            lines,
            [
                "NODE           MAC    DONE",
                "n01            52:54    7%",
                "a-longer-name  52     100%",
                "    no [2J",
            ]
        );
    }

    #[test]
    fn names_give_way_and_nothing_wraps() {
        let rows =
            [row(["a-very-long-name", "52:54:00:00:00:01", "7%"], Some("a long reason why it failed"))];
        let narrow = lines(&COLUMNS, &rows, Some(34), false);
        assert_eq!(narrow[1], "a-very-lon… 52:54:00:00:00:01   7%");
        for width in [5, 20, 29, 34] {
            assert!(lines(&COLUMNS, &rows, Some(width), false).iter().all(|l| l.chars().count() <= width));
        }
    }

    #[test]
    fn colours_are_asked_for() {
        let rows = [row(["n01", "52", "7%"], None)];
        assert_eq!(lines(&COLUMNS, &rows, None, true)[1], "\x1b[31mn01   52     7%\x1b[0m");
    }
}
