//! Where header, page, log and help stand on a terminal of some size.
//!
//! Decides from how many rows on pages are drawn at all. Never draws.

use ratatui::layout::Rect;

/// Terminals that a page fits on; on smaller ones everything stays plain text.
const LEAST_COLUMNS: u16 = 60;
const LEAST_ROWS: u16 = 20;
/// Larger answers are taken for these: nobody reads more, and a frame stays small whatever a serial line claims.
const MOST_COLUMNS: u16 = 160;
const MOST_ROWS: u16 = 60;
/// Rows of the log, the empty one included on which the next line will stand.
const LEAST_LOG: u16 = 5;
const MOST_LOG: u16 = 12;

/// Rows count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
    pub(crate) log_top: u16,
    pub(crate) log_bottom: u16,
}

impl Layout {
    /// None: too small for pages.
    pub(crate) fn new(columns: u16, rows: u16) -> Option<Self> {
        if columns < LEAST_COLUMNS || rows < LEAST_ROWS {
            return None;
        }
        let (columns, rows) = (columns.min(MOST_COLUMNS), rows.min(MOST_ROWS));
        let log = (rows / 5).clamp(LEAST_LOG, MOST_LOG);
        let log_bottom = rows - 2;
        Some(Self { columns, rows, log_top: log_bottom + 1 - log, log_bottom })
    }

    pub(crate) fn area(&self) -> Rect {
        Rect::new(0, 0, self.columns, self.rows)
    }

    /// Between the header with its empty row and the line above the log.
    pub(crate) fn page(&self) -> Rect {
        Rect::new(1, 2, self.columns - 2, self.log_top - 3)
    }

    pub(crate) fn help_row(&self) -> u16 {
        self.rows - 1
    }

    /// The line that parts page and log.
    pub(crate) fn rule_row(&self) -> u16 {
        self.log_top - 1
    }

    /// Lines of the log that can be seen at once.
    pub(crate) fn log_lines(&self) -> u16 {
        self.log_bottom - self.log_top
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_on_any_terminal() {
        for rows in 0..100 {
            for columns in [0, 59, 60, 80, 132, 500] {
                let Some(layout) = Layout::new(columns, rows) else {
                    assert!(rows < 20 || columns < 60);
                    continue;
                };
                let page = layout.page();
                assert!(page.bottom() == layout.rule_row() && layout.rule_row() < layout.log_top);
                assert!(layout.log_top < layout.log_bottom && layout.log_bottom < layout.help_row());
                assert!(page.height >= 9 && page.right() < layout.columns, "{layout:?}");
                assert!(layout.rows <= rows && layout.columns <= columns);
            }
        }
    }

    #[test]
    fn a_text_screen_has_four_lines_of_log() {
        let layout = Layout::new(80, 24).unwrap();
        assert_eq!((layout.log_top, layout.log_bottom, layout.log_lines()), (18, 22, 4));
        assert_eq!(layout.page(), Rect::new(1, 2, 78, 15));
    }
}
