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

/// Who is there besides the master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Company {
    /// No other node was ever seen.
    #[default]
    Nobody,
    /// Nodes that need nothing from us.
    Content,
    Needy,
}

pub(crate) struct Watch {
    policy: Linger,
    begun: Duration,
    alone_from: Duration,
    content_since: Option<Duration>,
    sent: u64,
    sent_at: Duration,
}

impl Watch {
    /// Before `alone_from`, seeing nobody proves nothing: others may still look for this node.
    pub(crate) fn new(policy: Linger, now: Duration, alone_from: Duration) -> Self {
        Self { policy, begun: now, alone_from, content_since: None, sent: 0, sent_at: now }
    }

    /// Why the node may go now; None: it stays.
    pub(crate) fn over(&mut self, now: Duration, company: Company, bytes_sent: u64) -> Option<String> {
        let stayed = now.saturating_sub(self.begun);
        if let Linger::Milliseconds(wanted) = self.policy {
            let wanted = Duration::from_millis(wanted);
            return (stayed >= wanted).then(|| format!("the image's {} s are over", wanted.as_secs()));
        }
        if bytes_sent != self.sent {
            self.sent = bytes_sent;
            self.sent_at = now;
        }
        match company {
            Company::Nobody if now < self.alone_from => return None,
            Company::Nobody => return Some("no other node was seen".into()),
            Company::Needy => self.content_since = None,
            Company::Content if now.saturating_sub(*self.content_since.get_or_insert(now)) >= QUIET => {
                return Some("nobody needs this node".into());
            }
            Company::Content => {}
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
        let mut watch = Watch::new(Linger::Milliseconds(5000), at(100), at(0));
        assert_eq!(watch.over(at(104), Company::Content, 0), None);
        assert!(watch.over(at(105), Company::Needy, 9).is_some());
        assert!(Watch::new(Linger::Milliseconds(0), at(1), at(0)).over(at(1), Company::Needy, 0).is_some());
    }

    #[test]
    fn auto_goes_when_nobody_has_needed_it_for_a_moment() {
        let mut watch = Watch::new(Linger::Auto, at(0), at(0));
        assert_eq!(watch.over(at(0), Company::Content, 0), None);
        assert_eq!(watch.over(at(0) + QUIET / 2, Company::Needy, 0), None, "somebody came");
        assert_eq!(watch.over(at(2), Company::Content, 0), None);
        assert!(watch.over(at(3), Company::Content, 0).is_some());
    }

    #[test]
    fn auto_does_not_wait_for_nodes_that_were_never_there() {
        assert!(Watch::new(Linger::Auto, at(5), at(0)).over(at(5), Company::Nobody, 0).is_some());
        let mut again = Watch::new(Linger::Auto, at(5), at(9));
        assert_eq!(again.over(at(8), Company::Nobody, 0), None, "others may still look for it");
        assert!(again.over(at(9), Company::Nobody, 0).is_some());
    }

    #[test]
    fn auto_serves_who_takes_and_leaves_who_does_not() {
        let mut watch = Watch::new(Linger::Auto, at(0), at(0));
        for second in 1..60 {
            assert_eq!(watch.over(at(second), Company::Needy, second * 1000), None, "{second}");
        }
        assert_eq!(watch.over(at(73), Company::Needy, 59_000), None);
        assert!(watch.over(at(74), Company::Needy, 59_000).unwrap().contains("nobody took anything"));
    }

    #[test]
    fn auto_ends_however_busy() {
        let mut watch = Watch::new(Linger::Auto, at(0), at(0));
        let end = (1..).find(|second| watch.over(at(*second), Company::Needy, *second).is_some());
        assert_eq!(end, Some(MOST.as_secs()));
    }
}
