//! How a program is called: its arguments and environment with the templates filled in.
//!
//! Decides what it finds in its environment beside what os.toml says. Starts nothing.

use std::ffi::CString;

use boottorrent_swarm::catalog::Program;
use boottorrent_swarm::template::{self, Values};

use super::Error;

/// What every program finds unless os.toml says otherwise. The terminal is the kernel's own, as far as anybody knows: a
/// serial line has behind it what understands most of it.
const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("TERM", "linux"),
];

/// Characters of a command that people are shown: two lines of a console, enough for most; a script has more.
const MAX_SHOWN: usize = 150;

/// A program that can be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) path: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) workdir: CString,
    pub(crate) nice: i8,
}

impl Start {
    pub(crate) fn new(program: &Program, values: &Values<'_>) -> Result<Self, Error> {
        let filled = |text: &String| template::fill(text, values);
        let mut environment: Vec<(String, String)> = Vec::new();
        for (name, value) in ENVIRONMENT {
            if !program.env.iter().any(|(own, _)| own == name) {
                environment.push((name.to_owned(), value.to_owned()));
            }
        }
        for (name, value) in &program.env {
            environment.push((name.clone(), filled(value)?));
        }
        Ok(Self {
            path: program.argv.first().cloned().unwrap_or_default(),
            arguments: program.argv.iter().skip(1).map(filled).collect::<Result<_, _>>()?,
            environment,
            // The catalog's reader lets no zero byte through.
            workdir: CString::new(program.workdir.as_str()).unwrap_or_default(),
            nice: program.nice,
        })
    }

    /// As a person would type it, on one line.
    pub(crate) fn in_words(&self) -> String {
        let line = self.arguments.iter().fold(self.path.clone(), |line, word| line + " " + word);
        let shown = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SHOWN);
        let cut = if line.chars().nth(MAX_SHOWN).is_some() { "..." } else { "" };
        shown.chain(cut.chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::catalog::After;

    const VALUES: Values<'_> = Values {
        mac: "52:54:00:00:00:01",
        ip: "10.0.0.11",
        hostname: "n01",
        master: "10.0.0.1",
        site: "lab",
        memory: "700",
        cpus: "2",
        tap: "",
        tap_mac: "",
    };

    fn program() -> Program {
        Program {
            argv: ["/bin/vm", "-m", "{memory}", "a b"].map(str::to_owned).into(),
            env: vec![("TERM".into(), "vt220".into()), ("ME".into(), "{hostname}@{ip}".into())],
            workdir: "/os".into(),
            after: After::Menu,
            nice: 5,
            seed_rate: None,
            tap: false,
        }
    }

    #[test]
    fn templates_are_filled_and_words_stay_words() {
        let start = Start::new(&program(), &VALUES).unwrap();
        assert_eq!(start.path, "/bin/vm");
        assert_eq!(start.arguments, ["-m", "700", "a b"]);
        let value = |name: &str| {
            let all: Vec<_> =
                start.environment.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
            all
        };
        assert_eq!(
            (value("TERM"), value("ME"), value("HOME")),
            (vec!["vt220"], vec!["n01@10.0.0.11"], vec!["/root"])
        );
        assert_eq!(start.in_words(), "/bin/vm -m 700 a b");
        let script = Start { arguments: vec!["-c".into(), format!("one\ntwo{}", "x".repeat(999))], ..start };
        assert!(
            script.in_words().starts_with("/bin/vm -c one twox") && script.in_words().ends_with("xxx...")
        );
    }

    #[test]
    fn a_value_from_the_network_that_is_no_word_stops_it() {
        let evil = Values { hostname: "a b", ..VALUES };
        let told = Start::new(&program(), &evil).unwrap_err().to_string();
        assert!(told.starts_with("the program's arguments cannot be filled in"), "{told}");
    }
}
