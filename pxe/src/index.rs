//! The index that the node loads its drivers by: flat text, so that the agent needs no ELF reader.
//!
//! Writes what agent/src/modules/index.rs reads: `module`, `alias` and `load` lines (ARCHITECTURE.md 3.3).

use std::fmt::Write as _;

use crate::closure::Closure;

/// The index of a closure; `always` names the modules that no hardware asks for.
pub(crate) fn emit<'a>(closure: &Closure, always: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    for (name, member) in &closure.members {
        let _ = write!(out, "module {name} {}", file_name(name));
        for need in &member.needs {
            let _ = write!(out, " {}{}", if need.optional { "?" } else { "" }, need.name);
        }
        out.push('\n');
    }
    for (name, member) in &closure.members {
        for alias in &member.module.info.aliases {
            // Plain names (`crypto-crc32c`, `fs-squashfs`) belong to no device.
            if alias.contains(':') && !alias.contains(char::is_whitespace) {
                let _ = writeln!(out, "alias {alias} {name}");
            }
        }
    }
    for name in always.filter(|name| closure.members.contains_key(*name)) {
        let _ = writeln!(out, "load {name}");
    }
    out
}

/// The module's file in the image, beside the index.
pub(crate) fn file_name(name: &str) -> String {
    format!("{name}.ko")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::closure::close;
    use crate::library::{Library, craft::write};

    #[test]
    fn the_whole_index() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "libphy.ko", "6.1", &[]);
        write(
            folder,
            "realtek.ko",
            "6.1",
            &["depends=libphy", "alias=mdio:0000000000011100110010??????????"],
        );
        let fields =
            ["depends=libphy", "softdep=pre: realtek", "alias=pci:v000010ECd00008168sv*", "alias=plain"];
        write(folder, "r8169.ko", "6.1", &fields);
        write(folder, "loop.ko", "6.1", &["alias=devname:loop-control"]);
        let library = Library::open(folder, "6.1").unwrap();
        let closure = close(&library, ["r8169", "loop"].into_iter(), &[]).unwrap();
        assert_eq!(
            emit(&closure, ["evdev", "loop"].into_iter()),
            "module libphy libphy.ko\n\
             module loop loop.ko\n\
             module r8169 r8169.ko libphy ?realtek\n\
             module realtek realtek.ko libphy\n\
             alias devname:loop-control loop\n\
             alias pci:v000010ECd00008168sv* r8169\n\
             alias mdio:0000000000011100110010?????????? realtek\n\
             load loop\n"
        );
    }
}
