//! The frame around every page, drawn from the model alone: same model, same terminal, same cells.
//!
//! Decides how things look on 80 columns and on more. Never says anything by colour only.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::layout::Layout;
use super::model::{Model, Page, Question};
use super::pages;

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const REVERSED: Style = Style::new().add_modifier(Modifier::REVERSED);
pub(super) const RED: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// The whole screen; the rows of the log are left empty, since the terminal scrolls them by itself.
pub(crate) fn render(model: &Model, layout: &Layout, now: Duration) -> Buffer {
    let mut buffer = Buffer::empty(layout.area());
    header(model, layout, &mut buffer);
    let mut sheet = Sheet { buffer: &mut buffer, area: layout.page(), row: 0 };
    let help = match model.page() {
        Page::Menu => pages::menu(model, &mut sheet),
        Page::Stages => pages::stages(model, now, &mut sheet),
        Page::Download => pages::download(model, &mut sheet),
        Page::Failure => pages::failure(model, now, &mut sheet),
        Page::Details => pages::details(model, &mut sheet),
        Page::Log => pages::log(model, &mut sheet),
    };
    rule(layout, &mut buffer);
    let (help, style) = match model.question {
        Some(Question::PowerOff) => (" Power off? y: yes   any other key: no".to_owned(), RED),
        Some(Question::Reboot) => (" Reboot? y: yes   any other key: no".to_owned(), RED),
        None if model.has_shell => (format!(" {help}   s shell"), PLAIN),
        None => (format!(" {help}"), PLAIN),
    };
    buffer.set_stringn(0, layout.help_row(), help, layout.columns.into(), style);
    buffer
}

fn header(model: &Model, layout: &Layout, buffer: &mut Buffer) {
    let row = Rect::new(0, 0, layout.columns, 1);
    buffer.set_style(row, REVERSED);
    let node = &model.node;
    let mut right = [node.name.as_str(), node.mac.as_str(), node.address.as_str()]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>();
    let speed = node.speed_mbit.map(|mbit| format!("{mbit} Mbit/s"));
    right.extend(speed.as_deref());
    let right = right.join("  ");
    let width = usize::from(layout.columns).saturating_sub(2);
    // Who this node is goes before where it is: the site's name gets what is left.
    let (right, right_columns) = cut(&right, width);
    let left =
        if node.site.is_empty() { "BootTorrent".into() } else { format!("BootTorrent  {}", node.site) };
    let (left, _) = cut(&left, width.saturating_sub(right_columns + 2));
    buffer.set_stringn(1, 0, left, width, REVERSED);
    let x = layout.columns.saturating_sub(1).saturating_sub(right_columns as u16);
    buffer.set_stringn(x, 0, right, width, REVERSED);
}

fn rule(layout: &Layout, buffer: &mut Buffer) {
    let line = "─".repeat(layout.columns.into());
    buffer.set_stringn(0, layout.rule_row(), line, layout.columns.into(), PLAIN);
    buffer.set_stringn(2, layout.rule_row(), " log ", 5, PLAIN);
}

/// The rows of a page, written from top to bottom; what does not fit is not written.
pub(super) struct Sheet<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    row: u16,
}

impl Sheet<'_> {
    pub(super) fn width(&self) -> usize {
        self.area.width.into()
    }

    /// Rows that are still free.
    pub(super) fn left(&self) -> usize {
        self.area.height.saturating_sub(self.row).into()
    }

    pub(super) fn skip(&mut self, rows: u16) {
        self.row = self.row.saturating_add(rows);
    }

    /// Goes on `rows` above the end of the page.
    pub(super) fn skip_to_last(&mut self, rows: u16) {
        self.row = self.row.max(self.area.height.saturating_sub(rows));
    }

    pub(super) fn line(&mut self, text: &str, style: Style) {
        if self.left() > 0 {
            let (text, _) = cut(text, self.width());
            self.buffer.set_stringn(self.area.x, self.area.y + self.row, text, self.width(), style);
        }
        self.skip(1);
    }

    /// A line that is marked from edge to edge.
    pub(super) fn bar(&mut self, text: &str, style: Style) {
        if self.left() > 0 {
            let row = Rect::new(self.area.x, self.area.y + self.row, self.area.width, 1);
            self.buffer.set_style(row, style);
        }
        self.line(text, style);
    }

    /// A text with as many lines as it takes.
    pub(super) fn text(&mut self, text: &str, style: Style) {
        for line in wrapped(text, self.width()) {
            self.line(&line, style);
        }
    }

    /// Label and text, the text's further lines below it.
    pub(super) fn pair(&mut self, label: &str, text: &str, style: Style) {
        for line in pair_lines(label, text, self.width()) {
            self.line(&line, style);
        }
    }
}

/// Columns of a label; longer ones push their text.
const LABEL: usize = 17;

pub(super) fn pair_lines(label: &str, text: &str, width: usize) -> Vec<String> {
    let lines = wrapped(text, width.saturating_sub(LABEL + 1).max(1));
    let label = |at| if at == 0 { label } else { "" };
    lines.iter().enumerate().map(|(at, line)| format!("{:<LABEL$} {line}", label(at))).collect()
}

/// As much of the text as fits into `width` columns, and how many it takes; a tilde stands for what does not.
pub(super) fn cut(text: &str, width: usize) -> (String, usize) {
    let columns = columns(text);
    if columns <= width {
        return (text.to_owned(), columns);
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let mut buffer = [0; 4];
        let wide = self::columns(c.encode_utf8(&mut buffer));
        if used + wide + 1 > width {
            break;
        }
        kept.push(c);
        used += wide;
    }
    if width > used {
        kept.push('~');
        used += 1;
    }
    (kept, used)
}

/// The text filled up with spaces, or cut, to just `width` columns.
pub(super) fn padded(text: &str, width: usize) -> String {
    let (mut text, used) = cut(text, width);
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    text
}

/// Lines of at most `width` columns, broken at spaces where there are any.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            let mut word = word;
            if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            while columns(word) > width {
                let end = word.char_indices().nth(width.max(1)).map_or(word.len(), |(end, _)| end);
                let (head, rest) = word.split_at(end);
                lines.push(head.to_owned());
                word = rest;
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

pub(super) fn columns(text: &str) -> usize {
    use ratatui::buffer::CellWidth as _;
    text.cell_width().into()
}

/// A size with three digits or so: `48.0 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut value = bytes as f64 / 1e3;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 999.95 {
        let Some(next) = units.next() else { break };
        value /= 1e3;
        unit = Some(next);
    }
    let unit = unit.copied().unwrap_or_default();
    if value < 99.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_broken_by_columns() {
        assert_eq!(cut("plain", 5), ("plain".into(), 5));
        assert_eq!(cut("plain", 4), ("pla~".into(), 4));
        assert_eq!(cut("漢字", 3), ("漢~".into(), 3));
        assert_eq!(cut("x", 0), (String::new(), 0));
        assert_eq!(padded("漢", 4), "漢  ");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(wrapped("a\nb", 3), ["a", "b"]);
    }

    #[test]
    fn sizes_have_three_digits() {
        let shown = [0, 1, 999, 48_000_000, 1_500_000_000, 999_960, u64::MAX].map(bytes);
        assert_eq!(shown, ["0.0 kB", "0.0 kB", "1.0 kB", "48.0 MB", "1.5 GB", "1.0 MB", "18446744 TB"]);
    }
}
