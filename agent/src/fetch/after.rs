//! After the last piece: the command that was asked for, and sharing while somebody needs us. Decides when it is enough.

use super::options::{Linger, Options};
use super::stats::Meter;
use super::{take_events, turn};
use crate::clock;
use boottorrent_net::driver::{Driver, TorrentId};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::SignalFd;
use std::process::{Child, Command, ExitCode};
use std::time::Duration;

/// `auto` ends when nobody has needed us for this long: a peer that just lost another link comes back sooner.
const QUIET: Duration = Duration::from_millis(500);
/// `auto` ends after this time in any case: a peer that never completes must not hold us.
const AUTO_MOST: Duration = Duration::from_secs(120);

pub(super) struct After {
    linger: Linger,
    command: Option<Child>,
    failed: bool,
    since: Duration,
    needed: Duration,
}

impl After {
    pub(super) fn begin(options: &Options, mask: &SigSet, now: Duration) -> Result<After, String> {
        let start = |command: &String| {
            // A child inherits the mask, and a shell that can't be interrupted is no shell.
            let _ = mask.thread_unblock();
            let child =
                Command::new("/bin/sh").arg("-c").arg(command).env("BOOTTORRENT_DIR", &options.to).spawn();
            let _ = mask.thread_block();
            child.map_err(|e| format!("cannot run {command:?}: {e}"))
        };
        let command = options.on_complete.as_ref().map(start).transpose()?;
        Ok(After { linger: options.linger, command, failed: false, since: now, needed: now })
    }

    /// Shares until it is enough and the command has ended, or a signal asks to leave.
    pub(super) fn wait(
        &mut self,
        driver: &mut Driver,
        id: TorrentId,
        signals: &SignalFd,
        meter: &mut Meter,
    ) -> Result<(), String> {
        loop {
            take_events(driver, meter)?;
            let now = clock::now();
            if !driver.lonely(id) {
                self.needed = now;
            }
            self.reap();
            if (self.command.is_none() && self.enough(now)) || turn(driver, signals)? {
                return Ok(());
            }
        }
    }

    fn enough(&self, now: Duration) -> bool {
        match self.linger {
            Linger::Forever => false,
            Linger::For(length) => now - self.since >= length,
            Linger::Auto => now - self.needed >= QUIET || now - self.since >= AUTO_MOST,
        }
    }

    fn reap(&mut self) {
        let Some(child) = &mut self.command else { return };
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                if !status.success() {
                    eprintln!("boottorrent-agent fetch: the command of --on-complete ended with {status}");
                    self.failed = true;
                }
                self.command = None;
            }
            Err(_) => self.command = None,
        }
    }

    /// The command's failure is ours.
    pub(super) fn code(&self) -> ExitCode {
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(linger: Linger) -> After {
        let at = Duration::from_secs(10);
        After { linger, command: None, failed: false, since: at, needed: at }
    }

    #[test]
    fn enough_is_what_was_asked_for() {
        let at = |ms| Duration::from_millis(ms);
        assert!(!after(Linger::Forever).enough(at(u64::MAX)));
        let two = after(Linger::For(Duration::from_secs(2)));
        assert!(!two.enough(at(11_999)) && two.enough(at(12_000)));
        let mut auto = after(Linger::Auto);
        assert!(!auto.enough(at(10_499)) && auto.enough(at(10_500)));
        auto.needed = at(129_900);
        assert!(!auto.enough(at(129_999)) && auto.enough(at(130_000)), "bounded");
    }
}
