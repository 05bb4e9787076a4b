//! A folder of kernel modules (`/lib/modules/<version>`): which exist, what is built in, what each says about itself.
//!
//! Decides which file a name means. It needs no depmod: an unpacked kernel package has never seen one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::Error;
use crate::modinfo::{Modinfo, canonical, unpack};

/// Folders below folders: Debian's deepest module lies 7 down; a circle of mounts must not hang the build.
const MAX_DEPTH: usize = 24;

/// One unpacked module.
pub(crate) struct Module {
    pub(crate) bytes: Vec<u8>,
    pub(crate) info: Modinfo,
}

/// The modules of one kernel.
pub(crate) struct Library {
    folder: PathBuf,
    version: String,
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
    /// What was read: dependencies are met again and again.
    read: RefCell<BTreeMap<String, Rc<Module>>>,
    /// Module names by plain alias (`crc32c`), looked up only when a soft dependency names one.
    by_alias: RefCell<Option<BTreeMap<String, BTreeSet<String>>>>,
}

impl Library {
    /// Lists `folder`, the modules of kernel `version`.
    pub(crate) fn open(folder: &Path, version: &str) -> Result<Library, Error> {
        let missing = || Error::NoModules { path: folder.to_owned(), kernel: version.to_owned() };
        if !folder.is_dir() {
            return Err(missing());
        }
        let mut found = Vec::new();
        walk(folder, 0, &mut found)?;
        // The same name twice: an update wins over what came with the kernel (depmod.d(5)), else the first by path.
        found.sort_by_key(|path| (!path.starts_with(folder.join("updates")), path.clone()));
        let mut files = BTreeMap::new();
        for path in found {
            if let Some(name) = module_name(&path) {
                files.entry(name).or_insert(path);
            }
        }
        let built_in = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let built_in: BTreeSet<String> =
            built_in.lines().filter_map(|line| module_name(Path::new(line))).collect();
        if files.is_empty() && built_in.is_empty() {
            return Err(missing());
        }
        Ok(Library {
            folder: folder.to_owned(),
            version: version.to_owned(),
            files,
            built_in,
            read: RefCell::default(),
            by_alias: RefCell::default(),
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    pub(crate) fn is_built_in(&self, name: &str) -> bool {
        self.built_in.contains(name)
    }

    /// The module with this name, unpacked and read; `None` if there is none.
    pub(crate) fn module(&self, name: &str) -> Result<Option<Rc<Module>>, Error> {
        if let Some(module) = self.read.borrow().get(name) {
            return Ok(Some(Rc::clone(module)));
        }
        let Some(path) = self.files.get(name) else { return Ok(None) };
        let module = load(path)?;
        if module.info.built_for != self.version {
            return Err(Error::WrongModules {
                module: path.clone(),
                built_for: module.info.built_for,
                kernel: self.version.clone(),
            });
        }
        let module = Rc::new(module);
        self.read.borrow_mut().insert(name.to_owned(), Rc::clone(&module));
        Ok(Some(module))
    }

    /// The modules that a soft dependency means: a name, or all that have it as a plain alias.
    pub(crate) fn meant_by(&self, name: &str) -> Result<Vec<String>, Error> {
        let module = canonical(name);
        if self.has(&module) || self.is_built_in(&module) {
            return Ok(vec![module]);
        }
        if self.by_alias.borrow().is_none() {
            let aliases = self.plain_aliases()?;
            self.by_alias.replace(Some(aliases));
        }
        let by_alias = self.by_alias.borrow();
        let found = by_alias.as_ref().and_then(|aliases| aliases.get(name));
        Ok(found.into_iter().flatten().cloned().collect())
    }

    /// Aliases without a bus: from depmod's file where there is one, else from every module (a second, once).
    fn plain_aliases(&self) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
        let mut aliases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut add = |alias: &str, module: &str| {
            if !alias.contains([':', '*']) {
                aliases.entry(alias.to_owned()).or_default().insert(canonical(module));
            }
        };
        if let Ok(text) = fs::read_to_string(self.folder.join("modules.alias")) {
            for line in text.lines() {
                if let ["alias", alias, module] = *line.split(' ').collect::<Vec<_>>() {
                    add(alias, module);
                }
            }
            return Ok(aliases);
        }
        for (name, path) in &self.files {
            for alias in &load(path)?.info.aliases {
                add(alias, name);
            }
        }
        Ok(aliases)
    }
}

fn load(path: &Path) -> Result<Module, Error> {
    let bytes = fs::read(path).map_err(Error::io("reading the module", path))?;
    let bad = |why| Error::BadModule { path: path.to_owned(), why };
    let bytes = unpack(&path.to_string_lossy(), bytes).map_err(bad)?;
    let info = Modinfo::read(&bytes).map_err(bad)?;
    Ok(Module { bytes, info })
}

/// `.../hid-generic.ko.xz` is `hid_generic`; other files are none.
fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let (stem, rest) = name.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst" | ".gz").then(|| canonical(stem))
}

fn walk(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    let listing = Error::io;
    for entry in fs::read_dir(folder).map_err(listing("listing the modules", folder))? {
        let entry = entry.map_err(listing("listing the modules", folder))?;
        let kind = entry.file_type().map_err(listing("listing the modules", folder))?;
        // Linked folders (build, source) lead to the kernel's sources; linked files are modules of other packages.
        if kind.is_dir() {
            walk(&entry.path(), depth + 1, found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod craft {
    use super::*;
    use crate::modinfo::craft::module;

    /// Writes a module of kernel `version` below `folder`.
    pub(crate) fn write(folder: &Path, file: &str, version: &str, fields: &[&str]) {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let vermagic = format!("vermagic={version} SMP ");
        let fields: Vec<&str> = fields.iter().copied().chain([vermagic.as_str()]).collect();
        fs::write(path, module(&fields)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_files_and_updates() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        craft::write(folder, "kernel/drivers/hid/hid-generic.ko", "6.1", &[]);
        craft::write(folder, "kernel/net/e1000.ko", "6.1", &["depends=old"]);
        craft::write(folder, "updates/dkms/e1000.ko", "6.1", &["depends=new"]);
        fs::write(folder.join("modules.builtin"), "kernel/drivers/input/keyboard/atkbd.ko\n").unwrap();
        fs::write(folder.join("modules.order"), "").unwrap();
        let library = Library::open(folder, "6.1").unwrap();
        assert!(library.has("hid_generic") && !library.has("hid-generic"));
        assert!(library.is_built_in("atkbd"));
        assert_eq!(library.module("e1000").unwrap().unwrap().info.depends, ["new"]);
        assert!(library.module("absent").unwrap().is_none());
    }

    #[test]
    fn a_soft_name_may_be_an_alias() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        craft::write(folder, "crypto/crc32c_generic.ko", "6.1", &["alias=crc32c", "alias=crypto-crc32c"]);
        craft::write(folder, "crypto/crc32c-intel.ko", "6.1", &["alias=crc32c"]);
        let library = Library::open(folder, "6.1").unwrap();
        assert_eq!(library.meant_by("crc32c").unwrap(), ["crc32c_generic", "crc32c_intel"]);
        assert_eq!(library.meant_by("crc32c-intel").unwrap(), ["crc32c_intel"]);
        assert!(library.meant_by("nothing").unwrap().is_empty());
        // depmod's own list is taken where it stands.
        fs::write(folder.join("modules.alias"), "# comment\nalias crc32c crc32c-intel\n").unwrap();
        let library = Library::open(folder, "6.1").unwrap();
        assert_eq!(library.meant_by("crc32c").unwrap(), ["crc32c_intel"]);
    }

    #[test]
    fn says_what_is_wrong_with_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(matches!(Library::open(&folder.join("6.1"), "6.1"), Err(Error::NoModules { .. })));
        assert!(matches!(Library::open(folder, "6.1"), Err(Error::NoModules { .. })));
        craft::write(folder, "kernel/e1000.ko", "6.2", &[]);
        fs::write(folder.join("kernel/bad.ko"), "text").unwrap();
        let library = Library::open(folder, "6.1").unwrap();
        let error = library.module("e1000").err().unwrap().to_string();
        assert!(error.contains("built for kernel 6.2, but [bootstrap] kernel is 6.1"), "{error}");
        let error = library.module("bad").err().unwrap().to_string();
        assert!(error.contains("bad.ko: no kernel module (not an ELF file)"), "{error}");
    }
}
