//! Shell patterns as modules use them in their aliases: `*`, `?` and `[...]` (fnmatch(3) without flags).
//!
//! Decides whether one string matches; never allocates and never backtracks further than the last star.

/// Whether all of `text` matches `pattern`.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when a later byte does not match: behind the last star, one byte further in the text.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match one(&pattern[p..], text[t]) {
            Step::Star => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Step::Match(length) => {
                p += length;
                t += 1;
            }
            Step::Differ => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    (p, t) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

enum Step {
    Star,
    /// The byte matches this many bytes of the pattern.
    Match(usize),
    Differ,
}

fn one(pattern: &[u8], byte: u8) -> Step {
    match pattern.first() {
        None => Step::Differ,
        Some(b'*') => Step::Star,
        Some(b'?') => Step::Match(1),
        Some(b'[') => match bracket(pattern, byte) {
            Some((true, length)) => Step::Match(length),
            Some((false, _)) => Step::Differ,
            // A bracket that nobody closes stands for itself.
            None if byte == b'[' => Step::Match(1),
            None => Step::Differ,
        },
        Some(b'\\') if pattern.len() > 1 => {
            if pattern[1] == byte {
                Step::Match(2)
            } else {
                Step::Differ
            }
        }
        Some(&literal) if literal == byte => Step::Match(1),
        Some(_) => Step::Differ,
    }
}

/// Whether `byte` is in the set that `pattern` begins with, and the length of that set.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = matches!(pattern.get(at), Some(b'!' | b'^'));
    if negated {
        at += 1;
    }
    let first = at;
    let mut found = false;
    loop {
        let low = *pattern.get(at)?;
        if low == b']' && at > first {
            return Some((found != negated, at + 1));
        }
        let high = match (pattern.get(at + 1), pattern.get(at + 2)) {
            (Some(b'-'), Some(&high)) if high != b']' => {
                at += 3;
                high
            }
            _ => {
                at += 1;
                low
            }
        };
        found |= (low..=high).contains(&byte);
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn real_aliases() {
        let e1000 = "pci:v00008086d0000100Esv*sd*bc*sc*i*";
        assert!(matches(e1000, "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"));
        assert!(!matches(e1000, "pci:v00008086d0000100Fsv00001AF4sd00001100bc02sc00i00"));
        assert!(matches("acpi*:PNP0C0C:*", "acpi:PNP0C0C:"));
        assert!(matches(
            "usb:v*p*d*dc*dsc*dp*ic03isc*ip*in*",
            "usb:v0627p0001d0000dc00dsc00dp00ic03isc01ip01in00"
        ));
        assert!(matches(
            "usb:v0B95p1790d*dc*dsc*dp*icFFiscFFip00in*",
            "usb:v0B95p1790d0100dcFFdscFFdp00icFFiscFFip00in00"
        ));
        assert!(matches("mdio:0000000000011100110010??????????", "mdio:00000000000111001100100101010110"));
        assert!(matches("virtio:d00000001v*", "virtio:d00000001v00001AF4"));
    }

    #[test]
    fn stars_backtrack() {
        assert!(matches("*a*b*c", "xxaxxbbxxbc"));
        assert!(!matches("*a*b*c", "xxaxxbbxxbcd"));
        assert!(matches("**", ""));
        assert!(matches("", ""));
        assert!(!matches("", "x"));
        assert!(!matches("?", ""));
        assert!(matches("a*", "a"));
    }

    #[test]
    fn sets() {
        assert!(matches("d[0-9A-F]x", "dBx"));
        assert!(!matches("d[0-9A-F]x", "dbx"));
        assert!(matches("[!a]", "b"));
        assert!(!matches("[^a]", "a"));
        assert!(matches("[]]", "]"));
        assert!(matches("[a-]", "-"));
        assert!(matches("[a", "[a"));
        assert!(!matches("[", ""));
        assert!(matches("\\*", "*"));
        assert!(!matches("\\*", "x"));
    }

    #[test]
    fn many_stars_stay_quick() {
        let pattern = "*a".repeat(40) + "b";
        assert!(!matches(&pattern, &"a".repeat(4000)));
    }
}
