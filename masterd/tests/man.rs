//! Each program's page lists the very options that its --help does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

#[test]
fn pages_and_help_list_the_same_options() {
    for (name, program) in [
        ("boottorrentctl", env!("CARGO_BIN_EXE_boottorrentctl")),
        ("boottorrent-dhcp", env!("CARGO_BIN_EXE_boottorrent-dhcp")),
        ("boottorrent-log", env!("CARGO_BIN_EXE_boottorrent-log")),
        ("boottorrent-ra", env!("CARGO_BIN_EXE_boottorrent-ra")),
        ("boottorrent-seed", env!("CARGO_BIN_EXE_boottorrent-seed")),
        ("boottorrent-tftp", env!("CARGO_BIN_EXE_boottorrent-tftp")),
        ("boottorrent-tracker", env!("CARGO_BIN_EXE_boottorrent-tracker")),
    ] {
        let output = Command::new(program).arg("--help").output().unwrap();
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../man/{name}.8"));
        let page = std::fs::read_to_string(page).unwrap();
        let in_help = help.lines().filter(|line| line.starts_with("  --")).flat_map(options);
        let in_page = page.lines().filter(|line| line.starts_with(".It Fl Fl ")).flat_map(of_macros);
        assert_eq!(in_page.collect::<BTreeSet<_>>(), in_help.collect::<BTreeSet<_>>(), "{name}");
    }
}

/// The options before a line's explanation.
fn options(line: &str) -> Vec<String> {
    let head = line.trim_start().split("  ").next().unwrap_or_default();
    let words = head.split_whitespace().map(|word| word.trim_end_matches(','));
    words.filter_map(|word| word.strip_prefix("--")).map(str::to_owned).collect()
}

/// The words behind each `Fl Fl`.
fn of_macros(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(3).filter(|w| w[..2] == ["Fl", "Fl"]).map(|w| w[2].to_owned()).collect()
}
