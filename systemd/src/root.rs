//! The root of a program: packed once, and looked into before, so that a node never meets a program that cannot start.
//! Decides what such a program needs of its root (itself, its loader, its libraries); never runs it.

mod tree;

use crate::error::Error;
use crate::image::hex;
use crate::overlay;
use crate::squashfs;
use boottorrent_masterd::site::program::{MOUNTED, Root, RootKind, hidden};
use boottorrent_masterd::site::{Findings, Os, Place};
use boottorrent_masterd::store::{self, Context, Store};
use boottorrent_pxe::bundle;
use boottorrent_swarm::catalog::{Program, Role};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tree::{Kind, Tree};

/// The squashfs of a packed root, as the torrent names it.
pub(crate) const NAME: &str = "root.squashfs";
/// Packed roots of the store's cache.
const CACHED: &str = "root-";
/// Where a loader looks without being told: glibc's and musl's folders, Debian's before those of others.
const SYSTEM: [&str; 8] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
];
/// Bytes of a script's first line that the kernel reads (BINPRM_BUF_SIZE).
const SHEBANG: usize = 256;

/// A root that is packed, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// What it is made from.
    pub(crate) source: PathBuf,
    /// What its source looked like: another look is another root.
    pub(crate) look: String,
    /// Bytes; of a root that is not packed yet as many as its files have.
    pub(crate) length: u64,
    /// The squashfs, once there is one.
    pub(crate) file: Option<PathBuf>,
}

/// What a root would be; nothing is written. None: it is a squashfs already, a file as any other.
pub(crate) fn look(root: &Root) -> Result<Option<Packed>, Error> {
    let source = root.source.canonicalize().at(&root.source, "be found")?;
    let mut paths = vec![source.clone()];
    match root.kind {
        RootKind::Squashfs => return Ok(None),
        RootKind::Tar => {}
        RootKind::Folder => overlay::walk(&source, &mut paths).map_err(told)?,
    }
    let (mut sum, mut length) = (Sha256::new(), 0);
    for path in paths {
        let m = path.symlink_metadata().at(&path, "be looked at")?;
        let name = path.strip_prefix(&source).unwrap_or(&path);
        let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
        sum.update(format!("{name:?} {} {} {:o} {times:?}\n", m.ino(), m.size(), m.mode()));
        length += m.size();
    }
    Ok(Some(Packed { source, look: hex(&sum.finalize()), length, file: None }))
}

/// The root as a squashfs of the store's cache: packed by an earlier run, or now.
pub(crate) fn pack(root: &Root, store: &Store, say: &mut dyn FnMut(&str)) -> Result<Option<Packed>, Error> {
    let Some(packed) = look(root)? else { return Ok(None) };
    let packed = cached(packed, store, |packed, fresh| {
        say(&format!("packing {} into a squashfs", root.source.display()));
        squashfs::pack(&packed.source, root.kind, fresh)?;
        Ok(look(root)?.is_some_and(|now| now.look == packed.look))
    });
    packed.map(Some)
}

/// What is packed, from the store's cache or made now at the path that `make` is given; it says whether its source is
/// still what it was.
pub(crate) fn cached(
    mut packed: Packed,
    store: &Store,
    make: impl FnOnce(&Packed, &Path) -> Result<bool, Error>,
) -> Result<Packed, Error> {
    let cache = store.root().join("cache");
    let file = cache.join(format!("{CACHED}{}.squashfs", packed.look));
    if !file.is_file() {
        fs::create_dir_all(&cache).at(&cache, "be made")?;
        let fresh = cache.join(format!("{CACHED}unfinished"));
        let _ = fs::remove_file(&fresh); // what a run that was killed left; mksquashfs says what else is wrong
        if !make(&packed, &fresh)? {
            return Err(Error::Told(format!(
                "{}: changed while it was read; run boottorrent-gen again",
                packed.source.display()
            )));
        }
        fs::rename(&fresh, &file).at(&file, "be put in place")?;
    }
    packed.length = fs::metadata(&file).at(&file, "be looked at")?.len();
    packed.file = Some(file);
    Ok(packed)
}

/// Removes packed roots that no OS has any more; those of images share their blocks with the cache.
pub(crate) fn collect(store: &Store, used: &[PathBuf]) -> Result<(), Error> {
    let cache = store.root().join("cache");
    if !cache.is_dir() {
        return Ok(());
    }
    for path in store::list(&cache)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(CACHED) && !used.contains(&path) {
            fs::remove_file(&path).at(&path, "be removed")?;
        }
    }
    Ok(())
}

/// Tells of everything that would keep the program of an OS from starting.
pub(crate) fn check(os: &Os, findings: &Findings) -> Result<(), Error> {
    let (Some(root), Some(program)) = (&os.root, &os.program) else { return Ok(()) };
    if !squashfs::is_installed() {
        let what = "mksquashfs or unsquashfs is missing, which pack a program's root and look into it";
        findings.add(&root.place, what, format!("install the package {}", squashfs::PACKAGE));
        return Ok(());
    }
    check_tree(Tree::open(&root.source, root.kind)?, os, &program.value, &program.place, findings)
}

/// The same for a bundle with the maintainer's own files over it.
pub(crate) fn check_bundle(bundle: &bundle::Tree, os: &Os, findings: &Findings) -> Result<(), Error> {
    let Some(program) = &os.program else { return Ok(()) };
    check_tree(Tree::of_bundle(bundle), os, &program.value, &program.place, findings)
}

fn check_tree(
    mut tree: Tree,
    os: &Os,
    program: &Program,
    place: &Place,
    findings: &Findings,
) -> Result<(), Error> {
    let placed = os.parts.iter().filter_map(|part| match &part.role {
        Role::Placed(path) => Some((part, path)),
        _ => None,
    });
    for (part, path) in placed.clone() {
        if let Some(what) = tree.obstacle(path) {
            findings.add(&part.place, what, "give the file another path");
        }
    }
    for (part, path) in placed {
        tree.place(path, &part.source);
    }
    let tell = |(what, remedy): (String, String)| findings.add(place, what, remedy);
    examine(&tree, program)?.into_iter().for_each(tell);
    Ok(())
}

/// What is wrong, and what to do about it.
type Wrong = (String, String);

fn examine(tree: &Tree, program: &Program) -> Result<Vec<Wrong>, Error> {
    let mut wrong = Vec::new();
    let workdir = tree.resolve(&program.workdir);
    let is_there = workdir.is_some_and(|(_, entry)| entry.kind == Kind::Folder);
    if !is_there && program.workdir != "/" && !MOUNTED.contains(&program.workdir.as_str()) {
        let what = format!("\"workdir\": the root has no folder {}", program.workdir);
        wrong.push((what, "make it there, or name another".to_owned()));
    }
    let Some(path) = program.argv.first() else { return Ok(wrong) };
    if let Some(what) = hidden(path) {
        wrong.push((what, "put the program elsewhere, as /bin/program".to_owned()));
        return Ok(wrong);
    }
    let mut wanted = vec![(path.clone(), None)];
    let mut seen = BTreeSet::new();
    while let Some((path, by)) = wanted.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        match executable(tree, &path, by.as_deref()) {
            Ok(real) => follow(tree, program, &path, &real, &mut wanted, &mut wrong)?,
            Err(found) => wrong.push(found),
        }
    }
    Ok(wrong)
}

/// A program's path without links, if it can be executed.
fn executable(tree: &Tree, path: &str, by: Option<&str>) -> Result<String, Wrong> {
    let needs = by.map(|by| format!(", which {by} needs")).unwrap_or_default();
    let Some((real, entry)) = tree.resolve(path) else {
        let near = tree.beside(path).map(|near| format!("; there is {near}")).unwrap_or_default();
        let what = format!("the root has no {path}{needs}{near}");
        return Err((what, "put it there, or correct the path".to_owned()));
    };
    if entry.kind != Kind::File {
        return Err((format!("{path}{needs} is no file"), "name a program".to_owned()));
    }
    if entry.mode & 0o111 == 0 {
        return Err((
            format!("{path}{needs} is not executable"),
            format!("chmod +x {}", real.trim_start_matches('/')),
        ));
    }
    Ok(real)
}

/// Looks for what one program stands on; interpreters are to be looked at in their turn.
fn follow(
    tree: &Tree,
    program: &Program,
    path: &str,
    real: &str,
    wanted: &mut Vec<(String, Option<String>)>,
    wrong: &mut Vec<Wrong>,
) -> Result<(), Error> {
    let mut ahead = vec![real.to_owned()];
    let mut libraries = BTreeSet::new();
    while let Some(object) = ahead.pop() {
        let bytes = tree.read(&object)?;
        if object == real
            && let Some(interpreter) = script(&bytes)
        {
            wanted.push((interpreter, Some(path.to_owned())));
            return Ok(());
        }
        let demands = match boottorrent_pxe::demands(&bytes) {
            Ok(Some(demands)) => demands,
            // Of another kind of processor or file: whether the node can run it, the node says.
            Ok(None) => continue,
            Err(why) => {
                wrong.push((format!("{object} is damaged: {why}"), "put a good copy there".to_owned()));
                continue;
            }
        };
        if let Some(interpreter) = demands.interpreter
            && tree.resolve(&interpreter).is_none()
        {
            let what = format!("the root has no {interpreter}, the loader that {object} needs");
            wrong.push((what, "copy it there, or link the program statically".to_owned()));
        }
        for name in demands.needed {
            if !libraries.insert(name.clone()) {
                continue;
            }
            match library(tree, program, &object, &demands.search, &name) {
                Some(found) => ahead.push(found),
                None => {
                    let what = format!("the root has no library {name}, which {object} needs");
                    wrong.push((what, "copy it there (ldd names the one of this machine)".to_owned()));
                }
            }
        }
    }
    Ok(())
}

/// Where a loader would find a library, without links.
fn library(tree: &Tree, program: &Program, object: &str, search: &[String], name: &str) -> Option<String> {
    if name.contains('/') {
        return tree.resolve(name).map(|(real, _)| real);
    }
    let own = Path::new(object).parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
    let origin = |folder: &String| folder.replace("$ORIGIN", &own).replace("${ORIGIN}", &own);
    let variable = program.env.iter().find(|(name, _)| name == "LD_LIBRARY_PATH");
    let folders = (search.iter().map(origin))
        .chain(variable.into_iter().flat_map(|(_, value)| value.split(':').map(str::to_owned)))
        .chain(tree.configured().iter().cloned())
        .chain(SYSTEM.iter().map(|folder| (*folder).to_owned()));
    let mut found = folders.filter_map(|folder| tree.resolve(&format!("{folder}/{name}")));
    found.find(|(_, entry)| entry.kind == Kind::File).map(|(real, _)| real)
}

/// The interpreter of a script.
fn script(bytes: &[u8]) -> Option<String> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line.get(..SHEBANG).unwrap_or(line)).into_owned();
    line.split_ascii_whitespace().next().map(str::to_owned)
}

fn told(e: overlay::Error) -> Error {
    Error::Told(e.to_string())
}

#[cfg(test)]
mod tests;
