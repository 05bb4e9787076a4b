//! What standard output is: a terminal of some width that may show colours, or a file.
//! Decides by asking it and the environment; writes nothing.

use std::io::{IsTerminal, stdout};
use std::os::fd::AsFd;

use crate::sys;

/// A terminal that does not say how wide it is.
const WIDTH: usize = 80;
const HEIGHT: usize = 24;

/// What a table may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    /// Columns; none: as wide as it likes.
    pub(super) width: Option<usize>,
    pub(super) height: Option<usize>,
    pub(super) colour: bool,
}

impl Screen {
    pub(super) fn of_stdout() -> Self {
        let out = stdout();
        if !out.is_terminal() {
            return Self { width: None, height: None, colour: false };
        }
        let (rows, columns) = sys::window_size(out.as_fd()).unwrap_or((0, 0));
        let or = |size: u16, usual| if size == 0 { usual } else { usize::from(size) };
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let colour = set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb");
        Self { width: Some(or(columns, WIDTH)), height: Some(or(rows, HEIGHT)), colour }
    }
}
