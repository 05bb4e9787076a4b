//! The module index of the bootstrap image: which module serves a modalias, and what has to be loaded before it.
//!
//! Decides nothing about loading. The image is trusted, but a line that is not understood is an error, not a guess.

use std::collections::HashMap;

use super::glob;

/// One module of the image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// File name in the image's folder of modules.
    pub(crate) file: String,
    /// Everything it stands on, in load order.
    pub(crate) needs: Vec<Need>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) name: String,
    /// A soft dependency: the module runs without it.
    pub(crate) optional: bool,
}

/// The parsed index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    modules: HashMap<String, Module>,
    /// Patterns and module names by the word before the first colon (`pci`, `usb`): a PC asks for a hundred modaliases,
    /// and the image knows thousands of patterns. Patterns that have a wildcard in that word are under "".
    aliases: HashMap<String, Vec<(String, String)>>,
    /// Modules to load whatever the hardware is.
    always: Vec<String>,
}

impl Index {
    /// Parses the whole file; the error names the line.
    pub(crate) fn parse(text: &str) -> Result<Index, String> {
        let mut index = Index::default();
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace();
            let parsed = match words.next() {
                None => Some(()),
                Some("module") => index.module(&mut words),
                Some("alias") => index.alias(&mut words),
                Some("load") => words.next().map(|name| index.always.push(name.to_owned())),
                Some(_) => None,
            };
            if parsed.is_none() {
                return Err(format!("line {}: {line:?} is no line of a module index", number + 1));
            }
        }
        Ok(index)
    }

    fn module<'a>(&mut self, words: &mut impl Iterator<Item = &'a str>) -> Option<()> {
        let (name, file) = (words.next()?.to_owned(), words.next()?.to_owned());
        // The file is opened below the image's folder: nothing may lead out of it.
        if file.contains('/') {
            return None;
        }
        let needs = words.map(|word| match word.strip_prefix('?') {
            Some(name) => Need { name: name.to_owned(), optional: true },
            None => Need { name: word.to_owned(), optional: false },
        });
        let needs = needs.collect();
        self.modules.insert(name.clone(), Module { name, file, needs });
        Some(())
    }

    fn alias<'a>(&mut self, words: &mut impl Iterator<Item = &'a str>) -> Option<()> {
        let (pattern, module) = (words.next()?, words.next()?);
        self.aliases
            .entry(bus(pattern).to_owned())
            .or_default()
            .push((pattern.to_owned(), module.to_owned()));
        Some(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Module> {
        self.modules.get(name)
    }

    pub(crate) fn always(&self) -> &[String] {
        &self.always
    }

    /// The modules that serve this modalias, each once, in the order of the index.
    pub(crate) fn serving(&self, modalias: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for key in [bus(modalias), ""] {
            for (pattern, module) in self.aliases.get(key).into_iter().flatten() {
                if !found.contains(&module.as_str()) && glob::matches(pattern, modalias) {
                    found.push(module.as_str());
                }
            }
        }
        found
    }
}

/// The word before the first colon, or "" where it has a wildcard.
fn bus(alias: &str) -> &str {
    match alias.split_once(':') {
        Some((bus, _)) if bus.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') => bus,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
module crc32c_intel crc32c_intel.ko
module libcrc32c libcrc32c.ko ?crc32c_intel
module virtio virtio.ko virtio_ring
module bnx2x bnx2x.ko ?crc32c_intel libcrc32c mdio

alias pci:v000014E4d0000168Esv*sd*bc*sc*i* bnx2x
alias acpi*:PNP0C0C:* button
alias virtio:d00000001v* virtio_net
alias virtio:d* virtio_any
load loop
";

    #[test]
    fn reads_what_the_image_builder_writes() {
        let index = Index::parse(TEXT).unwrap();
        let bnx2x = index.get("bnx2x").unwrap();
        assert_eq!(bnx2x.file, "bnx2x.ko");
        let needs: Vec<_> = bnx2x.needs.iter().map(|n| (n.name.as_str(), n.optional)).collect();
        assert_eq!(needs, [("crc32c_intel", true), ("libcrc32c", false), ("mdio", false)]);
        assert_eq!(index.always(), ["loop"]);
        assert!(index.get("nothing").is_none());
    }

    #[test]
    fn finds_by_modalias() {
        let index = Index::parse(TEXT).unwrap();
        assert_eq!(index.serving("pci:v000014E4d0000168Esv1sd2bc02sc00i00"), ["bnx2x"]);
        assert_eq!(index.serving("acpi:PNP0C0C:"), ["button"], "a wildcard in the bus word");
        assert_eq!(
            index.serving("virtio:d00000001v00001AF4"),
            ["virtio_net", "virtio_any"],
            "all that match"
        );
        assert!(index.serving("usb:v1").is_empty());
        assert!(index.serving("").is_empty());
    }

    #[test]
    fn names_the_line_it_cannot_read() {
        for bad in ["module", "module a", "alias x", "load", "frob x", "module a ../init"] {
            let error = Index::parse(&format!("load loop\n{bad}\n")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }
}
