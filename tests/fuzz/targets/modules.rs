//! The module index and the modaliases that hardware (a stranger's USB stick) answers with.
#![no_main]
#![allow(dead_code, reason = "the agent's files are taken in whole")]

use boottorrent_fuzz::seeds;
use libfuzzer_sys::fuzz_target;

// The agent is a program, not a library: its parsers are compiled in from where they stand.
#[path = "../../../agent/src/modules/glob.rs"]
mod glob;
#[path = "../../../agent/src/modules/index.rs"]
mod index;

const INDEX: &str = "module libphy libphy.ko\nmodule r8169 r8169.ko libphy ?realtek\n\
                     alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169\nalias acpi*:PNP0C0C:* button\nload loop\n";

/// fnmatch(3) as its page describes it, by trying everything; `glob` must agree with it where there is no bracket.
fn slowly(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], rest) => rest.is_empty(),
        ([b'*', after @ ..], _) => (0..=text.len()).any(|n| slowly(after, &text[n..])),
        ([b'?', after @ ..], [_, rest @ ..]) => slowly(after, rest),
        ([b'\\', literal, after @ ..], [first, rest @ ..]) => literal == first && slowly(after, rest),
        ([b'\\', _, ..], []) => false,
        ([literal, after @ ..], [first, rest @ ..]) => literal == first && slowly(after, rest),
        (_, []) => false,
    }
}

fuzz_target!(
    init: seeds(&[
        format!("pci:v000010ECd00008168sv1sd2bc02sc00i00\0{INDEX}").into_bytes(),
        b"usb:d00x\0alias usb:d[0-9A-F]*x? m\n".to_vec(),
    ]),
    |data: &[u8]| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        let (modalias, lines) = text.split_once('\0').unwrap_or(("pci:x", text));
        if let Ok(index) = index::Index::parse(lines) {
            for name in index.serving(modalias) {
                assert!(!name.is_empty());
                assert!(index.get(name).is_none_or(|m| !m.file.contains('/')), "a file outside the folder");
            }
        }
        let pattern = lines.split_ascii_whitespace().nth(1).unwrap_or_default();
        let stars = pattern.bytes().filter(|b| *b == b'*').count();
        if stars <= 4 && pattern.len() + modalias.len() <= 64 && !pattern.contains('[') {
            let expected = slowly(pattern.as_bytes(), modalias.as_bytes());
            assert_eq!(glob::matches(pattern, modalias), expected, "{pattern:?} {modalias:?}");
        }
    }
);
