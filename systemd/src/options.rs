//! The command line of boottorrent-gen.
//! Decides what is asked for and where things are; touches nothing.

use crate::error::Error;
use crate::key;
use boottorrent_masterd::store;
use lexopt::prelude::{Long, Short, Value};
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub(crate) const USAGE: &str = "\
Usage: boottorrent-gen [OPTION...] [DIR]
       boottorrent-gen [OPTION...] check [DIR]
       boottorrent-gen [OPTION...] init [DIR]

Compiles the site folder DIR (default: the current one) into what the daemons serve: bootstrap image, catalog,
images and units. `check` tells every mistake and writes nothing; `init` makes a commented example and a site key.

  --root DIR     write everything below DIR, for a machine that does not run
  --store DIR    where the daemons find what they serve (default: /var/lib/boottorrent)
  --key FILE     the site's secret key (default: /etc/boottorrent/site.key)
  --bindir DIR   where the units find the daemons (default: the folder of boottorrent-gen)
  --agent FILE   the nodes' program (default: ../lib/boottorrent/boottorrent-agent, or beside boottorrent-gen)
  --help         this text
  --version      the version

A folder that is called check or init: write ./check. See boottorrent-gen(8) and boottorrent.toml(5).
";

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Help,
    Version,
    Init,
    Check,
    Compile,
}

/// The command line, understood.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) action: Action,
    pub(crate) dir: PathBuf,
    /// "/" unless --root says otherwise.
    pub(crate) root: PathBuf,
    /// As the booted system sees it.
    pub(crate) store: PathBuf,
    /// Where it is now.
    pub(crate) key: PathBuf,
    pub(crate) bindir: PathBuf,
    pub(crate) agent: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Error> {
        let told = |e: lexopt::Error| Error::Told(format!("{e}; see boottorrent-gen --help"));
        let mut parser = lexopt::Parser::from_iter(args);
        let (mut action, mut dir, mut root, mut store, mut key) = (Action::Compile, None, None, None, None);
        let (mut bindir, mut agent) = (None, None);
        let path = |parser: &mut lexopt::Parser| parser.value().map(PathBuf::from).map_err(told);
        while let Some(argument) = parser.next().map_err(told)? {
            match argument {
                Long("root") => root = Some(path(&mut parser)?),
                Long("store") => store = Some(path(&mut parser)?),
                Long("key") => key = Some(path(&mut parser)?),
                Long("bindir") => bindir = Some(path(&mut parser)?),
                Long("agent") => agent = Some(path(&mut parser)?),
                Short('h') | Long("help") => action = Action::Help,
                Long("version") => action = Action::Version,
                Value(word) if word == "check" && action == Action::Compile && dir.is_none() => {
                    action = Action::Check
                }
                Value(word) if word == "init" && action == Action::Compile && dir.is_none() => {
                    action = Action::Init
                }
                Value(word) if dir.is_none() => dir = Some(PathBuf::from(word)),
                other => return Err(told(other.unexpected())),
            }
        }
        let root = root.map_or(Ok("/".into()), |r| absolute(&r, "--root"))?;
        let store = store.map_or(Ok(store::DEFAULT.into()), |s| absolute(&s, "--store"))?;
        let default_key = || root.join(key::DEFAULT.trim_start_matches('/'));
        Ok(Options {
            action,
            dir: dir.unwrap_or_else(|| ".".into()),
            key: key.unwrap_or_else(default_key),
            bindir: bindir.map_or_else(own_folder, |b| absolute(&b, "--bindir"))?,
            agent,
            root,
            store,
        })
    }

    /// Where the store is now.
    pub(crate) fn store_here(&self) -> PathBuf {
        self.root.join(self.store.strip_prefix("/").unwrap_or(&self.store))
    }

    /// The agent that nodes will run: named, or where the package puts it, or beside this program.
    pub(crate) fn agent(&self) -> Result<PathBuf, Error> {
        if let Some(agent) = &self.agent {
            return match agent.is_file() {
                true => Ok(agent.clone()),
                false => Err(Error::Told(format!("--agent {}: there is no such file", agent.display()))),
            };
        }
        let own = own_folder()?;
        let candidates = [own.join("../lib/boottorrent/boottorrent-agent"), own.join("boottorrent-agent")];
        candidates.iter().find(|c| c.is_file()).cloned().ok_or_else(|| {
            let tried = candidates.each_ref().map(|c| c.display().to_string()).join(" nor ");
            Error::Told(format!("the agent is neither {tried}; name it with --agent"))
        })
    }
}

fn absolute(path: &Path, option: &str) -> Result<PathBuf, Error> {
    std::path::absolute(path)
        .map(|p| p.components().collect())
        .map_err(|e| Error::Told(format!("{option} {}: {e}", path.display())))
}

fn own_folder() -> Result<PathBuf, Error> {
    let own =
        env::current_exe().map_err(|e| Error::Told(format!("cannot tell where boottorrent-gen is: {e}")))?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let args = ["boottorrent-gen"].iter().chain(args).map(OsString::from);
        Options::parse(args).map_err(|e| e.to_string())
    }

    #[test]
    fn words_and_options_are_told_apart() {
        let o = parse(&[]).unwrap();
        assert_eq!(
            (o.action, o.dir.as_path(), o.root.as_path()),
            (Action::Compile, Path::new("."), Path::new("/"))
        );
        assert_eq!(o.key, Path::new("/etc/boottorrent/site.key"));
        let o = parse(&["check", "./check", "--root", "/mnt/x/", "--store=/srv/bt"]).unwrap();
        assert_eq!((o.action, o.dir.as_path()), (Action::Check, Path::new("./check")));
        assert_eq!(o.store_here(), Path::new("/mnt/x/srv/bt"));
        assert_eq!(o.key, Path::new("/mnt/x/etc/boottorrent/site.key"));
        assert_eq!(parse(&["init"]).unwrap().action, Action::Init);
        assert!(parse(&["a", "b"]).unwrap_err().contains("--help"));
        assert!(parse(&["--colour"]).unwrap_err().contains("--colour"));
        assert!(parse(&["--root"]).unwrap_err().contains("--root"));
    }

    #[test]
    fn an_agent_that_is_not_there_is_named() {
        let told = parse(&["--agent", "/nowhere/agent"]).unwrap().agent().unwrap_err().to_string();
        assert_eq!(told, "--agent /nowhere/agent: there is no such file");
    }
}
