//! What a person sees of a download: one line that is written over on a terminal, a line every few seconds otherwise.
//! Decides only how a number is put into words.

use super::stats::Meter;
use boottorrent_swarm::swarm::Progress;
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// On a terminal, and elsewhere.
const EVERY_TTY: Duration = Duration::from_millis(200);
const EVERY_LOG: Duration = Duration::from_secs(3);
/// The rate is that of the last seconds.
const RATE_OVER: Duration = Duration::from_secs(3);

pub(super) struct Screen {
    name: String,
    terminal: bool,
    due: Duration,
    /// (when, bytes that were left), oldest first.
    samples: VecDeque<(Duration, u64)>,
    /// Whether a line is on the terminal that the next one must write over.
    open: bool,
}

impl Screen {
    pub(super) fn new(name: &str) -> Screen {
        // A torrent's name is the network's word: no control characters on people's terminals.
        let name = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let terminal = std::io::stderr().is_terminal();
        Screen { name, terminal, due: Duration::ZERO, samples: VecDeque::new(), open: false }
    }

    pub(super) fn due(&self, now: Duration) -> bool {
        now >= self.due
    }

    fn line(&mut self, text: &str, last: bool) {
        let mut err = std::io::stderr().lock();
        // A terminal that is gone must not end a download.
        let _ = match (self.terminal, last) {
            (true, false) => write!(err, "\r{text}\x1b[K"),
            (true, true) => writeln!(err, "\r{text}\x1b[K"),
            (false, _) => writeln!(err, "{text}"),
        };
        self.open = self.terminal && !last;
    }

    fn next(&mut self, now: Duration) {
        self.due = now + if self.terminal { EVERY_TTY } else { EVERY_LOG };
    }

    pub(super) fn checking(&mut self, done: u32, pieces: u32, now: Duration) {
        if self.due(now) {
            self.next(now);
            let text = format!("{}: checking what is there, piece {done} of {pieces}", self.name);
            self.line(&text, false);
        }
    }

    pub(super) fn progress(&mut self, p: Progress, trouble: Option<&str>, now: Duration) {
        self.next(now);
        self.samples.push_back((now, p.bytes_left));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now - *at > RATE_OVER) {
            self.samples.pop_front();
        }
        let rate = self.rate();
        let done = p.bytes_total - p.bytes_left.min(p.bytes_total);
        let percent = done as f64 * 100.0 / p.bytes_total.max(1) as f64;
        let mut text = format!(
            "{}: {} of {} ({percent:.1} %), {}/s, {} peers",
            self.name,
            bytes(done),
            bytes(p.bytes_total),
            bytes(rate),
            p.peers_connected
        );
        match p.bytes_left.checked_div(rate) {
            Some(seconds) => text += &format!(", {} left", time(seconds)),
            None if p.peers_connected == 0 => {
                text += ", waiting for a peer";
                if let Some(trouble) = trouble {
                    text += &format!(": {trouble}");
                }
            }
            None => {}
        }
        self.line(&text, false);
    }

    /// Bytes a second.
    fn rate(&self) -> u64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((t0, l0)), Some((t1, l1))) if t1 > t0 => {
                (l0.saturating_sub(*l1) as f64 / (*t1 - *t0).as_secs_f64()) as u64
            }
            _ => 0,
        }
    }

    pub(super) fn complete(&mut self, meter: &Meter, p: Progress) {
        let seconds = meter.seconds();
        let fetched = p.bytes_total.saturating_sub(meter.found);
        let text = if fetched == 0 {
            format!("{}: all {} were here and are verified", self.name, bytes(p.bytes_total))
        } else {
            let rate = (fetched as f64 / seconds.max(1e-6)) as u64;
            format!("{}: {} in {seconds:.2} s ({}/s), verified", self.name, bytes(fetched), bytes(rate))
        };
        self.line(&text, true);
    }

    pub(super) fn interrupted(&mut self, p: Progress) {
        let text = format!(
            "{}: stopped with {} still missing; the same command goes on from here",
            self.name,
            bytes(p.bytes_left)
        );
        self.line(&text, true);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.open {
            eprintln!();
        }
    }
}

/// Bytes as people say them, decimal as links are sold.
fn bytes(n: u64) -> String {
    let units = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match units.iter().find(|(_, unit)| n >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", n as f64 / *unit as f64),
        None => format!("{n} B"),
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_put_as_people_say_them() {
        assert_eq!(["999 B", "1.0 kB", "1.5 GB"], [999, 1_000, 1_500_000_000].map(bytes)[..]);
        assert_eq!(["59 s", "1 min 1 s", "2 h 1 min"], [59, 61, 7260].map(time)[..]);
    }

    #[test]
    fn the_rate_is_that_of_the_samples() {
        let mut screen = Screen::new("a\x1bb");
        assert_eq!((screen.name.as_str(), screen.rate()), ("a?b", 0));
        screen.samples.extend([(Duration::from_secs(1), 5_000), (Duration::from_secs(3), 1_000)]);
        assert_eq!(screen.rate(), 2_000);
    }
}
