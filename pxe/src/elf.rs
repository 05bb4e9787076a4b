//! A reader for our questions about an ELF file: one section's bytes, does it need a loader, and which libraries.
//!
//! 64-bit little-endian only (what a node's kernel and modules are). Every offset is checked; nothing is copied.

/// A checked 64-bit little-endian ELF file.
pub(crate) struct Elf<'a> {
    file: &'a [u8],
}

/// e_machine of x86-64.
pub(crate) const X86_64: u16 = 62;
/// e_type of a program at a fixed address, and of a position-independent one.
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
/// Program headers: bytes that are mapped, the table for the dynamic loader, and the loader's own name.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
/// Tags of the dynamic table: end, a library, where the names are, where libraries are looked for (old and new way).
const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
/// A section without bytes in the file.
const SHT_NOBITS: u32 = 8;

/// What an ELF file asks of the dynamic loader (elf(5), ld.so(8)).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Dynamic<'a> {
    /// The loader itself: programs name it, libraries seldom do.
    pub(crate) interpreter: Option<&'a str>,
    /// Names of libraries, in the order in which they are loaded.
    pub(crate) needed: Vec<&'a str>,
    /// Folders, separated by colons.
    pub(crate) rpath: Option<&'a str>,
    pub(crate) runpath: Option<&'a str>,
}

/// A program header.
struct Segment {
    kind: u32,
    /// In the file.
    offset: usize,
    address: u64,
    length: usize,
}

impl<'a> Elf<'a> {
    pub(crate) fn parse(file: &'a [u8]) -> Result<Elf<'a>, &'static str> {
        if file.get(..4) != Some(b"\x7fELF".as_slice()) {
            return Err("not an ELF file");
        }
        if file.get(4..6) != Some([2, 1].as_slice()) {
            return Err("not a 64-bit little-endian ELF file");
        }
        if file.len() < 64 {
            return Err("the ELF header is cut short");
        }
        Ok(Elf { file })
    }

    pub(crate) fn machine(&self) -> u16 {
        self.u16(18).unwrap_or(0)
    }

    /// A program that the kernel starts by itself, without a dynamic loader.
    pub(crate) fn is_static_program(&self) -> Result<bool, &'static str> {
        if !matches!(self.u16(16), Some(ET_EXEC | ET_DYN)) {
            return Ok(false);
        }
        let segments = self.segments()?;
        // Without any program header there is nothing to run.
        Ok(!segments.is_empty() && segments.iter().all(|segment| segment.kind != PT_INTERP))
    }

    /// What the dynamic loader is asked for; nothing at all where the file is static.
    pub(crate) fn dynamic(&self) -> Result<Dynamic<'a>, &'static str> {
        const CUT: &str = "the dynamic table is cut short";
        let segments = self.segments()?;
        let mut dynamic = Dynamic::default();
        if let Some(segment) = segments.iter().find(|segment| segment.kind == PT_INTERP) {
            dynamic.interpreter = Some(self.text(segment.offset, segment.length).ok_or(CUT)?);
        }
        let Some(table) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
            return Ok(dynamic);
        };
        let mut entries = Vec::new();
        for at in (0..table.length / 16).map(|number| table.offset.saturating_add(number * 16)) {
            let tag = self.u64(at).ok_or(CUT)?;
            if tag == DT_NULL {
                break;
            }
            entries.push((tag, self.u64(at.saturating_add(8)).ok_or(CUT)?));
        }
        let Some(&(_, names)) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB) else {
            return Ok(dynamic);
        };
        // The table has addresses as they are in memory; the file has the bytes of the segment that is mapped there.
        let holds = |s: &&Segment| {
            s.kind == PT_LOAD && names.checked_sub(s.address).is_some_and(|into| into < s.length as u64)
        };
        let names = segments
            .iter()
            .find(holds)
            .and_then(|s| s.offset.checked_add(usize::try_from(names.checked_sub(s.address)?).ok()?));
        let names = names.ok_or("its names are in no segment")?;
        let name = |value: u64| {
            let at = usize::try_from(value).ok().and_then(|value| names.checked_add(value))?;
            self.text(at, self.file.len().checked_sub(at)?)
        };
        for (tag, value) in entries {
            match tag {
                DT_NEEDED => dynamic.needed.push(name(value).ok_or(CUT)?),
                DT_RPATH => dynamic.rpath = Some(name(value).ok_or(CUT)?),
                DT_RUNPATH => dynamic.runpath = Some(name(value).ok_or(CUT)?),
                _ => {}
            }
        }
        Ok(dynamic)
    }

    fn segments(&self) -> Result<Vec<Segment>, &'static str> {
        const CUT: &str = "the program headers are cut short";
        let (start, size, count) = (self.offset(32), self.u16(54), self.u16(56));
        let (start, size, count) =
            (start.ok_or(CUT)?, usize::from(size.ok_or(CUT)?), usize::from(count.ok_or(CUT)?));
        let segment = |number: usize| {
            let at = number.checked_mul(size)?.checked_add(start)?;
            Some(Segment {
                kind: self.u32(at)?,
                offset: self.offset(at.checked_add(8)?)?,
                address: self.u64(at.checked_add(16)?)?,
                length: self.offset(at.checked_add(32)?)?,
            })
        };
        (0..count).map(|number| segment(number).ok_or(CUT)).collect()
    }

    /// A text that ends with a zero, within `length` bytes.
    fn text(&self, at: usize, length: usize) -> Option<&'a str> {
        let bytes = self.file.get(at..at.checked_add(length)?)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        str::from_utf8(bytes.get(..end)?).ok()
    }

    /// The bytes of the section with this name; `None` when there is no such section.
    pub(crate) fn section(&self, name: &str) -> Result<Option<&'a [u8]>, &'static str> {
        const CUT: &str = "the section headers are cut short";
        let count = usize::from(self.u16(60).ok_or(CUT)?);
        let names = usize::from(self.u16(62).ok_or(CUT)?);
        if count == 0 {
            return Ok(None);
        }
        let strings =
            self.contents(self.header(names).ok_or(CUT)?).ok_or("the section names are cut short")?;
        for number in 0..count {
            let at = self.header(number).ok_or(CUT)?;
            let start = self.u32(at).ok_or(CUT)? as usize;
            let found = strings.get(start..).and_then(|rest| rest.split(|&b| b == 0).next());
            if found == Some(name.as_bytes()) {
                return self.contents(at).map(Some).ok_or("a section is cut short");
            }
        }
        Ok(None)
    }

    /// Offset of a section header.
    fn header(&self, number: usize) -> Option<usize> {
        let size = usize::from(self.u16(58)?);
        let start = self.offset(40)?.checked_add(number.checked_mul(size)?)?;
        // All of it lies in the file: a cut file is no module, even where the fields that we read are there.
        self.file.get(start..start.checked_add(64)?).map(|_| start)
    }

    fn contents(&self, header: usize) -> Option<&'a [u8]> {
        if self.u32(header.checked_add(4)?)? == SHT_NOBITS {
            return Some(&[]);
        }
        let start = self.offset(header.checked_add(24)?)?;
        let length = self.offset(header.checked_add(32)?)?;
        self.file.get(start..start.checked_add(length)?)
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.file.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    /// A 64-bit offset or length that fits this machine.
    fn offset(&self, at: usize) -> Option<usize> {
        self.u64(at).and_then(|n| usize::try_from(n).ok())
    }
}

/// Builders of small files for the tests of this package.
#[cfg(test)]
pub(crate) mod craft {
    /// An object file with one named section.
    pub(crate) fn object(section: &str, contents: &[u8]) -> Vec<u8> {
        let mut names = vec![0];
        names.extend(section.as_bytes());
        names.extend(b"\0.shstrtab\0");
        let names_at = 64 + contents.len() as u64;
        let headers_at = names_at + names.len() as u64;
        let mut file = header(1, 0, 0, headers_at, 3, 2);
        file.extend(contents);
        file.extend(&names);
        file.extend([0; 64]);
        file.extend(section_header(1, 1, 64, contents.len() as u64));
        file.extend(section_header(section.len() as u32 + 2, 3, names_at, names.len() as u64));
        file
    }

    /// A program with program headers of these types.
    pub(crate) fn program(kind: u16, headers: &[u32]) -> Vec<u8> {
        let mut file = header(kind, 64, headers.len() as u16, 0, 0, 0);
        for p_type in headers {
            file.extend(p_type.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    /// A program (with an interpreter) or a library that needs these libraries and looks for them in `runpath` too.
    pub(crate) fn dynamic(interpreter: Option<&str>, needed: &[&str], runpath: Option<&str>) -> Vec<u8> {
        const ADDRESS: u64 = 0x40_0000;
        let mut names = vec![0];
        let mut add = |text: &str| {
            let at = names.len() as u64;
            names.extend(text.as_bytes());
            names.push(0);
            at
        };
        let interpreter = interpreter.map(|text| (add(text), text.len() as u64 + 1));
        let mut table: Vec<(u64, u64)> = needed.iter().map(|name| (super::DT_NEEDED, add(name))).collect();
        table.extend(runpath.map(|path| (super::DT_RUNPATH, add(path))));
        let count = 2 + u16::from(interpreter.is_some());
        let names_at = 64 + 56 * u64::from(count);
        let table_at = names_at + names.len() as u64;
        table.push((super::DT_STRTAB, ADDRESS + names_at));
        table.push((super::DT_NULL, 0));
        let table_len = 16 * table.len() as u64;
        let mut file = header(super::ET_DYN, 64, count, 0, 0, 0);
        let mut segment = |kind: u32, at: u64, length: u64| {
            file.extend(kind.to_le_bytes());
            file.extend([0; 4]);
            for field in [at, ADDRESS + at, ADDRESS + at, length, length, 1] {
                file.extend(field.to_le_bytes());
            }
        };
        segment(super::PT_LOAD, 0, table_at + table_len);
        segment(super::PT_DYNAMIC, table_at, table_len);
        if let Some((at, length)) = interpreter {
            segment(super::PT_INTERP, names_at + at, length);
        }
        file.extend(names);
        for (tag, value) in table {
            file.extend(tag.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file
    }

    fn header(kind: u16, phoff: u64, phnum: u16, shoff: u64, shnum: u16, shstrndx: u16) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend(kind.to_le_bytes());
        file.extend(super::X86_64.to_le_bytes());
        file.extend([0; 12]);
        file.extend(phoff.to_le_bytes());
        file.extend(shoff.to_le_bytes());
        file.extend([0; 4]);
        for field in [64, 56, phnum, 64, shnum, shstrndx] {
            file.extend(field.to_le_bytes());
        }
        file
    }

    fn section_header(name: u32, kind: u32, offset: u64, size: u64) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(name.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend([0; 16]);
        out.extend(offset.to_le_bytes());
        out.extend(size.to_le_bytes());
        out.resize(64, 0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_section_by_name() {
        let file = craft::object(".modinfo", b"license=GPL\0");
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(elf.section(".modinfo").unwrap(), Some(b"license=GPL\0".as_slice()));
        assert_eq!(elf.section(".modinf").unwrap(), None);
        assert_eq!(elf.machine(), X86_64);
    }

    #[test]
    fn every_truncation_is_an_error_or_no_section_and_never_a_panic() {
        let file = craft::object(".modinfo", b"license=GPL\0");
        for length in 0..file.len() {
            let answer = Elf::parse(&file[..length]).and_then(|elf| elf.section(".modinfo"));
            assert!(answer.is_err(), "{length} bytes gave {answer:?}");
        }
    }

    #[test]
    fn every_flipped_byte_is_survived() {
        let good = craft::object(".modinfo", b"license=GPL\0");
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut file = good.clone();
                file[at] = value;
                if let Ok(elf) = Elf::parse(&file) {
                    let _ = elf.section(".modinfo");
                    let _ = elf.is_static_program();
                    let _ = elf.dynamic();
                }
            }
        }
    }

    #[test]
    fn names_the_libraries_and_where_they_are_looked_for() {
        let file = craft::dynamic(Some("/lib64/ld.so"), &["libz.so.1", "libc.so.6"], Some("$ORIGIN/../lib"));
        let dynamic = Elf::parse(&file).unwrap().dynamic().unwrap();
        assert_eq!(dynamic.interpreter, Some("/lib64/ld.so"));
        assert_eq!(dynamic.needed, ["libz.so.1", "libc.so.6"]);
        assert_eq!((dynamic.rpath, dynamic.runpath), (None, Some("$ORIGIN/../lib")));
        let library = craft::dynamic(None, &[], None);
        assert_eq!(Elf::parse(&library).unwrap().dynamic(), Ok(Dynamic::default()));
        let plain = craft::program(ET_EXEC, &[1, 1]);
        assert_eq!(Elf::parse(&plain).unwrap().dynamic(), Ok(Dynamic::default()));
    }

    #[test]
    fn a_broken_dynamic_table_is_an_error_and_never_a_panic() {
        let good = craft::dynamic(Some("/lib64/ld.so"), &["libz.so.1"], Some("/opt"));
        for length in 64..good.len() - 16 {
            let answer = Elf::parse(&good[..length]).and_then(|elf| elf.dynamic());
            assert!(answer.is_err(), "{length} bytes gave {answer:?}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut file = good.clone();
                file[at] = value;
                if let Ok(elf) = Elf::parse(&file) {
                    let _ = elf.dynamic();
                }
            }
        }
    }

    #[test]
    fn tells_static_programs() {
        let is_static = |file: &[u8]| Elf::parse(file).and_then(|elf| elf.is_static_program());
        assert_eq!(is_static(&craft::program(ET_EXEC, &[1, 1])), Ok(true));
        assert_eq!(
            is_static(&craft::program(ET_DYN, &[1, 2])),
            Ok(true),
            "static-pie has PT_DYNAMIC, but no PT_INTERP"
        );
        assert_eq!(is_static(&craft::program(ET_DYN, &[1, PT_INTERP, 2])), Ok(false));
        assert_eq!(is_static(&craft::object(".modinfo", b"")), Ok(false));
        let cut = craft::program(ET_DYN, &[1, 2]);
        assert!(is_static(&cut[..100]).is_err());
        assert_eq!(is_static(b"#!/bin/sh\n"), Err("not an ELF file"));
    }
}
