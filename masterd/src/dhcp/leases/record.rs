//! One change of the leases as a line of the journal: readable by people, closed by a checksum, so that a line that
//! was torn by a power cut is known. It decides what a whole line is, not what follows from it.

use std::fmt;
use std::net::Ipv4Addr;

use boottorrent_swarm::{Mac, Time};

const SECOND: u64 = 1_000_000;

/// What happened to an address. Times count from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dhcp) enum Record {
    Lease {
        address: Ipv4Addr,
        mac: Mac,
        until: Time,
    },
    /// Given back; the node's memory of it stays.
    Release {
        address: Ipv4Addr,
        mac: Mac,
        until: Time,
    },
    Quarantine {
        address: Ipv4Addr,
        until: Time,
    },
}

impl Record {
    /// The line with its line break, whole seconds rounded up: never shorter than what was promised.
    pub(in crate::dhcp) fn line(&self) -> String {
        let text = match self {
            Self::Lease { address, mac, until } => format!("lease {address} {mac} {}", seconds(*until)),
            Self::Release { address, mac, until } => format!("release {address} {mac} {}", seconds(*until)),
            Self::Quarantine { address, until } => format!("quarantine {address} {}", seconds(*until)),
        };
        format!("{text} #{:08x}\n", checksum(&text))
    }

    /// Reads a line without its line break. `None`: torn, or not ours.
    pub(in crate::dhcp) fn parse(line: &str) -> Option<Self> {
        let (text, sum) = line.rsplit_once(" #")?;
        if sum.len() != 8 || u32::from_str_radix(sum, 16).ok()? != checksum(text) {
            return None;
        }
        let words: Vec<&str> = text.split(' ').collect();
        let time = |word: &str| Some(Time(word.parse::<u64>().ok()?.saturating_mul(SECOND)));
        match words.as_slice() {
            ["lease", address, mac, until] => Some(Self::Lease {
                address: address.parse().ok()?,
                mac: mac.parse().ok()?,
                until: time(until)?,
            }),
            ["release", address, mac, until] => Some(Self::Release {
                address: address.parse().ok()?,
                mac: mac.parse().ok()?,
                until: time(until)?,
            }),
            ["quarantine", address, until] => {
                Some(Self::Quarantine { address: address.parse().ok()?, until: time(until)? })
            }
            _ => None,
        }
    }
}

fn seconds(time: Time) -> impl fmt::Display {
    time.0.div_ceil(SECOND)
}

/// FNV-1a, 32 bits: enough to tell a torn line; nobody forges the server's own file.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_back() {
        let address = Ipv4Addr::new(10, 0, 0, 100);
        let mac = Mac([0x52, 0x54, 0, 0, 0, 1]);
        let until = Time(1_795_000_000 * SECOND);
        for record in [
            Record::Lease { address, mac, until },
            Record::Release { address, mac, until },
            Record::Quarantine { address, until },
        ] {
            let line = record.line();
            assert_eq!(Record::parse(line.trim_end_matches('\n')), Some(record), "{line}");
        }
        let line = Record::Lease { address, mac, until }.line();
        assert!(line.starts_with("lease 10.0.0.100 52:54:00:00:00:01 1795000000 #"), "{line}");
        let odd = Record::Quarantine { address, until: Time(1) }.line();
        assert!(odd.starts_with("quarantine 10.0.0.100 1 #"), "{odd}");
    }

    #[test]
    fn a_torn_or_changed_line_is_known() {
        let record = Record::Quarantine { address: Ipv4Addr::new(10, 0, 0, 100), until: Time(77 * SECOND) };
        let line = record.line();
        let line = line.trim_end_matches('\n');
        for length in 0..line.len() {
            assert_eq!(Record::parse(&line[..length]), None, "{length}");
            let mut changed = line.as_bytes().to_vec();
            changed[length] ^= 1;
            assert_eq!(String::from_utf8(changed).ok().and_then(|l| Record::parse(&l)), None, "{length}");
        }
    }
}
