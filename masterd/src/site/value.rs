//! The kinds of values a site folder is written in: addresses, networks, ranges, MACs, durations, sizes.
//! Decides how each is spelt; never knows which key it stands under.

use crate::dhcp::config::{Network, Range};
use boottorrent_swarm::Mac;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A value written as a string, with the words that an error needs.
pub(crate) trait Spelt: Sized {
    /// "an IPv4 address such as \"10.0.0.1\"".
    const KIND: &'static str;

    /// The value, or why the text is none.
    fn read(text: &str) -> Result<Self, String>;
}

impl Spelt for String {
    const KIND: &'static str = "a string";

    fn read(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl Spelt for Ipv4Addr {
    const KIND: &'static str = "an IPv4 address such as \"10.0.0.1\"";

    fn read(text: &str) -> Result<Ipv4Addr, String> {
        text.parse().map_err(|_| format!("{text:?} is no IPv4 address"))
    }
}

impl Spelt for Network {
    const KIND: &'static str = "a subnet such as \"10.0.0.0/24\"";

    fn read(text: &str) -> Result<Network, String> {
        text.parse().map_err(before_advice)
    }
}

impl Spelt for Range {
    const KIND: &'static str = "a range such as \"10.0.0.100-10.0.0.200\"";

    fn read(text: &str) -> Result<Range, String> {
        text.parse().map_err(before_advice)
    }
}

impl Spelt for Mac {
    const KIND: &'static str = "a MAC address such as \"52:54:00:00:00:01\"";

    fn read(text: &str) -> Result<Mac, String> {
        let wrong = || format!("{text:?} is no MAC address");
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let digits = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
            let part = parts.next().filter(digits).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(format!("{text} is a group address, which no machine has"));
        }
        Ok(Mac(bytes))
    }
}

impl Spelt for Duration {
    const KIND: &'static str = "a duration such as \"10s\" (units: ms, s, m, h, d)";

    fn read(text: &str) -> Result<Duration, String> {
        let (number, unit) = split_unit(text);
        let milliseconds: Option<u64> = match unit {
            "ms" => Some(1),
            "s" => Some(1000),
            "m" | "min" => Some(60_000),
            "h" => Some(3_600_000),
            "d" => Some(86_400_000),
            _ => None,
        };
        match (number.parse::<u64>(), milliseconds) {
            (Ok(n), Some(unit)) => n
                .checked_mul(unit)
                .map(Duration::from_millis)
                .ok_or_else(|| format!("{text:?} is longer than can be counted")),
            (Ok(_), None) if unit.is_empty() => Err(format!("{text:?} has no unit")),
            _ => Err(format!("{text:?} is no duration")),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

impl Spelt for Size {
    const KIND: &'static str = "a size such as \"512M\" (units: K, M, G, powers of 1024)";

    fn read(text: &str) -> Result<Size, String> {
        let (number, unit) = split_unit(text);
        let shift = match unit {
            "K" | "KiB" => 10,
            "M" | "MiB" => 20,
            "G" | "GiB" => 30,
            "" => return Err(format!("{text:?} has no unit")),
            _ => return Err(format!("{text:?} is no size")),
        };
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(1 << shift));
        bytes.map(Size).ok_or_else(|| format!("{text:?} is no size"))
    }
}

/// Bytes in a second, written in bits as network people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

impl Spelt for Rate {
    const KIND: &'static str = "a rate such as \"50Mbit\" (units: kbit, Mbit, Gbit in a second)";

    fn read(text: &str) -> Result<Rate, String> {
        let (number, unit) = split_unit(text);
        let bits: u64 = match unit {
            "kbit" => 1_000,
            "Mbit" => 1_000_000,
            "Gbit" => 1_000_000_000,
            "" => return Err(format!("{text:?} has no unit")),
            _ => return Err(format!("{text:?} is no rate")),
        };
        let rate = number.parse::<u64>().ok().and_then(|n| n.checked_mul(bits)).map(|bits| bits / 8);
        rate.filter(|rate| *rate > 0).map(Rate).ok_or_else(|| format!("{text:?} is no rate"))
    }
}

/// The types' own sentence without its advice: a finding carries that apart.
fn before_advice(sentence: String) -> String {
    sentence.split(": write").next().unwrap_or_default().to_owned()
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_carry_units() {
        assert_eq!(Duration::read("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(Duration::read("250 ms"), Ok(Duration::from_millis(250)));
        assert_eq!(Duration::read("10"), Err("\"10\" has no unit".into()));
        for bad in ["", "s", "-1s", "1.5h", "10 parsecs", "99999999999999999d"] {
            assert!(Duration::read(bad).is_err(), "{bad}");
        }
        assert_eq!(Size::read("512M"), Ok(Size(512 << 20)));
        for bad in ["512", "M", "1T", "99999999999G"] {
            assert!(Size::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_are_in_bits() {
        assert_eq!(Rate::read("50Mbit"), Ok(Rate(6_250_000)));
        assert_eq!(Rate::read("8 kbit"), Ok(Rate(1000)));
        assert_eq!(Rate::read("50"), Err("\"50\" has no unit".into()));
        for bad in ["50MB", "0Mbit", "Mbit", "99999999999999Gbit"] {
            assert!(Rate::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mac_is_six_bytes_of_one_machine() {
        assert_eq!(Mac::read("52-54-00-aB-00-01"), Ok(Mac([0x52, 0x54, 0, 0xab, 0, 1])));
        for bad in [
            "52:54:00:00:00",
            "52:54:00:00:00:01:02",
            "5254:00:00:00:01",
            "01:00:00:00:00:01",
            "+2:54:00:00:00:01",
        ] {
            assert!(Mac::read(bad).is_err(), "{bad}");
        }
    }
}
