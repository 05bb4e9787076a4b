//! A root as its program will see it: a folder, or the listing of a tar or squashfs, with the files that are placed in it.
//! Decides where a path leads, links and all (path_resolution(7)); never leaves the root.

use crate::error::Error;
use crate::squashfs;
use boottorrent_masterd::site::program::RootKind;
use boottorrent_masterd::store::Context;
use boottorrent_pxe::bundle;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Links on one way, as the kernel counts them.
const MAX_LINKS: usize = 40;
/// What unsquashfs puts before each name.
const LISTED: &str = "squashfs-root";

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Link(String),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    /// As the archive names it.
    member: String,
}

/// The tree.
pub(super) struct Tree {
    source: PathBuf,
    kind: RootKind,
    /// Of an archive: path to entry; the paths begin with a slash.
    listed: BTreeMap<String, Entry>,
    /// Of a bundle: this machine's files by their paths in the tree.
    collected: BTreeMap<String, PathBuf>,
    /// Files from outside, by their paths in the tree.
    placed: BTreeMap<String, PathBuf>,
    configured: OnceCell<Vec<String>>,
}

impl Tree {
    pub(super) fn open(source: &Path, kind: RootKind) -> Result<Tree, Error> {
        let listed = match kind {
            RootKind::Folder => BTreeMap::new(),
            RootKind::Tar | RootKind::Squashfs => parse(&squashfs::list(source, kind)?),
        };
        Ok(Tree {
            source: source.to_owned(),
            kind,
            listed,
            collected: BTreeMap::new(),
            placed: BTreeMap::new(),
            configured: OnceCell::new(),
        })
    }

    /// A bundle as its program will see it.
    pub(super) fn of_bundle(bundle: &bundle::Tree) -> Tree {
        let (mut listed, mut collected) = (BTreeMap::new(), BTreeMap::new());
        for (path, entry) in bundle.entries() {
            let path = format!("/{}", path.display());
            let (kind, mode) = match entry {
                bundle::Entry::Folder => (Kind::Folder, 0o755),
                bundle::Entry::Link(target) => (Kind::Link(target.to_string_lossy().into_owned()), 0o777),
                bundle::Entry::File(source) => {
                    collected.insert(path.clone(), source.clone());
                    // One that is gone by now is told when the bundle is packed.
                    (Kind::File, source.metadata().map_or(0o755, |metadata| metadata.permissions().mode()))
                }
            };
            listed.insert(path, Entry { kind, mode, member: String::new() });
        }
        Tree {
            source: bundle.origin().to_owned(),
            kind: RootKind::Squashfs,
            listed,
            collected,
            placed: BTreeMap::new(),
            configured: OnceCell::new(),
        }
    }

    /// A file that the node binds into the tree; it is executable there.
    pub(super) fn place(&mut self, path: &str, file: &Path) {
        self.placed.insert(path.to_owned(), file.to_owned());
    }

    /// Where a path leads: the path without links, and what is there.
    pub(super) fn resolve(&self, path: &str) -> Option<(String, Entry)> {
        let mut links = 0;
        let mut ahead: Vec<String> = parts(path).rev().collect();
        let mut at = String::new();
        while let Some(part) = ahead.pop() {
            if part == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{at}/{part}");
            match self.entry(&next)? {
                Entry { kind: Kind::Link(target), .. } => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with('/') {
                        at.clear();
                    }
                    ahead.extend(parts(&target).rev());
                }
                entry if ahead.is_empty() => return Some((next, entry)),
                _ => at = next,
            }
        }
        let path = if at.is_empty() { "/".to_owned() } else { at };
        Some((path, Entry { kind: Kind::Folder, mode: 0o755, member: String::new() }))
    }

    /// What keeps a file from being placed at a path: the folder or the file that is there, or above it.
    pub(super) fn obstacle(&self, path: &str) -> Option<String> {
        if self.resolve(path).is_some_and(|(_, entry)| entry.kind == Kind::Folder) {
            return Some(format!("{path} is a folder of the root"));
        }
        let above = path.match_indices('/').skip(1).filter_map(|(at, _)| path.get(..at));
        let is_no_folder =
            |above: &&str| self.resolve(above).is_some_and(|(_, entry)| entry.kind != Kind::Folder);
        above
            .into_iter()
            .find(is_no_folder)
            .map(|above| format!("{above} is a file of the root, and no folder for {path}"))
    }

    /// A program of the same name elsewhere, for whoever forgot where it is.
    pub(super) fn beside(&self, path: &str) -> Option<String> {
        let name = path.rsplit('/').next()?;
        let folders = ["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", ""];
        folders.iter().map(|folder| format!("{folder}/{name}")).find(|near| self.resolve(near).is_some())
    }

    /// The bytes of a file, by its path without links.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, Error> {
        if let Some(file) = self.placed.get(path).or_else(|| self.collected.get(path)) {
            return Ok(fs::read(file).at(file, "be read")?);
        }
        if self.kind == RootKind::Folder {
            let file = self.here(path);
            return Ok(fs::read(&file).at(&file, "be read")?);
        }
        let member = self.listed.get(path).map_or(path, |entry| &entry.member);
        squashfs::read(&self.source, self.kind, member)
    }

    /// Folders that the loader's configuration names (ld.so.conf, one a line; musl's as well).
    pub(super) fn configured(&self) -> &[String] {
        self.configured.get_or_init(|| self.read_configured())
    }

    fn read_configured(&self) -> Vec<String> {
        let files = ["/etc/ld.so.conf", "/etc/ld-musl-x86_64.path"].map(str::to_owned);
        let files = files.into_iter().chain(self.files_in("/etc/ld.so.conf.d"));
        let texts = files.filter_map(|file| self.read(&self.resolve(&file)?.0).ok());
        let lines = texts.flat_map(|text| {
            let lines = String::from_utf8_lossy(&text).into_owned();
            lines.split(['\n', ':']).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
        });
        lines.filter(|line| line.starts_with('/')).collect()
    }

    fn files_in(&self, folder: &str) -> Vec<String> {
        let inside = format!("{folder}/");
        let listed = self.listed.keys().filter(|path| path.starts_with(&inside)).cloned();
        let here = (self.kind == RootKind::Folder).then(|| fs::read_dir(self.here(folder)).ok()).flatten();
        let names =
            here.into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
        listed.chain(names.map(|name| format!("{inside}{name}"))).collect()
    }

    /// What is at a path; a link is not followed.
    fn entry(&self, path: &str) -> Option<Entry> {
        if self.placed.contains_key(path) {
            return Some(Entry { kind: Kind::File, mode: 0o755, member: String::new() });
        }
        let above = format!("{path}/");
        if self.placed.keys().any(|placed| placed.starts_with(&above)) && self.plain_entry(path).is_none() {
            return Some(Entry { kind: Kind::Folder, mode: 0o755, member: String::new() });
        }
        self.plain_entry(path)
    }

    fn plain_entry(&self, path: &str) -> Option<Entry> {
        if self.kind != RootKind::Folder {
            return self.listed.get(path).cloned();
        }
        let here = self.here(path);
        let metadata = here.symlink_metadata().ok()?;
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_file() => Kind::File,
            kind if kind.is_symlink() => {
                Kind::Link(fs::read_link(&here).ok()?.to_string_lossy().into_owned())
            }
            _ => Kind::Other,
        };
        Some(Entry { kind, mode: metadata.permissions().mode(), member: String::new() })
    }

    fn here(&self, path: &str) -> PathBuf {
        self.source.join(path.trim_start_matches('/'))
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

/// The listing of an archive: mode, owner, size, date, time, name, and a link's target.
fn parse(listing: &str) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for line in listing.lines() {
        let Some(name) = name_of(line) else { continue };
        let mode = line.get(1..10).map_or(0, mode_of);
        let (name, kind) = match line.as_bytes().first() {
            Some(b'-') => (name, Kind::File),
            Some(b'd') => (name, Kind::Folder),
            Some(b'l') => match name.split_once(" -> ") {
                Some((name, target)) => (name, Kind::Link(target.to_owned())),
                None => continue,
            },
            // Another name of a file that the tar has already.
            Some(b'h') => match name.split_once(" link to ") {
                Some((name, target)) => (name, Kind::Link(path_of(target))),
                None => continue,
            },
            _ => (name, Kind::Other),
        };
        let member = name.strip_prefix(LISTED).map_or(name, |rest| rest.trim_start_matches('/'));
        entries.insert(path_of(member), Entry { kind, mode, member: member.to_owned() });
    }
    // A tar need not name the folders of its files.
    let paths: Vec<String> = entries.keys().cloned().collect();
    for path in paths {
        for (at, _) in path.match_indices('/').skip(1) {
            let above = path.get(..at).unwrap_or_default().to_owned();
            let folder = || Entry { kind: Kind::Folder, mode: 0o755, member: String::new() };
            entries.entry(above).or_insert_with(folder);
        }
    }
    entries
}

fn path_of(member: &str) -> String {
    parts(member).fold(String::new(), |path, part| path + "/" + &part)
}

/// What follows `2022-01-31 12:00 `.
fn name_of(line: &str) -> Option<&str> {
    const SHAPE: &[u8] = b"0000-00-00 00:00 ";
    let is_date = |bytes: &[u8]| {
        bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
    };
    let at = line.as_bytes().windows(SHAPE.len()).position(is_date)?;
    line.get(at + SHAPE.len()..)
}

/// `rwxr-xr-x` as a number; set-id and sticky letters count as what they stand over.
fn mode_of(letters: &str) -> u32 {
    let is_set = |byte: u8| !matches!(byte, b'-' | b'S' | b'T');
    letters.bytes().fold(0, |mode, byte| mode << 1 | u32::from(is_set(byte)))
}
