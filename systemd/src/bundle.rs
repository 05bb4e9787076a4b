//! The [bundle] of an operating system: collected from this machine, told with its sizes, packed as the program's root.
//! Decides what a program of it finds in its environment; which files it has, boottorrent-pxe decides.

use crate::error::Error;
use crate::image::hex;
use crate::root::{self, Packed};
use crate::squashfs;
use boottorrent_masterd::site::bundle::{Bundle, Display};
use boottorrent_masterd::site::program::RootKind;
use boottorrent_masterd::site::{Findings, Os};
use boottorrent_masterd::store::{Context, Store};
use boottorrent_pxe::bundle::{self, Tree, Wanted};
use boottorrent_swarm::catalog::{MAX_VARIABLES, Program};
use std::fs;
use std::path::Path;

/// The system whose QEMU it is.
const HERE: &str = "/";
/// The tree while it is packed, in the store's cache.
const STAGED: &str = "bundle-unfinished";

/// A bundle whose files are known.
struct Collected {
    /// With the maintainer's own files over QEMU's.
    tree: Tree,
    /// What QEMU's files weigh.
    table: String,
}

impl Bundled<'_> {
    fn collect(&self) -> Result<Collected, bundle::Error> {
        let collected = bundle::collect(Path::new(HERE), wanted(self.bundle))?;
        let table = collected.to_string();
        let mut tree = collected.tree;
        if let Some(root) = &self.os.root {
            tree.lay_over(&root.source)?;
        }
        Ok(Collected { tree, table })
    }

    /// As [`Bundled::collect`], for a run that has been examined: what is wrong now was right a moment ago.
    fn collect_again(&self) -> Result<Collected, Error> {
        self.collect().map_err(|e| Error::Told(format!("{}: [bundle]: {e}", self.bundle.place)))
    }
}

/// An operating system with its bundle.
#[derive(Clone, Copy)]
struct Bundled<'s> {
    os: &'s Os,
    bundle: &'s Bundle,
}

fn wanted(site: &Bundle) -> Wanted {
    let display = match site.display {
        Display::None => bundle::Display::None,
        Display::Curses => bundle::Display::Curses,
        Display::Sdl => bundle::Display::Sdl,
    };
    Wanted { display, uefi: site.uefi }
}

/// Tells of what is not installed here, and of a program that is not in the bundle.
pub(crate) fn check(os: &Os, bundle: &Bundle, findings: &Findings) -> Result<(), Error> {
    if !squashfs::is_installed() {
        let what = "mksquashfs or unsquashfs is missing, which pack the bundle";
        findings.add(&bundle.place, what, format!("install the package {}", squashfs::PACKAGE));
        return Ok(());
    }
    let collected = match (Bundled { os, bundle }).collect() {
        Ok(collected) => collected,
        Err(e) => {
            let told = e.to_string();
            let (what, remedy) = told.rsplit_once("; ").unwrap_or((&told, "install QEMU again"));
            findings.add(&bundle.place, what, remedy);
            return Ok(());
        }
    };
    root::check_bundle(&collected.tree, os, findings)?;
    let Some(program) = &os.program else { return Ok(()) };
    let variables = with_environment(os, &program.value).env.len();
    if variables > MAX_VARIABLES {
        let what = format!("\"env\" has {variables} variables together with those of the bundle");
        findings.add(&program.place, what, format!("at most {MAX_VARIABLES}: set them in a script"));
    }
    if let Some(display) = lacking(&program.value, bundle.display) {
        let what = format!("the program asks for -display {display}, which this bundle cannot show");
        findings.add(&program.place, what, format!("write display = \"{display}\" into [bundle]"));
    }
    Ok(())
}

/// The display that a program's arguments name and its bundle does not have.
fn lacking(program: &Program, display: Display) -> Option<&'static str> {
    let mut words = program.argv.iter().skip_while(|word| !matches!(word.as_str(), "-display" | "--display"));
    let named = words.nth(1)?.split(',').next()?;
    match (named, display) {
        ("curses", Display::None) => Some("curses"),
        ("sdl", Display::None | Display::Curses) => Some("sdl"),
        _ => None,
    }
}

/// What the packed bundle would be; nothing is written.
pub(crate) fn look(os: &Os, bundle: &Bundle) -> Result<Packed, Error> {
    packed(&Bundled { os, bundle }.collect_again()?.tree)
}

fn packed(tree: &Tree) -> Result<Packed, Error> {
    let look = hex(&tree.digest().map_err(|e| Error::Told(e.to_string()))?);
    Ok(Packed { source: tree.origin().to_owned(), look, length: tree.size(), file: None })
}

/// The bundle as a squashfs of the store's cache: packed by an earlier run with the same files, or now.
pub(crate) fn pack(
    os: &Os,
    bundle: &Bundle,
    store: &Store,
    say: &mut dyn FnMut(&str),
) -> Result<Packed, Error> {
    let bundled = Bundled { os, bundle };
    let Collected { tree, table } = bundled.collect_again()?;
    table.lines().for_each(|line| say(&format!("bundle: {line}")));
    root::cached(packed(&tree)?, store, |before, fresh| {
        say("bundle: packing it into a squashfs");
        let staged = store.root().join("cache").join(STAGED);
        if staged.exists() {
            // What a run that was killed left.
            fs::remove_dir_all(&staged).at(&staged, "be removed")?;
        }
        fs::create_dir(&staged).at(&staged, "be made")?;
        let made = tree.lay(&staged).map_err(|e| Error::Told(e.to_string()));
        let made = made.and_then(|()| squashfs::pack(&staged, RootKind::Folder, fresh));
        fs::remove_dir_all(&staged).at(&staged, "be removed")?;
        made?;
        Ok(packed(&bundled.collect_again()?.tree)?.look == before.look)
    })
}

/// The program with the variables that its bundle asks for; those of os.toml have the last word.
pub(crate) fn with_environment(os: &Os, program: &Program) -> Program {
    let mut program = program.clone();
    let variables = os.bundle.as_ref().map(|bundle| wanted(bundle).environment()).unwrap_or_default();
    for (name, value) in variables {
        if !program.env.iter().any(|(known, _)| known == name) {
            program.env.push((name.to_owned(), value.to_owned()));
        }
    }
    program
}
