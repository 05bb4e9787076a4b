//! From the name in a request to a path below the root: leading slashes and Windows backslashes are tolerated, as
//! firmware sends them. Never lets a name climb: what is left is a relative path of plain components.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Why a name is refused (error 2), before any file system is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadName {
    /// A component is "..".
    Climbs,
    /// A control character.
    Control,
    /// Nothing is left but separators.
    Empty,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Climbs => "the name leaves the boot folder",
            Self::Control => "the name has control characters",
            Self::Empty => "the name names no file",
        })
    }
}

pub(super) fn path(name: &[u8]) -> Result<PathBuf, BadName> {
    if name.iter().any(u8::is_ascii_control) {
        return Err(BadName::Control);
    }
    let mut path = PathBuf::new();
    for component in name.split(|&b| b == b'/' || b == b'\\') {
        match component {
            b"" | b"." => {}
            b".." => return Err(BadName::Climbs),
            plain => path.push(OsStr::from_bytes(plain)),
        }
    }
    if path.as_os_str().is_empty() { Err(BadName::Empty) } else { Ok(path) }
}

/// The name as a log may show it.
pub(super) fn shown(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_spellings_are_one_path() {
        for name in
            ["boot/vmlinuz", "/boot/vmlinuz", "//boot//vmlinuz", "\\boot\\vmlinuz", "./boot/./vmlinuz"]
        {
            assert_eq!(path(name.as_bytes()), Ok(PathBuf::from("boot/vmlinuz")), "{name}");
        }
        assert_eq!(path(b"a..b/..c"), Ok(PathBuf::from("a..b/..c")));
    }

    #[test]
    fn nothing_climbs() {
        for name in ["..", "../etc/passwd", "boot/../../x", "boot\\..\\..\\x", "/..", "a/.."] {
            assert_eq!(path(name.as_bytes()), Err(BadName::Climbs), "{name}");
        }
        for name in ["", "/", "\\", "./."] {
            assert_eq!(path(name.as_bytes()), Err(BadName::Empty), "{name}");
        }
        assert_eq!(path(b"a\nb"), Err(BadName::Control));
    }
}
