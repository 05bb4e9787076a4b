//! Folders as values: read, copied, compared with what stands in tests/golden (BLESS=1 writes it anew).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").canonicalize().unwrap()
}

/// Every file below `dir`, by its path from there.
pub(crate) fn read(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                let bytes = match path.read_link() {
                    Ok(target) => target.into_os_string().into_encoded_bytes(),
                    Err(_) => fs::read(&path).unwrap(),
                };
                tree.insert(name, bytes);
            }
        }
    }
    tree
}

pub(crate) fn write(dir: &Path, tree: &Tree) {
    for (name, bytes) in tree {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Compares with the golden folder, or replaces it under BLESS=1.
pub(crate) fn assert_golden(expected: &Path, tree: &Tree) {
    if std::env::var_os("BLESS").is_some() {
        let _ = fs::remove_dir_all(expected);
        write(expected, tree);
        return;
    }
    let golden = if expected.is_dir() { read(expected) } else { Tree::new() };
    let names: std::collections::BTreeSet<&String> = golden.keys().chain(tree.keys()).collect();
    for name in names {
        let text = |t: &Tree| t.get(name).map(|b| String::from_utf8_lossy(b).into_owned());
        assert_eq!(
            text(tree),
            text(&golden),
            "{}/{name} differs; look at it, and if the new one is right: BLESS=1 cargo test -p boottorrent-gen",
            expected.display()
        );
    }
}

/// Runs boottorrent-gen.
pub(crate) fn generate<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command(args).output().unwrap()
}

pub(crate) fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boottorrent-gen"));
    command.args(args);
    command
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
