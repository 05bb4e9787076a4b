//! A reader for the two questions we have about an ELF file: one section's bytes, and does it need a loader.
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
/// A program header that names the dynamic loader.
const PT_INTERP: u32 = 3;
/// A section without bytes in the file.
const SHT_NOBITS: u32 = 8;

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
        const CUT: &str = "the program headers are cut short";
        if !matches!(self.u16(16), Some(ET_EXEC | ET_DYN)) {
            return Ok(false);
        }
        let (start, size, count) = (self.offset(32), self.u16(54), self.u16(56));
        let (start, size, count) =
            (start.ok_or(CUT)?, usize::from(size.ok_or(CUT)?), usize::from(count.ok_or(CUT)?));
        for number in 0..count {
            let at = number.checked_mul(size).and_then(|n| n.checked_add(start)).ok_or(CUT)?;
            if self.u32(at).ok_or(CUT)? == PT_INTERP {
                return Ok(false);
            }
        }
        // Without any program header there is nothing to run.
        Ok(count > 0)
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

    /// A 64-bit offset or length that fits this machine.
    fn offset(&self, at: usize) -> Option<usize> {
        self.bytes(at).map(u64::from_le_bytes).and_then(|n| usize::try_from(n).ok())
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
