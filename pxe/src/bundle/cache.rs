//! The dynamic loader's cache (`/etc/ld.so.cache`): where this machine's libraries are, as ldconfig(8) found them.
//!
//! Decides which entries are for programs of x86-64. A file in another form is no cache: the loader would say so, too.

use std::collections::HashMap;
use std::path::PathBuf;

/// What the file, or its later half, begins with (glibc's dl-cache.h); then 32 bits: entries, bytes of text.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
/// An entry: flags, name and path as offsets from the magic, version of the system, capabilities of the processor.
const ENTRY: usize = 24;
/// Flags of an ELF library of glibc for x86-64.
const X86_64: u32 = 0x0303;

/// Paths by the names that programs ask for.
pub(crate) type Cache = HashMap<String, PathBuf>;

/// The cache's entries, each name's first, which is the one that the loader takes. Those for newer processors are left
/// out: the node may have an older one, and every library is there in its plain form, too.
pub(crate) fn parse(file: &[u8]) -> Option<Cache> {
    let start = file.windows(MAGIC.len()).position(|bytes| bytes == MAGIC)?;
    let new = file.get(start..)?;
    let count = usize::try_from(word(new, MAGIC.len())?).ok()?;
    let mut cache = Cache::new();
    for number in 0..count {
        let at = HEADER.checked_add(number.checked_mul(ENTRY)?)?;
        let entry = new.get(at..at.checked_add(ENTRY)?)?;
        let is_plain = entry.get(16..ENTRY)?.iter().all(|&byte| byte == 0);
        if word(entry, 0)? == X86_64 && is_plain {
            let path = PathBuf::from(text(new, word(entry, 8)?)?);
            cache.entry(text(new, word(entry, 4)?)?.to_owned()).or_insert(path);
        }
    }
    Some(cache)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

fn text(bytes: &[u8], at: u32) -> Option<&str> {
    let rest = bytes.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&byte| byte == 0)?;
    str::from_utf8(rest.get(..end)?).ok()
}

#[cfg(test)]
pub(crate) mod craft {
    /// A cache of entries: flags, capabilities, name, path.
    pub(crate) fn cache(entries: &[(u32, u64, &str, &str)]) -> Vec<u8> {
        let mut texts = Vec::new();
        let mut table = Vec::new();
        let texts_at = super::HEADER + entries.len() * super::ENTRY;
        for (flags, capabilities, name, path) in entries {
            let mut add = |text: &str| {
                let at = (texts_at + texts.len()) as u32;
                texts.extend(text.as_bytes());
                texts.push(0);
                at
            };
            let (name, path) = (add(name), add(path));
            for field in [*flags, name, path, 0] {
                table.extend(field.to_le_bytes());
            }
            table.extend(capabilities.to_le_bytes());
        }
        let mut file = super::MAGIC.to_vec();
        file.extend((entries.len() as u32).to_le_bytes());
        file.extend((texts.len() as u32).to_le_bytes());
        file.resize(super::HEADER, 0);
        [file, table, texts].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn takes_the_first_plain_entry_of_this_architecture() {
        let file = craft::cache(&[
            (0x0003, 0, "libz.so.1", "/lib32/libz.so.1"),
            (X86_64, 1 << 62, "libz.so.1", "/lib/glibc-hwcaps/x86-64-v3/libz.so.1"),
            (X86_64, 0, "libz.so.1", "/usr/local/lib/libz.so.1"),
            (X86_64, 0, "libz.so.1", "/lib/libz.so.1"),
            (X86_64, 0, "libc.so.6", "/lib/libc.so.6"),
        ]);
        let cache = parse(&file).unwrap();
        assert_eq!(cache.len(), 2);
        assert_eq!(cache["libz.so.1"], Path::new("/usr/local/lib/libz.so.1"));
        let with_old_half = [b"ld.so-1.7.0\0padding.".as_slice(), &file].concat();
        assert_eq!(parse(&with_old_half), Some(cache));
    }

    #[test]
    fn what_is_cut_or_bent_is_no_cache_and_never_a_panic() {
        let file = craft::cache(&[(X86_64, 0, "libz.so.1", "/lib/libz.so.1")]);
        for length in 0..file.len() {
            assert_eq!(parse(&file[..length]), None, "{length} bytes");
        }
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bent = file.clone();
                bent[at] = value;
                let _ = parse(&bent);
            }
        }
        assert_eq!(parse(b"text"), None);
    }
}
