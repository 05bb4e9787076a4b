//! The tree of a bundle: paths, and the file of this machine that belongs at each.
//!
//! Decides nothing about what goes in. A path is taken with every link on its way, so it leads to the same file there.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::Error;

/// Links on one way, as the kernel counts them (path_resolution(7)).
const MAX_LINKS: usize = 40;
/// Folders below folders in what is taken whole.
const MAX_DEPTH: usize = 16;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Folder,
    /// This file's bytes and mode.
    File(PathBuf),
    /// A symbolic link with this target.
    Link(PathBuf),
}

/// Paths relative to the tree's root; a folder comes before what is in it.
#[derive(Debug, Clone)]
pub struct Tree {
    /// Where it is taken from.
    root: PathBuf,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Tree {
        Tree { root: root.to_owned(), entries: BTreeMap::new() }
    }

    pub fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    /// Lays a folder over the tree: its files win, and what is in its folders goes where the tree's links of that name
    /// lead (`lib/` of a folder that was made by hand is `usr/lib/` in Debian's).
    ///
    /// # Errors
    /// What cannot be read, is no file, folder or link, or is a file where the tree has a folder.
    pub fn lay_over(&mut self, folder: &Path) -> Result<(), Error> {
        self.lay_below(folder, Path::new(""), 0)
    }

    fn lay_below(&mut self, folder: &Path, at: &Path, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::io(folder)(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let entry = entry.map_err(Error::io(folder))?;
            let (source, to) = (entry.path(), at.join(entry.file_name()));
            let kind = entry.file_type().map_err(Error::io(&source))?;
            if kind.is_dir() {
                let to = self.landing(&to);
                self.entries.insert(to.clone(), Entry::Folder);
                self.lay_below(&source, &to, depth + 1)?;
                continue;
            }
            if self.entries.get(&to) == Some(&Entry::Folder) {
                return Err(Error::Occupied { path: source });
            }
            let laid = if kind.is_symlink() {
                Entry::Link(fs::read_link(&source).map_err(Error::io(&source))?)
            } else if kind.is_file() {
                Entry::File(source)
            } else {
                return Err(Error::io(&source)(io::Error::other("it is no file and no folder")));
            };
            self.entries.insert(to, laid);
        }
        Ok(())
    }

    /// Where a folder of that name is in the tree, whose links are followed; one that leads nowhere is replaced.
    fn landing(&self, path: &Path) -> PathBuf {
        self.follow(path)
            .filter(|end| self.entries.get(end) == Some(&Entry::Folder))
            .unwrap_or(path.to_owned())
    }

    /// Where a path leads within the tree, without links.
    fn follow(&self, path: &Path) -> Option<PathBuf> {
        let mut end = PathBuf::new();
        let mut ahead: VecDeque<PathBuf> = steps(path).collect();
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step.as_os_str() == ".." {
                end.pop();
                continue;
            }
            let next = end.join(step);
            if let Entry::Link(target) = self.entries.get(&next)? {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                if target.is_absolute() {
                    end = PathBuf::new();
                }
                for step in steps(target).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(step);
                }
            } else {
                end = next;
            }
        }
        Some(end)
    }

    /// Makes the tree below `folder`, which is there and empty. Files are copies with their modes: a hard link would hand
    /// this machine's own /usr to whoever writes there.
    ///
    /// # Errors
    /// A file that is gone meanwhile, or no room.
    pub fn lay(&self, folder: &Path) -> Result<(), Error> {
        for (path, entry) in &self.entries {
            let to = folder.join(path);
            match entry {
                Entry::Folder => fs::create_dir(&to).map_err(Error::io(&to))?,
                Entry::Link(target) => symlink(target, &to).map_err(Error::io(&to))?,
                Entry::File(source) => fs::copy(source, &to).map(drop).map_err(Error::io(source))?,
            }
        }
        Ok(())
    }

    /// The system that it was taken from.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.root
    }

    /// Bytes of its files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.by_size().iter().map(|(size, _)| size).sum()
    }

    /// A name for exactly these files: it changes when a path, a link or what tells a changed file does.
    ///
    /// # Errors
    /// A file that is gone meanwhile.
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        let mut sum = Sha256::new();
        for (path, entry) in &self.entries {
            let line = match entry {
                Entry::Folder => format!("{path:?} folder\n"),
                Entry::Link(target) => format!("{path:?} -> {target:?}\n"),
                Entry::File(source) => {
                    let m = fs::metadata(source).map_err(Error::io(source))?;
                    let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
                    format!("{path:?} {source:?} {} {} {:o} {times:?}\n", m.ino(), m.size(), m.mode())
                }
            };
            sum.update(line);
        }
        Ok(sum.finalize().into())
    }

    /// The files with their bytes, largest first; a file that has several names counts once.
    pub(crate) fn by_size(&self) -> Vec<(u64, &Path)> {
        let mut seen = HashSet::new();
        let mut files = Vec::new();
        for (path, entry) in &self.entries {
            if let Entry::File(source) = entry
                && let Ok(metadata) = fs::metadata(source)
                && seen.insert((metadata.dev(), metadata.ino()))
            {
                files.push((metadata.len(), path.as_path()));
            }
        }
        files.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        files
    }

    pub(crate) fn is_file(&self, path: &Path) -> bool {
        self.resolve(path).is_ok_and(|way| self.root.join(way.end).is_file())
    }

    pub(crate) fn is_folder(&self, path: &Path) -> bool {
        self.resolve(path).is_ok_and(|way| self.root.join(way.end).is_dir())
    }

    /// The file of this machine that a path of the tree leads to; where it leads nowhere, the path below the root.
    pub(crate) fn here(&self, path: &Path) -> PathBuf {
        self.root.join(self.real(path))
    }

    /// A path without links, relative to the root; where it leads nowhere, as it is.
    pub(crate) fn real(&self, path: &Path) -> PathBuf {
        let as_it_is = || path.strip_prefix("/").unwrap_or(path).to_owned();
        self.resolve(path).map_or_else(|_| as_it_is(), |way| way.end)
    }

    pub(crate) fn add_folder(&mut self, path: &Path) {
        self.entries.insert(path.to_owned(), Entry::Folder);
    }

    /// A link that this machine does not have; what is there already stays.
    pub(crate) fn add_link(&mut self, path: &Path, target: &Path) {
        let path = path.strip_prefix("/").unwrap_or(path);
        self.entries.entry(path.to_owned()).or_insert_with(|| Entry::Link(target.to_owned()));
    }

    /// Takes a file or an empty folder with all folders and links on the way; where the way ends, without a link.
    pub(crate) fn take(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let way = self.resolve(path).map_err(Error::io(&self.here(path)))?;
        self.entries.extend(way.entries);
        Ok(way.end)
    }

    /// Takes a folder with all that is in it.
    pub(crate) fn take_all(&mut self, folder: &Path) -> Result<(), Error> {
        let end = self.take(folder)?;
        self.take_below(&end, 0)
    }

    fn take_below(&mut self, folder: &Path, depth: usize) -> Result<(), Error> {
        let here = self.here(folder);
        if depth > MAX_DEPTH {
            return Err(Error::io(&here)(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        for entry in fs::read_dir(&here).map_err(Error::io(&here))? {
            let entry = entry.map_err(Error::io(&here))?;
            let path = folder.join(entry.file_name());
            self.take(&path)?;
            if entry.file_type().map_err(Error::io(&here))?.is_dir() {
                self.take_below(&path, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Walks as the kernel would with `root` as its root. Nothing but files, folders and links is met without an error.
    fn resolve(&self, path: &Path) -> io::Result<Way> {
        let mut way = Way { entries: Vec::new(), end: PathBuf::new() };
        let mut ahead: VecDeque<PathBuf> = steps(path).collect();
        let mut links = 0;
        while let Some(step) = ahead.pop_front() {
            if step.as_os_str() == ".." {
                way.end.pop();
                continue;
            }
            let next = way.end.join(&step);
            let here = self.root.join(&next);
            let kind = fs::symlink_metadata(&here)?.file_type();
            if kind.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("its links go round in a circle"));
                }
                let target = fs::read_link(&here)?;
                if target.is_absolute() {
                    way.end = PathBuf::new();
                }
                for step in steps(&target).collect::<Vec<_>>().into_iter().rev() {
                    ahead.push_front(step);
                }
                way.entries.push((next, Entry::Link(target)));
                continue;
            }
            if kind.is_dir() {
                way.entries.push((next.clone(), Entry::Folder));
            } else if kind.is_file() && ahead.is_empty() {
                way.entries.push((next.clone(), Entry::File(here)));
            } else {
                return Err(io::Error::other("it is no file and no folder"));
            }
            way.end = next;
        }
        Ok(way)
    }
}

/// What was met on the way to a file, and where it ended.
struct Way {
    entries: Vec<(PathBuf, Entry)>,
    end: PathBuf,
}

fn steps(path: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_with_every_link_on_its_way() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/lib/multi")).unwrap();
        fs::create_dir_all(root.join("usr/lib64")).unwrap();
        fs::write(root.join("usr/lib/multi/libz.so.1.2"), "z").unwrap();
        symlink("libz.so.1.2", root.join("usr/lib/multi/libz.so.1")).unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        symlink("usr/lib64", root.join("lib64")).unwrap();
        symlink("/lib/multi/libz.so.1", root.join("usr/lib64/loader")).unwrap();
        let mut tree = Tree::new(root);
        assert!(tree.is_file(Path::new("/lib64/loader")) && !tree.is_file(Path::new("/lib")));
        assert!(tree.is_folder(Path::new("/lib")) && !tree.is_folder(Path::new("/no")));
        assert_eq!(tree.take(Path::new("/lib64/loader")).unwrap(), Path::new("usr/lib/multi/libz.so.1.2"));
        let seen: Vec<String> = tree.entries().map(|(path, e)| format!("{} {e:?}", path.display())).collect();
        let file = format!("usr/lib/multi/libz.so.1.2 File({:?})", root.join("usr/lib/multi/libz.so.1.2"));
        assert_eq!(
            seen,
            [
                "lib Link(\"usr/lib\")",
                "lib64 Link(\"usr/lib64\")",
                "usr Folder",
                "usr/lib Folder",
                "usr/lib/multi Folder",
                "usr/lib/multi/libz.so.1 Link(\"libz.so.1.2\")",
                &file,
                "usr/lib64 Folder",
                "usr/lib64/loader Link(\"/lib/multi/libz.so.1\")",
            ]
        );
        tree.add_link(Path::new("/usr/lib/multi/libz.so.1"), Path::new("elsewhere"));
        assert_eq!(tree.entries().count(), seen.len(), "what is there stays");
    }

    #[test]
    fn a_maintainers_files_win_and_land_where_the_links_lead() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("usr/lib")).unwrap();
        fs::write(root.join("usr/lib/libz.so"), "z").unwrap();
        symlink("usr/lib", root.join("lib")).unwrap();
        let own = tempfile::tempdir().unwrap();
        let own = own.path();
        fs::create_dir_all(own.join("lib/deep")).unwrap();
        fs::create_dir_all(own.join("etc")).unwrap();
        fs::write(own.join("lib/deep/x"), "x").unwrap();
        fs::write(own.join("lib/libz.so"), "mine").unwrap();
        symlink("x", own.join("etc/link")).unwrap();
        let mut tree = Tree::new(root);
        tree.take(Path::new("/lib/libz.so")).unwrap();
        tree.lay_over(own).unwrap();
        let made = tempfile::tempdir().unwrap();
        tree.lay(made.path()).unwrap();
        assert_eq!(fs::read(made.path().join("lib/libz.so")).unwrap(), b"mine");
        assert_eq!(fs::read(made.path().join("usr/lib/deep/x")).unwrap(), b"x");
        let at = |path: &str| tree.entries.get(Path::new(path)).cloned();
        assert_eq!(at("lib"), Some(Entry::Link("usr/lib".into())));
        assert_eq!(at("usr/lib/libz.so"), Some(Entry::File(own.join("lib/libz.so"))));
        assert_eq!(at("usr/lib/deep/x"), Some(Entry::File(own.join("lib/deep/x"))));
        assert_eq!(at("etc/link"), Some(Entry::Link("x".into())));
        assert_eq!(tree.follow(Path::new("/lib/deep/x")), Some("usr/lib/deep/x".into()));
        assert_eq!(tree.follow(Path::new("/etc/link")), None, "it leads nowhere");
        let bad = tempfile::tempdir().unwrap();
        fs::write(bad.path().join("usr"), "").unwrap();
        let told = tree.lay_over(bad.path()).unwrap_err().to_string();
        assert!(told.contains("the bundle has a folder of that name"), "{told}");
    }

    #[test]
    fn circles_and_devices_are_errors_with_the_path() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        let told = Tree::new(root.path()).take(Path::new("/a")).unwrap_err().to_string();
        assert!(told.contains("/a: ") && told.contains("circle"), "{told}");
        let told = Tree::new(Path::new("/")).take(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(told.starts_with("/dev/null: "), "{told}");
    }

    #[test]
    fn a_file_with_two_names_counts_once_and_a_changed_one_changes_the_digest() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dri/deep")).unwrap();
        fs::write(root.path().join("dri/deep/a"), "12345").unwrap();
        fs::hard_link(root.path().join("dri/deep/a"), root.path().join("dri/b")).unwrap();
        fs::write(root.path().join("dri/c"), "1").unwrap();
        let mut tree = Tree::new(root.path());
        tree.take_all(Path::new("/dri")).unwrap();
        assert_eq!(tree.by_size(), [(5, Path::new("dri/b")), (1, Path::new("dri/c"))]);
        let before = tree.digest().unwrap();
        assert_eq!(tree.digest().unwrap(), before);
        fs::write(root.path().join("dri/c"), "12").unwrap();
        assert_ne!(tree.digest().unwrap(), before);
        fs::remove_file(root.path().join("dri/c")).unwrap();
        assert!(tree.digest().is_err());
    }
}
