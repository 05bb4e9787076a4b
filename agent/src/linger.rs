//! How long a node that has everything goes on serving before it hands over.
//!
//! Decides when enough is enough. Never keeps a node for peers that take nothing.

use std::time::Duration;

use boottorrent_swarm::catalog::Linger;

/// "auto": nobody needed anything for so long that a peer between two links would have come back.
const QUIET: Duration = Duration::from_secs(1);
/// "auto": somebody needs something and takes nothing: others must serve it, or it is gone.
const IDLE: Duration = Duration::from_secs(15);
/// "auto": however busy, a person waits for this node.
const MOST: Duration = Duration::from_secs(600);

pub(crate) struct Watch {
    policy: Linger,
    begun: Duration,
    lonely_since: Option<Duration>,
    sent: u64,
    sent_at: Duration,
}

impl Watch {
    pub(crate) fn new(policy: Linger, now: Duration) -> Self {
        Self { policy, begun: now, lonely_since: None, sent: 0, sent_at: now }
    }

    /// Why the node may go now; None: it stays.
    pub(crate) fn over(&mut self, now: Duration, lonely: bool, bytes_sent: u64) -> Option<String> {
        let stayed = now.saturating_sub(self.begun);
        if let Linger::Milliseconds(wanted) = self.policy {
            let wanted = Duration::from_millis(wanted);
            return (stayed >= wanted).then(|| format!("the image's {} s are over", wanted.as_secs()));
        }
        if bytes_sent != self.sent {
            self.sent = bytes_sent;
            self.sent_at = now;
        }
        if !lonely {
            self.lonely_since = None;
        } else if now.saturating_sub(*self.lonely_since.get_or_insert(now)) >= QUIET {
            return Some("nobody needs this node".into());
        }
        if now.saturating_sub(self.sent_at) >= IDLE {
            return Some(format!("nobody took anything for {} s", IDLE.as_secs()));
        }
        (stayed >= MOST).then(|| format!("{} s are enough", MOST.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_fixed_time_is_kept_whoever_is_there() {
        let mut watch = Watch::new(Linger::Milliseconds(5000), at(100));
        assert_eq!(watch.over(at(104), true, 0), None);
        assert!(watch.over(at(105), false, 9).is_some());
        assert!(Watch::new(Linger::Milliseconds(0), at(1)).over(at(1), false, 0).is_some());
    }

    #[test]
    fn auto_goes_when_nobody_has_needed_it_for_a_moment() {
        let mut watch = Watch::new(Linger::Auto, at(0));
        assert_eq!(watch.over(at(0), true, 0), None);
        assert_eq!(watch.over(at(0) + QUIET / 2, false, 0), None, "somebody came");
        assert_eq!(watch.over(at(2), true, 0), None);
        assert!(watch.over(at(3), true, 0).is_some());
    }

    #[test]
    fn auto_serves_who_takes_and_leaves_who_does_not() {
        let mut watch = Watch::new(Linger::Auto, at(0));
        for second in 1..60 {
            assert_eq!(watch.over(at(second), false, second * 1000), None, "{second}");
        }
        assert_eq!(watch.over(at(73), false, 59_000), None);
        assert!(watch.over(at(74), false, 59_000).unwrap().contains("nobody took anything"));
    }

    #[test]
    fn auto_ends_however_busy() {
        let mut watch = Watch::new(Linger::Auto, at(0));
        let end = (1..).find(|second| watch.over(at(*second), false, *second).is_some());
        assert_eq!(end, Some(MOST.as_secs()));
    }
}
