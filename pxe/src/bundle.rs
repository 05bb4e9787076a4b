//! QEMU as it is installed on this machine, with exactly what it needs to run on a node that has nothing: a tree.
//!
//! Decides which files belong into that tree, and under which path. Reads this machine; copies and packs nothing.

// In the order of the flow: what is wanted, where libraries are, what they stand on, the tree, why there is none.
mod parts;
mod cache;
mod libraries;
mod tree;
mod error;

use std::fmt;
use std::path::{Path, PathBuf};

pub use error::Error;
pub use tree::{Entry, Tree};

use libraries::Libraries;
use parts::Part;

/// How the guest's screen comes to the node's. What nobody looks at is shown all the same: `-display none` and a
/// serial line need nothing of this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Display {
    None,
    /// Text guests in colour on the node's text console: `-display curses`.
    Curses,
    /// Any guest, full screen, on the kernel's display driver: `-display sdl`. It needs a tenfold of files, since SDL draws
    /// by OpenGL, which is Mesa's renderer and its compiler; it can show [`Display::Curses`] as well.
    Sdl,
}

/// What the bundle has to be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub display: Display,
    /// Guests that want UEFI: OVMF.
    pub uefi: bool,
}

/// A variable that the programs of the bundle need in their environment.
pub type Variable = (&'static str, &'static str);

impl Wanted {
    /// What a program of this bundle finds in its environment unless the maintainer says otherwise.
    #[must_use]
    pub fn environment(&self) -> Vec<Variable> {
        // QEMU keeps what a guest writes to a `snapshot` drive in TMPDIR; its own choice is /var/tmp or /tmp, by version.
        let mut variables = vec![("TMPDIR", "/tmp")];
        if self.display >= Display::Curses {
            // The kernel's console is in UTF-8 mode from the start.
            variables.push(("LANG", "C.UTF-8"));
        }
        if self.display == Display::Sdl {
            // Its first choice would be OpenGL. There is none on KMS, and what SDL makes next in the same window stays black.
            variables.push(("SDL_RENDER_DRIVER", "opengles2"));
            variables.extend([("SDL_VIDEODRIVER", "kmsdrm"), ("XDG_RUNTIME_DIR", "/run")]);
        }
        variables
    }
}

/// QEMU and what it needs.
#[derive(Debug, Clone)]
pub struct Bundle {
    pub tree: Tree,
}

/// Collects the bundle out of the system below `root` (`/`: this machine).
///
/// # Errors
/// Names the file that is missing, what needs it and the package that brings it.
pub fn collect(root: &Path, wanted: Wanted) -> Result<Bundle, Error> {
    let mut tree = Tree::new(root);
    for folder in parts::FOLDERS {
        tree.add_folder(Path::new(folder));
    }
    let mut programs = Vec::new();
    for part in parts::wanted(wanted) {
        if let Some(found) = take(&mut tree, part)? {
            programs.push(found);
        }
    }
    let mut libraries = Libraries::open(root)?;
    for path in programs {
        libraries.close(&mut tree, &path)?;
    }
    Ok(Bundle { tree })
}

/// Takes a part with the links on the way to it; its path in the tree where it is a file.
fn take(tree: &mut Tree, part: &Part) -> Result<Option<PathBuf>, Error> {
    for place in part.places {
        let path = Path::new(place);
        if tree.is_folder(path) {
            tree.take_all(path)?;
            return Ok(None);
        }
        if tree.is_file(path) {
            return tree.take(path).map(Some);
        }
    }
    if part.optional {
        return Ok(None);
    }
    let path = part.places.first().map(PathBuf::from).unwrap_or_default();
    Err(Error::Missing { path, purpose: part.purpose, package: part.package })
}

/// How many of the largest files the table names.
const LARGEST: usize = 12;

/// A table: the largest files, the rest in one line, and the sum.
impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.tree.by_size();
        let sum = |files: &[(u64, &Path)]| files.iter().map(|(size, _)| size).sum::<u64>();
        let (largest, smaller) = files.split_at(files.len().min(LARGEST));
        for (size, path) in largest {
            writeln!(f, "{size:>11} {}", Path::new("/").join(path).display())?;
        }
        if !smaller.is_empty() {
            writeln!(f, "{:>11} in {} smaller files", sum(smaller), smaller.len())?;
        }
        write!(f, "{:>11} bytes in {} files, before they are packed", sum(&files), files.len())
    }
}

#[cfg(test)]
mod tests;
