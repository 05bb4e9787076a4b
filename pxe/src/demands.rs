//! What a program asks of the system that it is started on: a loader and libraries.
//!
//! Decides nothing about where they are; reads one file and follows no name.

use crate::elf::{Elf, X86_64};

/// What a dynamically linked program or library asks for (ld.so(8)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demands {
    /// The loader; libraries seldom name one, static programs never.
    pub interpreter: Option<String>,
    /// Names of libraries.
    pub needed: Vec<String>,
    /// Where they are looked for first; `$ORIGIN` is the file's own folder.
    pub search: Vec<String>,
}

/// The demands of an ELF file; none: it is no program of a 64-bit node, or has another form.
///
/// # Errors
/// It begins as a program of ours and is damaged.
pub fn demands(file: &[u8]) -> Result<Option<Demands>, &'static str> {
    let Some(elf) = Elf::parse(file).ok().filter(|elf| elf.machine() == X86_64) else { return Ok(None) };
    let dynamic = elf.dynamic()?;
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let search = dynamic.runpath.or(dynamic.rpath).unwrap_or_default();
    Ok(Some(Demands {
        interpreter: dynamic.interpreter.map(str::to_owned),
        needed: owned(&dynamic.needed),
        search: search.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::craft;

    #[test]
    fn a_program_says_what_it_needs_and_a_script_nothing() {
        let file = craft::dynamic(Some("/lib64/ld.so"), &["libz.so.1"], Some("$ORIGIN/../lib:/opt"));
        let wanted = Demands {
            interpreter: Some("/lib64/ld.so".into()),
            needed: vec!["libz.so.1".into()],
            search: vec!["$ORIGIN/../lib".into(), "/opt".into()],
        };
        assert_eq!(demands(&file), Ok(Some(wanted)));
        assert_eq!(demands(&craft::program(2, &[1])), Ok(Some(Demands::default())));
        assert_eq!(demands(b"#!/bin/sh\n"), Ok(None));
        assert!(demands(&file[..file.len() - 32]).is_err());
    }
}
