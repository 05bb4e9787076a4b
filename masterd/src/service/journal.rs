//! The log's form: with systemd's level prefixes for the journal, with seconds since the start for people.
//! It decides the form only, never what is said.

use std::io::Write;

use env_logger::{Builder, Env};
use log::Level;

use super::now;

/// Starts the log. A second start in one process (tests) changes nothing.
pub(super) fn start(name: &'static str) {
    let in_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let began = now();
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
    builder.format(move |out, record| {
        if in_journal {
            // A line break would start a record without a level (sd-daemon(3)).
            let text = record.args().to_string().replace('\n', " ");
            writeln!(out, "<{}>{text}", priority(record.level()))
        } else {
            let ms = now().0.saturating_sub(began.0) / 1000;
            let mark = mark(record.level());
            writeln!(out, "[{:4}.{:03}] boottorrent-{name}: {mark}{}", ms / 1000, ms % 1000, record.args())
        }
    });
    let _already_started = builder.try_init();
}

/// syslog(3) priorities.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

fn mark(level: Level) -> &'static str {
    match level {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug | Level::Trace => "debug: ",
    }
}
