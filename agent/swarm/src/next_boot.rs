//! What one boot of a node is to be, as DHCP carries it: the master says it to the agent, and a node asks the master so.
//! Decides the form and what is legal in it; never whether anybody follows it.

use alloc::string::String;
use alloc::vec::Vec;

/// The agent's vendor class (DHCP option 60).
pub const VENDOR_CLASS: &str = "boottorrent";
/// Vendor-identifying vendor-specific information (RFC 3925, 4): option 43 means something else to every maker's server.
pub const OPTION: u8 = 125;
/// Bytes of an image's name, as a site folder may have it.
const MAX_NAME: usize = 63;
/// RFC 5612 keeps this enterprise number free for those without one of their own.
const ENTERPRISE: [u8; 4] = 32473_u32.to_be_bytes();
/// Sub-options, and what stands in the second one.
const OS: u8 = 1;
const LOCAL_DISK: u8 = 2;
const YES: [u8; 1] = [1];

/// The next boot, and that one only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextBoot {
    /// An image of the catalog, by its name.
    Os(String),
    /// What firmware finds behind the network in its boot order.
    LocalDisk,
}

impl NextBoot {
    /// The value of [`OPTION`].
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let (code, value) = match self {
            NextBoot::Os(name) => (OS, name.as_bytes()),
            NextBoot::LocalDisk => (LOCAL_DISK, &YES[..]),
        };
        let value = value.get(..value.len().min(MAX_NAME)).unwrap_or_default();
        let length = u8::try_from(value.len()).unwrap_or_default();
        let mut out = Vec::from(ENTERPRISE);
        out.extend([length + 2, code, length]);
        out.extend_from_slice(value);
        out
    }

    /// Ours among what other makers say there; the first that is legal.
    #[must_use]
    pub fn parse(mut value: &[u8]) -> Option<NextBoot> {
        while let Some((enterprise, rest)) = value.split_first_chunk::<4>() {
            let (length, rest) = rest.split_first()?;
            let (data, after) = rest.split_at_checked(usize::from(*length))?;
            if *enterprise == ENTERPRISE
                && let Some(next) = ours(data)
            {
                return Some(next);
            }
            value = after;
        }
        None
    }
}

fn ours(mut data: &[u8]) -> Option<NextBoot> {
    while let [code, length, rest @ ..] = data {
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        match (*code, value) {
            (OS, name) if is_name(name) => {
                return core::str::from_utf8(name).ok().map(|name| NextBoot::Os(String::from(name)));
            }
            (LOCAL_DISK, value) if value == YES => return Some(NextBoot::LocalDisk),
            _ => data = after,
        }
    }
    None
}

/// What a folder of a site may be called; DHCP is anybody's, and this is shown to people.
fn is_name(name: &[u8]) -> bool {
    name.len() <= MAX_NAME
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_is_said_is_understood() {
        for next in [NextBoot::Os("debian-12".into()), NextBoot::LocalDisk] {
            let said = next.emit();
            assert_eq!(NextBoot::parse(&said), Some(next.clone()));
            for cut in 0..said.len() {
                assert_eq!(NextBoot::parse(&said[..cut]), None, "cut to {cut}");
            }
            // Another maker's part stands before it, and an unknown word of ours.
            let mut among = vec![0, 0, 0, 9, 3, 1, 1, 7];
            among.extend([0, 0, 0x7e, 0xd9, 3, 77, 1, 0]);
            among.extend(said);
            assert_eq!(NextBoot::parse(&among), Some(next));
        }
    }

    #[test]
    fn what_is_no_name_is_not_taken() {
        for name in ["", ".", "../x", "a b", "a/b", "\u{1b}[2J", "ü", &"x".repeat(MAX_NAME + 1)] {
            let mut said = Vec::from(ENTERPRISE);
            said.extend([name.len() as u8 + 2, OS, name.len() as u8]);
            said.extend(name.as_bytes());
            assert_eq!(NextBoot::parse(&said), None, "{name:?}");
        }
        assert_eq!(NextBoot::parse(&[0, 0, 0x7e, 0xd9, 3, LOCAL_DISK, 1, 2]), None);
        assert_eq!(NextBoot::parse(&[0, 0, 0, 9, 3, LOCAL_DISK, 1, 1]), None, "another maker's");
    }
}
