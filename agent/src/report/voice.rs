//! The line to the master's log, and what was said since the master was last heard of.
//!
//! Decides what is said again: the log never answers, so a master that was out of reach is told once more when something
//! else of it has answered. It knows repeats by their numbers.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

/// The master's syslog port (RFC 5426).
const SYSLOG_PORT: u16 = 514;
/// Records that are kept: a node without a lease that tries for an hour makes some hundred, and the log's window for
/// late ones has as many places (masterd's nodes.rs).
const MAX_KEPT: usize = 64;

#[derive(Default)]
pub(super) struct Voice {
    socket: Option<UdpSocket>,
    master: Option<Ipv4Addr>,
    kept: VecDeque<Kept>,
    /// Something has failed since the master was last heard of.
    doubt: bool,
}

struct Kept {
    message: String,
    sent: bool,
}

impl Voice {
    pub(super) fn master(&self) -> Option<Ipv4Addr> {
        self.master
    }

    /// A record that the master is to know.
    pub(super) fn say(&mut self, message: String) {
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        let sent = self.send(&message);
        self.kept.push_back(Kept { message, sent });
    }

    /// Once, whether it arrives or not; false: nobody to tell.
    pub(super) fn send(&self, message: &str) -> bool {
        let Some(socket) = &self.socket else { return false };
        // Best effort by design: "connection refused" tells of the previous datagram, so one more try is due.
        if socket.send(message.as_bytes()).is_err() {
            let _ = socket.send(message.as_bytes());
        }
        true
    }

    /// What is said from now on may not arrive, or what was said just now.
    pub(super) fn doubt(&mut self) {
        self.doubt = true;
    }

    /// Speaks to this master, from whatever address the node has now. Records that were made before anybody was known go
    /// out; `introduced` puts the right name on them.
    pub(super) fn connect(&mut self, master: Ipv4Addr, introduced: impl Fn(&str) -> String) {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.connect(SocketAddrV4::new(master, SYSLOG_PORT))?;
            Ok(socket)
        });
        let Ok(socket) = socket else { return };
        self.socket = Some(socket);
        if self.master.replace(master) != Some(master) {
            self.kept.iter_mut().for_each(|kept| kept.sent = false);
        }
        self.repeat(introduced, false);
    }

    /// The master has answered something: it is told again what it may have missed.
    pub(super) fn heard(&mut self, introduced: impl Fn(&str) -> String) {
        if std::mem::take(&mut self.doubt) {
            self.repeat(introduced, true);
        }
        self.kept.clear();
    }

    fn repeat(&mut self, introduced: impl Fn(&str) -> String, all: bool) {
        let mut kept = std::mem::take(&mut self.kept);
        for kept in kept.iter_mut().filter(|kept| all || !kept.sent) {
            kept.sent = self.send(&introduced(&kept.message));
        }
        self.kept = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: Ipv4Addr = Ipv4Addr::LOCALHOST;

    /// A voice whose socket ends here instead of at the master's port.
    fn voice() -> (Voice, UdpSocket) {
        let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
        ear.set_nonblocking(true).unwrap();
        let mut voice = Voice::default();
        voice.connect(MASTER, str::to_owned);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(ear.local_addr().unwrap()).unwrap();
        voice.socket = Some(socket);
        (voice, ear)
    }

    fn heard(ear: &UdpSocket) -> Vec<String> {
        let mut datagram = [0; 100];
        let next =
            || ear.recv(&mut datagram).ok().map(|n| String::from_utf8_lossy(&datagram[..n]).into_owned());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_may_have_been_missed_is_said_again_once_the_master_answers() {
        let (mut voice, ear) = voice();
        voice.say("one".into());
        assert_eq!(heard(&ear), ["one"]);
        voice.heard(str::to_owned);
        assert_eq!(heard(&ear), [""; 0], "nothing has failed");
        voice.doubt();
        voice.say("two".into());
        voice.say("three".into());
        heard(&ear);
        voice.heard(|message| format!("{message}!"));
        assert_eq!(heard(&ear), ["two!", "three!"]);
        voice.heard(str::to_owned);
        assert_eq!(heard(&ear), [""; 0]);
    }

    #[test]
    fn another_master_is_told_everything_and_the_same_one_only_what_is_new() {
        let (mut voice, _ear) = voice();
        voice.say("one".into());
        assert!(voice.kept.iter().all(|kept| kept.sent));
        voice.connect(MASTER, |_| panic!("it was told"));
        let mut names = Vec::new();
        let seen = std::cell::RefCell::new(&mut names);
        voice.connect(Ipv4Addr::new(127, 0, 0, 2), |message| {
            seen.borrow_mut().push(message.to_owned());
            message.to_owned()
        });
        assert_eq!(names, ["one"]);
    }

    #[test]
    fn a_node_without_a_master_keeps_the_newest() {
        let mut voice = Voice::default();
        for n in 0..=MAX_KEPT {
            voice.say(n.to_string());
        }
        assert_eq!(voice.kept.len(), MAX_KEPT);
        assert_eq!(voice.kept.front().map(|kept| kept.message.as_str()), Some("1"));
    }
}
