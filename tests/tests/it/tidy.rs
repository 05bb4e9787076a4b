//! House rules that a machine can check; each failure names the place and the repair.
//! Reads the tree as text; runs nothing of it.

use std::fs;
use std::path::{Path, PathBuf};

/// Which of our packages each package may import (ARCHITECTURE.md, 2).
const ARROWS: [(&str, &[&str]); 8] = [
    ("agent/swarm", &[]),
    ("agent/net", &["swarm"]),
    ("agent/sim", &["swarm", "net"]),
    ("agent", &["swarm", "net"]),
    ("masterd", &["swarm", "net"]),
    ("pxe", &[]),
    ("systemd", &["swarm", "masterd", "pxe"]),
    ("tests", &["swarm", "net", "sim", "masterd", "pxe", "gen"]),
];

/// A file longer than this has two jobs.
const MAX_LINES: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files below `folder` whose name ends with `ending`, without what is built.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = ["target", "out", ".git"].iter().any(|s| name == *s);
        if entry.file_type().unwrap().is_dir() {
            if !skipped {
                files(&path, ending, found);
            }
        } else if name.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root(), ".rs", &mut found);
    assert!(found.len() > 30, "the walk found only {} sources", found.len());
    found.iter().map(|p| (p.strip_prefix(root()).unwrap().display().to_string(), read(p))).collect()
}

/// Fails with every complaint at once.
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn packages_import_only_along_the_arrows() {
    let mut wrong = Vec::new();
    for (place, allowed) in ARROWS {
        let text = read(&root().join(place).join("Cargo.toml"));
        let mut section = "";
        for line in text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            // What only a package's own tests need draws no arrow.
            if section != "[dependencies]" {
                continue;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if let Some(ours) = name.strip_prefix("boottorrent-")
                && !allowed.contains(&ours)
            {
                wrong.push(format!(
                    "{place}/Cargo.toml imports {name}: the arrows in ARCHITECTURE.md do not allow it"
                ));
            }
            if !line.contains("workspace = true") {
                wrong.push(format!(
                    "{place}/Cargo.toml: {line}: versions stand in the workspace's Cargo.toml only"
                ));
            }
        }
    }
    report(wrong);
}

#[test]
fn each_dependency_has_its_reason() {
    let text = read(&root().join("Cargo.toml"));
    let section =
        text.split_once("[workspace.dependencies]").unwrap().1.split("\n[").next().unwrap().to_owned();
    let mut wrong = Vec::new();
    // One reason may stand above a run of lines that serve it together.
    let mut reason = false;
    for line in section.lines().filter(|l| !l.starts_with("boottorrent-")) {
        match line {
            "" => reason = false,
            l if l.starts_with('#') => reason = true,
            l if !reason => {
                wrong.push(format!("Cargo.toml: {l}: write one line above it that says what it is for"))
            }
            _ => {}
        }
    }
    report(wrong);
}

#[test]
fn files_have_a_head_and_one_job() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{path}: {lines} lines: more than {MAX_LINES} is two jobs, split it"));
        }
        // A tests.rs is the rest of the file beside it, whose head stands there.
        if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
            wrong.push(format!(
                "{path}: begin with two or three lines (//!) on what it decides and never does"
            ));
        }
    }
    report(wrong);
}

#[test]
fn unsafe_code_has_one_address() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let is_sys = path.ends_with("/sys.rs") || path.contains("/sys/");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let uses = [
                "unsafe {",
                "unsafe fn",
                "unsafe impl",
                "unsafe extern",
                "allow(unsafe_code",
                "expect(unsafe_code",
            ];
            if !is_sys && !path.ends_with("tidy.rs") && uses.iter().any(|u| code.contains(u)) {
                wrong.push(format!("{path}:{}: unsafe code belongs into the package's sys.rs", number + 1));
            }
        }
    }
    report(wrong);
}

#[test]
fn the_core_is_pure() {
    let head = read(&root().join("agent/swarm/src/lib.rs"));
    for promise in ["#![no_std]", "#![forbid(unsafe_code)]", "#![warn(clippy::indexing_slicing)]"] {
        assert!(
            head.contains(promise),
            "agent/swarm/src/lib.rs: {promise} is what makes the core's promises hold"
        );
    }
    for (path, text) in sources().iter().filter(|(p, _)| p.starts_with("agent/swarm/src")) {
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        assert!(!production.contains("std::"), "{path}: the core uses core:: and alloc:: only");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!(", "#[ignore"];
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(p, _)| !p.ends_with("tidy.rs")) {
        for (number, line) in text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|m| line.contains(**m)) {
                wrong.push(format!(
                    "{path}:{}: {mark}: finish it or say in ARCHITECTURE.md why not",
                    number + 1
                ));
            }
        }
    }
    report(wrong);
}

#[test]
fn names_are_the_fields_nouns() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(p, _)| !p.ends_with("tidy.rs")) {
        let file = path.rsplit('/').next().unwrap_or_default();
        if ["util.rs", "utils.rs", "helper.rs", "helpers.rs", "common.rs", "misc.rs"].contains(&file) {
            wrong.push(format!("{path}: name it after what it does"));
        }
        for (number, line) in text.lines().enumerate() {
            let named =
                ["struct ", "trait ", "enum "].iter().find_map(|k| line.split_once(k)).map(|(_, rest)| rest);
            let name = named.and_then(|n| n.split(|c: char| !c.is_alphanumeric()).next()).unwrap_or_default();
            if ["Manager", "Helper", "Util", "Utils", "Common"].iter().any(|bad| name.ends_with(bad)) {
                wrong.push(format!("{path}:{}: {name}: use the field's noun", number + 1));
            }
        }
    }
    report(wrong);
}

#[test]
fn every_program_and_file_format_has_its_page() {
    let mut wrong = Vec::new();
    let mut programs = vec!["boottorrent-agent".to_owned(), "boottorrent-gen".to_owned()];
    for entry in fs::read_dir(root().join("masterd/src/bin")).unwrap().map(Result::unwrap) {
        programs.push(entry.path().file_stem().unwrap().to_string_lossy().into_owned());
    }
    assert!(programs.len() >= 7, "masterd has lost its programs: {programs:?}");
    let pages = programs.iter().map(|p| format!("{p}.8"));
    let pages = pages.chain(["boottorrent.7", "boottorrent.toml.5", "os.toml.5"].map(String::from));
    let overview = read(&root().join("man/boottorrent.7"));
    for page in pages {
        let (name, section) = page.rsplit_once('.').unwrap();
        if !root().join("man").join(&page).exists() {
            wrong.push(format!("man/{page} is missing"));
        } else if page != "boottorrent.7" && !overview.contains(&format!(".Xr {name} {section}")) {
            wrong.push(format!("man/boottorrent.7 does not refer to {page}"));
        }
    }
    report(wrong);
}

#[test]
fn the_readmes_commands_exist() {
    let readme = read(&root().join("README.md"));
    let makefile = read(&root().join("Makefile"));
    let mut seen = 0;
    for word in readme.split("`make ").skip(1) {
        let target = word.split(['`', ' ']).next().unwrap_or_default();
        assert!(
            makefile.contains(&format!("\n{target}:")),
            "README.md names `make {target}`, which Makefile lacks"
        );
        seen += 1;
    }
    assert!(seen >= 3, "README.md names test, demo and bench");
    let ci = read(&root().join(".ci/run"));
    assert!(ci.contains("make test"), ".ci/run calls make test and nothing else");
}

/// What stands between the quotes that follow `before`, wherever that occurs.
fn quoted_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn the_agents_page_knows_every_word_of_its_command_line() {
    let page = read(&root().join("man/boottorrent-agent.8"));
    let source = read(&root().join("agent/src/cmdline.rs"));
    let words: Vec<&str> =
        source.split("\n            \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let ours: Vec<&str> =
        words.into_iter().filter(|w| !w.contains(' ') && (w.starts_with("bt.") || *w == "BOOTIF")).collect();
    assert!(ours.len() >= 7, "agent/src/cmdline.rs takes its words in another form now: {ours:?}");
    let lacking: Vec<String> = ours
        .iter()
        .filter(|word| ![" ", "="].iter().any(|end| page.contains(&format!(".It Ic {word}{end}"))))
        .filter(|word| !page.contains(&format!(".It Ic {word}\n")))
        .map(|word| format!("man/boottorrent-agent.8 lacks {word} of agent/src/cmdline.rs"))
        .collect();
    report(lacking);
}

#[test]
fn the_pages_know_every_key_and_option() {
    let page = read(&root().join("man/boottorrent.toml.5"));
    let table = read(&root().join("masterd/src/dhcp/options/table.rs"));
    let mut wrong = Vec::new();
    let rows: Vec<&str> = table.lines().filter(|l| l.trim_start().starts_with("known(")).collect();
    assert!(rows.len() > 80, "the table of options has another form now");
    for row in rows.iter().filter(|r| !r.contains("Protocol(")) {
        let name = row.split('"').nth(1).unwrap();
        if !page.contains(&format!(" Ta {name} Ta ")) {
            wrong.push(format!("man/boottorrent.toml.5 lacks the DHCP option {name}"));
        }
    }
    let os_page = read(&root().join("man/os.toml.5"));
    let mut keys = 0;
    for (source, page, name) in [
        ("general", &page, "boottorrent.toml"),
        ("dhcp", &page, "boottorrent.toml"),
        ("nodes", &page, "boottorrent.toml"),
        ("rack", &page, "boottorrent.toml"),
        ("power", &page, "boottorrent.toml"),
        ("os", &os_page, "os.toml"),
        ("program", &os_page, "os.toml"),
        ("bundle", &os_page, "os.toml"),
    ] {
        let text = read(&root().join(format!("masterd/src/site/{source}.rs")));
        for read in [
            ">(\"",
            "get_bool(\"",
            "get_integer(\"",
            "get_port(\"",
            "get_entries(\"",
            "read_options(&section, \"",
            "path_of(&section, \"",
        ] {
            for key in quoted_after(&text, read) {
                keys += 1;
                if !page.contains(&format!(".It Ic {key}\n")) {
                    wrong.push(format!(
                        "man/{name}.5 lacks the key \"{key}\" of masterd/src/site/{source}.rs"
                    ));
                }
            }
        }
    }
    assert!(keys >= 25, "the walk found only {keys} keys");
    report(wrong);
}
