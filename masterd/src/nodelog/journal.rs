//! Where records are shown: the journal with fields of its own (`journalctl NODE=n01`), else the daemon's log.
//! Decides the form only.

use std::os::unix::net::UnixDatagram;

use super::limits::JOURNAL_WAIT;

/// systemd's native protocol: one datagram of `KEY=value` lines.
const SOCKET: &str = "/run/systemd/journal/socket";

/// One line with what it is about.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// RFC 5424.
    pub(super) severity: u8,
    pub(super) message: String,
    /// Names in capitals; values without control characters, as `text::clean` leaves them.
    pub(super) fields: &'a [(&'static str, &'a str)],
}

#[derive(Debug)]
pub(super) enum Journal {
    Native(UnixDatagram),
    Log,
    /// A test that floods is not to flood the terminal.
    #[cfg(test)]
    Nowhere,
}

impl Journal {
    /// The native protocol is used only where systemd has given us a journal: in the foreground people want to see
    /// the lines.
    pub(super) fn open() -> Self {
        let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
        let Some(socket) = UnixDatagram::unbound().ok().filter(|_| under_systemd) else { return Self::Log };
        // Its queue holds ten datagrams by default, fewer than one node says at once.
        if let Err(e) = socket.set_write_timeout(Some(JOURNAL_WAIT)) {
            log::debug!("the journal's socket may block: {e}");
        }
        Self::Native(socket)
    }

    pub(super) fn show(&self, entry: &Entry<'_>) {
        match self {
            // Sent by path each time: a journald that was restarted has a new socket.
            Self::Native(socket) => match socket.send_to(&native(entry), SOCKET) {
                Ok(_) => return,
                Err(e) => log::debug!("the journal takes no fields now: {e}"),
            },
            Self::Log => {}
            #[cfg(test)]
            Self::Nowhere => return,
        }
        log::log!(target: "node", level(entry.severity), "{}", entry.message);
    }
}

fn native(entry: &Entry<'_>) -> Vec<u8> {
    let mut datagram = String::new();
    let severity = entry.severity.to_string();
    let ours =
        [("MESSAGE", &*entry.message), ("PRIORITY", &severity), ("SYSLOG_IDENTIFIER", "boottorrent-log")];
    for (name, value) in ours.iter().chain(entry.fields) {
        datagram.push_str(name);
        datagram.push('=');
        // A line break would begin another field; there is none left, but the protocol depends on it.
        datagram.extend(value.chars().map(|c| if c == '\n' { ' ' } else { c }));
        datagram.push('\n');
    }
    datagram.into_bytes()
}

fn level(severity: u8) -> log::Level {
    match severity {
        0..=3 => log::Level::Error,
        4 => log::Level::Warn,
        5 | 6 => log::Level::Info,
        _ => log::Level::Debug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_entries_are_one_field_a_line() {
        let entry = Entry { severity: 3, message: "a\nMESSAGE=b".into(), fields: &[("NODE", "n01")] };
        let text = String::from_utf8(native(&entry)).unwrap();
        assert_eq!(text, "MESSAGE=a MESSAGE=b\nPRIORITY=3\nSYSLOG_IDENTIFIER=boottorrent-log\nNODE=n01\n");
    }
}
