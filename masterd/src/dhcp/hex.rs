//! Bytes as hexadecimal text: in `dhcp.toml`, in the lease journal and in option values of the site folder.
//! It decides nothing but what is well formed.

use std::fmt::Write;

/// Lower case, two digits a byte.
pub(crate) fn format(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// Digits in pairs; colons, dashes and spaces may separate pairs, as people copy them from other tools.
pub(crate) fn parse(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for c in text.chars() {
        match (c.to_digit(16).and_then(|d| u8::try_from(d).ok()), high) {
            (Some(digit), None) => high = Some(digit),
            (Some(digit), Some(first)) => {
                bytes.push(first << 4 | digit);
                high = None;
            }
            (None, None) if matches!(c, ':' | '-' | ' ') => {}
            (None, _) => return None,
        }
    }
    high.is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_with_or_without_separators() {
        assert_eq!(parse("0aFf"), Some(vec![0x0a, 0xff]));
        assert_eq!(parse("0a:ff 01-02"), Some(vec![0x0a, 0xff, 1, 2]));
        assert_eq!(parse(""), Some(vec![]));
        assert_eq!(format(&[0x0a, 0xff]), "0aff");
        for wrong in ["0", "0a0", "0g", "0:a", "0x01"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
