//! What a person reads during a download: how much, how fast, how long still, from whom.
//!
//! Decides the rate that is shown. Never decides whether a download is stuck.

use std::collections::VecDeque;
use std::time::Duration;

use boottorrent_swarm::swarm::Progress;

use super::State;
use crate::screen::Download;

/// The rate is the mean of this long: calm enough to read, quick enough to show a change.
const WINDOW: Duration = Duration::from_secs(5);
/// Samples kept: ten a second at most.
const MAX_SAMPLES: usize = 64;
const MB: f64 = 1e6;

#[derive(Default)]
pub(crate) struct Meter {
    samples: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// What a page shows of the download.
    pub(crate) fn figures(
        &mut self,
        now: Duration,
        title: &str,
        state: &State,
        progress: &Progress,
    ) -> Download {
        let rate = self.rate(now, progress.bytes_in);
        Download {
            title: title.to_owned(),
            bytes_done: progress.bytes_total.saturating_sub(progress.bytes_left),
            bytes_total: progress.bytes_total,
            rate,
            seconds_left: eta(progress.bytes_left, rate),
            pieces: state.pieces.clone(),
            peers: progress.peers_connected,
            bytes_master: state.bytes_master,
            bytes_nodes: state.bytes_peers,
            bytes_sent: state.bytes_sent,
            tracker_trouble: state.tracker.clone(),
        }
    }

    /// Bytes a second over the window.
    fn rate(&mut self, now: Duration, bytes: u64) -> f64 {
        self.samples.push_back((now, bytes));
        while self.samples.len() > MAX_SAMPLES
            || self.samples.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            self.samples.pop_front();
        }
        match self.samples.front() {
            Some((at, before)) if *at < now => {
                bytes.saturating_sub(*before) as f64 / (now - *at).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// The same as one line, for consoles without pages.
pub(crate) fn line(figures: &Download) -> String {
    let percent = figures.bytes_done as f64 * 100.0 / (figures.bytes_total.max(1)) as f64;
    let mut line = format!(
        "  {percent:5.1} %  {:.1} of {:.1} MB  {:.1} MB/s",
        figures.bytes_done as f64 / MB,
        figures.bytes_total as f64 / MB,
        figures.rate / MB
    );
    line.push_str(&match figures.seconds_left {
        Some(seconds) => format!("  {seconds} s left"),
        None if figures.bytes_done == 0 => "  waiting for the first bytes".into(),
        None => "  nothing comes at the moment".into(),
    });
    line.push_str(&format!(
        "  {} peers  {:.1} MB from the master, {:.1} MB from nodes",
        figures.peers,
        figures.bytes_master as f64 / MB,
        figures.bytes_nodes as f64 / MB
    ));
    line
}

fn eta(left: u64, rate: f64) -> Option<u64> {
    (rate > 1.0).then(|| (left as f64 / rate).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_forgets_what_is_long_past() {
        let mut meter = Meter::default();
        let at = Duration::from_secs;
        assert_eq!(meter.rate(at(1), 0), 0.0);
        assert_eq!(meter.rate(at(2), 10_000_000), 1e7);
        for second in 3..20 {
            meter.rate(at(second), 10_000_000);
        }
        assert_eq!(meter.rate(at(20), 10_000_000), 0.0, "a stall shows");
    }

    #[test]
    fn the_time_left_is_known_only_with_a_rate() {
        assert_eq!(eta(100, 0.0), None);
        assert_eq!(eta(101, 10.0), Some(11));
        assert_eq!(eta(0, 10.0), Some(0));
    }
}
