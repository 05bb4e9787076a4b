//! What a module says about itself: names it answers to, modules it stands on, the kernel it was built for.
//!
//! Reads the `.modinfo` section of plain and of compressed modules; never trusts a length in them.

use std::io::Read as _;

use crate::elf::Elf;

/// Bytes of one unpacked module: the largest of Debian's is 12 MB (amdgpu), and a bad archive must not fill the memory.
const MAX_MODULE: u64 = 256 << 20;

/// The facts of one module.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Modinfo {
    /// Patterns of modaliases, and plain names.
    pub(crate) aliases: Vec<String>,
    /// Modules whose symbols it uses: without them it can't be loaded.
    pub(crate) depends: Vec<String>,
    /// What should be there before it: module names or aliases.
    pub(crate) soft_pre: Vec<String>,
    /// First word of vermagic.
    pub(crate) built_for: String,
}

impl Modinfo {
    /// Reads the facts out of an unpacked module.
    pub(crate) fn read(module: &[u8]) -> Result<Modinfo, String> {
        let section = Elf::parse(module)?.section(".modinfo")?.ok_or("it has no .modinfo section")?;
        let mut info = Modinfo::default();
        for field in section.split(|&byte| byte == 0) {
            let Some((key, value)) = str::from_utf8(field).ok().and_then(|field| field.split_once('='))
            else {
                continue;
            };
            match key {
                "alias" => info.aliases.push(value.to_owned()),
                "depends" => {
                    info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(canonical));
                }
                "softdep" => info.soft_pre.extend(pre(value)),
                "vermagic" => info.built_for = value.split(' ').next().unwrap_or_default().to_owned(),
                _ => {}
            }
        }
        Ok(info)
    }
}

/// The kernel's own form of a module's name: files may have dashes, the kernel never has.
pub(crate) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The `pre:` part of `pre: a b post: c` (modprobe.d(5)).
fn pre(value: &str) -> Vec<String> {
    let mut wanted = false;
    let mut names = Vec::new();
    for word in value.split_ascii_whitespace() {
        match word {
            "pre:" => wanted = true,
            "post:" => wanted = false,
            name if wanted => names.push(name.to_owned()),
            _ => {}
        }
    }
    names
}

/// Unpacks a module file by what its name ends in. The kernel's own reader would want the same tools on the node.
pub(crate) fn unpack(file_name: &str, bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    let result = match file_name.rsplit('.').next() {
        Some("xz") => {
            let mut bounded = Bounded(Vec::new());
            let result =
                lzma_rs::xz_decompress(&mut bytes.as_slice(), &mut bounded).map_err(|e| format!("xz: {e:?}"));
            plain = bounded.0;
            result
        }
        Some("zst") => zstd::Decoder::new(bytes.as_slice())
            .and_then(|reader| reader.take(MAX_MODULE).read_to_end(&mut plain))
            .map_err(|e| format!("zstd: {e}"))
            .map(drop),
        Some("gz") => flate2::read::GzDecoder::new(bytes.as_slice())
            .take(MAX_MODULE)
            .read_to_end(&mut plain)
            .map_err(|e| format!("gzip: {e}"))
            .map(drop),
        _ => {
            plain = bytes;
            Ok(())
        }
    };
    result.map(|()| plain)
}

/// A vector that refuses to outgrow a module.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > MAX_MODULE {
            return Err(std::io::Error::other("larger than any module"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod craft {
    use crate::elf::craft::object;

    /// A module with these `key=value` fields.
    pub(crate) fn module(fields: &[&str]) -> Vec<u8> {
        let mut section = Vec::new();
        for field in fields {
            section.extend(field.as_bytes());
            section.push(0);
        }
        object(".modinfo", &section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn reads_what_matters() {
        let module = craft::module(&[
            "alias=pci:v00008086d*",
            "alias=crypto-crc32c",
            "depends=mdio,lib-crc32c",
            "softdep=post: late pre: crc32c realtek",
            "softdep=pre: more",
            "vermagic=6.1.0-56-amd64 SMP preempt mod_unload modversions ",
            "nonsense",
            "",
        ]);
        let info = Modinfo::read(&module).unwrap();
        assert_eq!(info.aliases, ["pci:v00008086d*", "crypto-crc32c"]);
        assert_eq!(info.depends, ["mdio", "lib_crc32c"]);
        assert_eq!(info.soft_pre, ["crc32c", "realtek", "more"]);
        assert_eq!(info.built_for, "6.1.0-56-amd64");
        assert!(Modinfo::read(&craft::module(&["depends="])).unwrap().depends.is_empty());
    }

    #[test]
    fn refuses_what_is_no_module() {
        assert_eq!(Modinfo::read(b"text").unwrap_err(), "not an ELF file");
        let other = crate::elf::craft::object(".text", b"x");
        assert_eq!(Modinfo::read(&other).unwrap_err(), "it has no .modinfo section");
    }

    #[test]
    fn unpacks_what_distributions_ship() {
        let plain = craft::module(&["license=GPL"]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(&plain).unwrap();
        let mut xz = Vec::new();
        lzma_rs::xz_compress(&mut plain.as_slice(), &mut xz).unwrap();
        let zst = zstd::encode_all(plain.as_slice(), 3).unwrap();
        for (name, packed) in
            [("a.ko", plain.clone()), ("a.ko.gz", gz.finish().unwrap()), ("a.ko.xz", xz), ("a.ko.zst", zst)]
        {
            assert!(unpack(name, packed.clone()).unwrap() == plain, "{name}");
            if name != "a.ko" {
                assert!(unpack(name, packed[..packed.len() / 2].to_vec()).is_err(), "half of {name}");
                assert!(unpack(name, b"rubbish".to_vec()).is_err(), "{name} of rubbish");
            }
        }
    }
}
