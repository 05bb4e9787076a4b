//! From two frames to the bytes that turn the first into the second on a terminal (ECMA-48, as vt100 and Linux read it).
//!
//! Decides what is sent: changed cells and nothing else. Never touches the rows of the log, which scroll by themselves.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::glyphs::Glyphs;
use super::layout::Layout;

/// No page is drawn any more: whole screen, visible cursor, below everything that was there. `CAN` ends a sequence that
/// a dead process left half sent.
pub(crate) const LEAVE: &str = "\x18\x1b[0m\x1b[r\x1b[?25h\x1b[999;1H\n";

/// Asks a terminal how far a two-byte no-break space moves its cursor, which tells UTF-8 from everything else, and how
/// large it is. Who only collects text gets a line of its own with that space, and no sentence is touched.
pub(crate) const PROBE: &str = "\r\u{a0}\x1b[6n\r\x1b[K\x1b7\x1b[999;999H\x1b[6n\x1b8\n";

/// Gives the terminal to pages: what it showed goes up into its own history, the log's rows get a margin of their own.
pub(crate) fn enter(layout: &Layout, screen: bool) -> String {
    let utf8 = if screen { "\x1b%G" } else { "" };
    let mut text = format!("{utf8}\x1b[0m\x1b[r\x1b[{};1H", layout.rows);
    text.extend(std::iter::repeat_n('\n', layout.rows.into()));
    text.push_str("\x1b[2J\x1b[?25l");
    let _ = write!(text, "\x1b[{};{}r", layout.log_top + 1, layout.log_bottom + 1);
    text.push_str(&park(layout));
    text
}

/// The cursor waits where the next line of the log begins: what the kernel prints lands there as well.
pub(crate) fn park(layout: &Layout) -> String {
    format!("\x1b[{};1H", layout.log_bottom + 1)
}

/// Lines for the log. The line feed before them moves the cursor within the log and ends what a frame wrote, so that
/// whoever keeps the bytes of a line finds each sentence on a line of its own; the one behind them scrolls.
pub(crate) fn say(layout: &Layout, glyphs: Glyphs, text: &str) -> String {
    let mut bytes = format!("\x1b[{};1H\n", layout.log_bottom);
    for line in text.lines() {
        bytes.push_str(&glyphs.show(line));
        bytes.push('\n');
    }
    bytes
}

/// What changed from one frame to the next.
pub(crate) fn update(layout: &Layout, glyphs: Glyphs, from: &Buffer, to: &Buffer) -> String {
    let mut pen = Pen::default();
    let mut text = String::new();
    let mut next = None;
    for (x, y, cell) in from.diff(to) {
        if next != Some((x, y)) {
            let _ = write!(text, "\x1b[{};{}H", y + 1, x + 1);
        }
        pen.take(Look::of(cell), &mut text);
        let symbol = glyphs.show(cell.symbol());
        text.push_str(&symbol);
        next = Some((x + columns(cell), y));
    }
    if text.is_empty() {
        return text;
    }
    pen.take(Look::default(), &mut text);
    text.push_str(&park(layout));
    text
}

fn columns(cell: &Cell) -> u16 {
    use ratatui::buffer::CellWidth as _;
    cell.symbol().cell_width()
}

/// The little that every terminal can do.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Look {
    bold: bool,
    reversed: bool,
    red: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        Self {
            bold: cell.modifier.contains(Modifier::BOLD),
            reversed: cell.modifier.contains(Modifier::REVERSED),
            red: cell.fg == Color::Red,
        }
    }
}

#[derive(Default)]
struct Pen(Look);

impl Pen {
    fn take(&mut self, look: Look, text: &mut String) {
        if self.0 != look {
            self.0 = look;
            text.push_str("\x1b[0");
            for (wanted, code) in [(look.bold, ";1"), (look.reversed, ";7"), (look.red, ";31")] {
                if wanted {
                    text.push_str(code);
                }
            }
            text.push('m');
        }
    }
}
