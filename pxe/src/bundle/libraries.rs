//! The libraries that programs and modules stand on, found where the dynamic loader would find them (ld.so(8)).
//!
//! Decides which file a library's name means, and that the loader of the node, which has no cache, finds it as well.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{self, Cache};
use super::{Error, Tree};
use crate::elf::{Dynamic, Elf, X86_64};

const CACHE: &str = "/etc/ld.so.cache";
/// Where a loader looks without a cache: Debian's, and that of others.
const SYSTEM: &[&str] =
    &["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];
/// The library that is always in one of the loader's own folders.
const LIBC: &str = "libc.so.6";

/// Everything that was found so far: one process has a library of one name once.
pub(crate) struct Libraries {
    cache: Cache,
    /// By the name that was asked for; with its path as it was found.
    found: BTreeMap<String, PathBuf>,
}

/// A program or library whose needs are to be found.
struct Object {
    /// In the tree, without links.
    path: PathBuf,
    /// The old kind of search path is that of all who led here, too; own first.
    rpath: Vec<PathBuf>,
}

impl Libraries {
    pub(crate) fn open(root: &Path) -> Result<Libraries, Error> {
        let file = Tree::new(root).here(Path::new(CACHE));
        let cache = match fs::read(&file) {
            Ok(bytes) => cache::parse(&bytes).unwrap_or_default(),
            // A system that was only unpacked has none; its loader would look into its own folders, and so do we.
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Cache::new(),
            Err(cause) => return Err(Error::Io { path: file, cause }),
        };
        Ok(Libraries { cache, found: BTreeMap::new() })
    }

    /// Takes into the tree what `path`, a file of the tree, stands on. Files that are no programs stand on nothing.
    pub(crate) fn close(&mut self, tree: &mut Tree, path: &Path) -> Result<(), Error> {
        let mut ahead = VecDeque::from([Object { path: path.to_owned(), rpath: Vec::new() }]);
        while let Some(object) = ahead.pop_front() {
            let here = tree.here(&object.path);
            let bytes = fs::read(&here).map_err(Error::io(&here))?;
            if bytes.get(..4) != Some(b"\x7fELF".as_slice()) {
                continue;
            }
            let bad = |why| Error::BadProgram { path: here.clone(), why };
            let elf = Elf::parse(&bytes).map_err(bad)?;
            if elf.machine() != X86_64 {
                return Err(bad("it is not built for x86-64"));
            }
            let dynamic = elf.dynamic().map_err(bad)?;
            if let Some(loader) = dynamic.interpreter {
                let missing = || Error::NoLibrary { name: loader.to_owned(), needed_by: here.clone() };
                if !tree.is_file(Path::new(loader)) {
                    return Err(missing());
                }
                tree.take(Path::new(loader))?;
            }
            let folders = Folders::of(&object, &dynamic);
            for name in &dynamic.needed {
                if self.found.contains_key(*name) {
                    continue;
                }
                let missing = || Error::NoLibrary { name: (*name).to_owned(), needed_by: here.clone() };
                let found = self.find(tree, name, &folders.searched).ok_or_else(missing)?;
                let path = tree.take(&found)?;
                self.found.insert((*name).to_owned(), found);
                ahead.push_back(Object { path, rpath: folders.passed_on.clone() });
            }
        }
        self.make_findable(tree);
        Ok(())
    }

    /// A name with a slash is a path; else search paths, then the cache, then the loader's own folders.
    fn find(&self, tree: &Tree, name: &str, searched: &[PathBuf]) -> Option<PathBuf> {
        if name.contains('/') {
            return is_library(tree, Path::new(name)).then(|| PathBuf::from(name));
        }
        let named = searched.iter().map(|folder| folder.join(name));
        let system = SYSTEM.iter().map(|folder| Path::new(folder).join(name));
        named.chain(self.cache.get(name).cloned()).chain(system).find(|path| is_library(tree, path))
    }

    /// What only the cache led to gets a link in one of the loader's own folders. (A search path of its own needs none,
    /// and whoever else asks for the same name in the same process has it loaded already.)
    fn make_findable(&self, tree: &mut Tree) {
        let Some(own) = self.found.get(LIBC).and_then(|path| path.parent()) else { return };
        for (name, path) in &self.found {
            let is_system = path.parent().is_some_and(|folder| SYSTEM.iter().any(|s| Path::new(s) == folder));
            if !is_system && self.cache.get(name) == Some(path) {
                // The folder itself may be reached by a link.
                let folder = tree.real(own);
                tree.add_link(&folder.join(name), path);
            }
        }
    }
}

/// Where an object's libraries are looked for before anything else.
struct Folders {
    searched: Vec<PathBuf>,
    /// What counts for the libraries of its libraries as well.
    passed_on: Vec<PathBuf>,
}

impl Folders {
    fn of(object: &Object, dynamic: &Dynamic<'_>) -> Folders {
        let origin = Path::new("/").join(object.path.parent().unwrap_or(Path::new("")));
        let listed = |text: &str| -> Vec<PathBuf> {
            let entries = text.split(':').filter(|entry| !entry.is_empty());
            entries.filter_map(|entry| expand(entry, &origin)).collect()
        };
        if let Some(runpath) = dynamic.runpath {
            // With it the old kind counts no more for this object, neither its own nor that of others.
            return Folders { searched: listed(runpath), passed_on: object.rpath.clone() };
        }
        let mut rpath = listed(dynamic.rpath.unwrap_or_default());
        rpath.extend(object.rpath.iter().cloned());
        Folders { searched: rpath.clone(), passed_on: rpath }
    }
}

/// `$ORIGIN` is where the object lies. Nobody's QEMU has the other two, `$LIB` and `$PLATFORM`.
fn expand(entry: &str, origin: &Path) -> Option<PathBuf> {
    let plain = entry.replace("${ORIGIN}", "$ORIGIN").replace("$ORIGIN", origin.to_str()?);
    (!plain.contains('$') && plain.starts_with('/')).then(|| PathBuf::from(plain))
}

/// The loader passes over what is built for another machine.
fn is_library(tree: &Tree, path: &Path) -> bool {
    use std::io::Read as _;
    /// The ELF header, which names the machine.
    const HEAD: u64 = 64;
    let mut head = Vec::new();
    let read = tree.is_file(path)
        && fs::File::open(tree.here(path)).and_then(|file| file.take(HEAD).read_to_end(&mut head)).is_ok();
    read && Elf::parse(&head).is_ok_and(|elf| elf.machine() == X86_64)
}
