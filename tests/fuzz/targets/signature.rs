//! What decides whether a file is the site's: the signature beside it and the key, in minisign's form.
#![no_main]
#![allow(dead_code, reason = "the agent's file is taken in whole")]

use boottorrent_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

// The agent is a program, not a library: its check is compiled in from where it stands.
#[path = "../../../agent/src/trust.rs"]
mod trust;

/// minisign's own example key and signature of "test" (from its documentation).
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
const LINES: [&str; 4] = [
    "untrusted comment: signature from minisign secret key",
    "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=",
    "trusted comment: timestamp:1556193335\tfile:test",
    "y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==",
];

fn file() -> Vec<u8> {
    format!("{}\n", LINES.join("\n")).into_bytes()
}

fuzz_target!(
    init: {
        let key = trust::SiteKey::parse(KEY).unwrap_or_else(|e| panic!("{e}"));
        assert!(key.check("it", b"test", &file()).is_ok(), "the one that is good");
        seeds(&[[b"test\0".to_vec(), file()].concat(), [KEY.as_bytes(), b"\0", &file()].concat()]);
    },
    |data: &[u8]| {
        let Ok(key) = trust::SiteKey::parse(KEY) else { return };
        let zero = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
        let (bytes, signature) = (&data[..zero], data.get(zero + 1..).unwrap_or_default());
        if key.check("it", bytes, signature).is_ok() {
            assert_eq!(bytes, b"test", "nobody has the secret key");
            let text = std::str::from_utf8(signature).unwrap_or_default();
            for signed in &LINES[1..] {
                assert!(text.lines().any(|line| line.trim() == *signed), "not what was signed: {text:?}");
            }
        }
        // As a key: any may be given, none may be trusted that did not sign. Its first three bytes are not of the key:
        // minisign spells the algorithm in two ways.
        if let Ok(other) = std::str::from_utf8(bytes).map_err(|e| e.to_string()).and_then(trust::SiteKey::parse) {
            if other.check("it", b"test", &file()).is_ok() {
                assert!(std::str::from_utf8(bytes).is_ok_and(|text| text.contains(&KEY[4..])), "another key's signature");
            }
        }
    }
);
