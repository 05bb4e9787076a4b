//! The [bundle] of an os.toml: this machine's QEMU becomes the root of an image that is run.
//! Decides what is asked of it; never looks for a file of QEMU's.

use super::finding::Place;
use super::section::Section;
use super::value::Spelt;

/// A bundle that boottorrent-gen makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The table's own line.
    pub place: Place,
    pub display: Display,
    /// Guests that want UEFI instead of a BIOS.
    pub uefi: bool,
}

/// Which of QEMU's displays it can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Display {
    None,
    Curses,
    Sdl,
}

impl Spelt for Display {
    const KIND: &'static str =
        "\"none\", \"curses\" (text, on the console) or \"sdl\" (full screen, without a desktop)";

    fn read(text: &str) -> Result<Display, String> {
        match text {
            "none" => Ok(Display::None),
            "curses" => Ok(Display::Curses),
            "sdl" => Ok(Display::Sdl),
            _ => Err(format!("{text:?} is no display of a bundle")),
        }
    }
}

/// The table, where there is one.
pub(crate) fn read(root: &Section<'_>) -> Option<Bundle> {
    let section = root.section("bundle");
    if !section.exists() {
        return None;
    }
    let place = section.place().clone();
    let qemu = section.get_bool("qemu");
    let display = section.get::<Display>("display").map_or(Display::None, |d| d.value);
    let uefi = section.get_bool("uefi").unwrap_or(false);
    let findings = section.findings();
    section.finish();
    if qemu != Some(true) {
        let what = "this [bundle] has nothing in it";
        findings.add(&place, what, "write qemu = true, or take the table out and name a root");
        return None;
    }
    Some(Bundle { place, display, uefi })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Findings;
    use super::super::section::Document;
    use super::*;

    fn read_text(text: &str) -> (Option<Bundle>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("os.toml");
        std::fs::write(&path, text).unwrap();
        let findings = Findings::new();
        let document = Document::open(&path, &findings).unwrap();
        let table = document.parse(&findings).unwrap();
        let bundle = read(&Section::root(&document, &table, &findings));
        let folder = format!("{}/", folder.path().display());
        let told = findings.into_sorted().iter().map(|f| f.to_string().replace(&folder, "")).collect();
        (bundle, told)
    }

    #[test]
    fn a_bundle_says_which_displays_it_shows() {
        let (bundle, told) =
            read_text("title = \"DOS\"\n[bundle]\nqemu = true\ndisplay = \"sdl\"\nuefi = true\n");
        assert!(told.is_empty(), "{told:?}");
        let bundle = bundle.unwrap();
        assert_eq!(
            (bundle.display, bundle.uefi, bundle.place.in_words()),
            (Display::Sdl, true, "line 2".into())
        );
        let (bundle, _) = read_text("[bundle]\nqemu = true\n");
        assert_eq!(bundle.map(|b| (b.display, b.uefi)), Some((Display::None, false)));
        assert_eq!(read_text("title = \"DOS\"\n"), (None, Vec::new()));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let (bundle, told) = read_text("[bundle]\nqemu = false\n");
        assert_eq!(bundle, None);
        assert_eq!(
            told,
            [
                "os.toml:1: this [bundle] has nothing in it; write qemu = true, or take the table out and name a root"
            ]
        );
        let (_, told) = read_text("[bundle]\nqemu = true\ndisplay = \"gtk\"\nkvm = true\n");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("os.toml:3: \"display\": \"gtk\" is no display of a bundle; write \"none\"")
        );
        assert!(told[1].starts_with("os.toml:4: unknown key \"kvm\" in [bundle]; "), "{}", told[1]);
    }
}
