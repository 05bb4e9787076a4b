//! Kernel command lines and programs' arguments: whatever DHCP calls a node, it adds no word to them.
#![no_main]

use boottorrent_fuzz::seeds;
use boottorrent_swarm::template::{self, Error, Values};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds(&[b"ip={ip} {{x}} {hostname}.{site} {mac}{master}\0n01".to_vec(), b"{hostname}\0a b".to_vec()]),
    |data: &[u8]| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let (line, hostile) = text.split_once('\0').unwrap_or((text, "n01"));
        let (mac, ip, master, site) = ("52:54:00:00:00:01", "10.0.0.11", "10.0.0.1", "lab");
        let checked = template::check(line, template::PROGRAM_KEYS);
        let (memory, cpus, tap, tap_mac) = ("512", "2", "7", "56:54:00:00:00:01");
        let values = Values { mac, ip, hostname: hostile, master, site, memory, cpus, tap, tap_mac };
        match template::fill(line, &values) {
            Ok(filled) => {
                assert_eq!(checked, Ok(()));
                let words = |s: &str| s.chars().filter(|c| c.is_whitespace()).count();
                assert_eq!(words(&filled), words(line), "a value has added a word");
            }
            Err(Error::Value { key, value }) => {
                assert_eq!((key, value.as_str()), ("hostname", hostile));
                assert!(!template::is_plain(hostile));
            }
            Err(error) => assert_eq!(checked, Err(error), "the check is as strict as the filling"),
        }
    }
);
