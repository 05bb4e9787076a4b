//! Which characters a console can show, and what stands for those that it cannot.
//!
//! Decides glyph by glyph; never changes how many columns a text takes.

use std::borrow::Cow;

use ratatui::buffer::CellWidth;

/// What lies between us and a person's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyphs {
    /// A serial line whose other end did not show that it knows UTF-8: it may show `â”€` for every line.
    Ascii,
    /// A virtual terminal: UTF-8 goes in, but the font of VGA text mode, and the kernel's own, have the 256 of CP437.
    Vga,
    /// A terminal that has shown that two bytes of UTF-8 move its cursor by one column.
    Utf8,
}

/// What CP437 has beyond ASCII and the kernel's map gives a glyph to.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■►◄↕‼¶§▬↨↑↓→←∟↔▲▼";

impl Glyphs {
    /// The text as this console can show it, column for column.
    pub(crate) fn show<'a>(self, text: &'a str) -> Cow<'a, str> {
        let fits = |c: char| match self {
            Self::Utf8 => true,
            Self::Ascii => c.is_ascii(),
            Self::Vga => c.is_ascii() || CP437.contains(c),
        };
        if text.chars().all(fits) {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            if fits(c) {
                shown.push(c);
            } else {
                let mut buffer = [0; 4];
                let columns = c.encode_utf8(&mut buffer).cell_width();
                (0..columns).for_each(|_| shown.push(stand_in(c)));
            }
        }
        Cow::Owned(shown)
    }
}

fn stand_in(c: char) -> char {
    match c {
        '─' | '═' => '-',
        '│' => '|',
        '█' => '#',
        '▒' => '+',
        '░' | '·' => '.',
        '►' => '>',
        '▲' => '^',
        '▼' => 'v',
        _ => '?',
    }
}

/// What came from elsewhere, without anything that a terminal would obey.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    if text.contains(bad) { Cow::Owned(text.replace(bad, "?")) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_console_gets_what_it_can_show_in_as_many_columns() {
        assert_eq!(Glyphs::Ascii.show("─█ é 漢"), "-# ? ??");
        assert_eq!(Glyphs::Vga.show("─█ é 漢 Ж"), "─█ é ?? ?");
        assert_eq!(Glyphs::Utf8.show("─█ é 漢 Ж"), "─█ é 漢 Ж");
        assert!(matches!(Glyphs::Ascii.show("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn nobody_else_commands_our_terminals() {
        assert_eq!(harmless("a\x1b[2Jb\u{9b}c\nd"), "a?[2Jb?c\nd");
    }
}
