//! The half of os.toml that `method = "run"` has: a root, the files placed in it, and the program with what follows it.
//! Decides everything that can be known without looking into the root; what is in it is looked at by boottorrent-gen.

use super::finding::{At, Findings, Place, join};
use super::os::{MAX_TARGET, Part, check_file};
use super::section::Section;
use super::value::{Rate, Spelt};
use boottorrent_swarm::catalog::{
    After, MAX_ARGUMENTS, MAX_VARIABLES, NICE, Program, Role, is_plain_path, is_variable,
};
use boottorrent_swarm::template;
use std::fs;
use std::path::{Path, PathBuf};

/// What the node mounts over a program's root.
pub const MOUNTED: [&str; 4] = ["/dev", "/proc", "/sys", "/tmp"];

/// What a program finds as `/`.
#[derive(Debug, Clone)]
pub struct Root {
    pub source: PathBuf,
    pub kind: RootKind,
    /// The line that names it.
    pub place: Place,
}

/// What a root is given as. The first two are packed into a squashfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootKind {
    Folder,
    Tar,
    Squashfs,
}

/// With a bundle a root is what is laid over it, and may be absent.
pub(super) fn read_root(section: &Section<'_>, folder: &Path, has_bundle: bool) -> Option<Root> {
    let At { value, place } = match section.get::<String>("root") {
        None if has_bundle => return None,
        Some(root) => root,
        None => section.need::<String>("root", "\"tree/\"")?,
    };
    let source = join(folder, &value);
    let kind = match source.extension().and_then(|ending| ending.to_str()) {
        _ if source.is_dir() => RootKind::Folder,
        Some("tar") => RootKind::Tar,
        Some("squashfs" | "sqfs" | "sfs") => RootKind::Squashfs,
        _ => {
            let what = match fs::metadata(&source) {
                Ok(_) => {
                    format!("\"root\": {} is neither a folder nor a .squashfs nor a .tar", source.display())
                }
                Err(e) => format!("\"root\": {}: {e}", source.display()),
            };
            section.findings().add(&place, what, "name one of these (a compressed tar: unpack it first)");
            return None;
        }
    };
    if has_bundle && kind != RootKind::Folder {
        let what = format!("\"root\": {} cannot be laid over a [bundle]", source.display());
        section.findings().add(&place, what, "unpack it and name the folder");
        return None;
    }
    Some(Root { source, kind, place })
}

/// A folder is looked at when it is packed; a file is as any other file of an image.
pub(super) fn check_root(root: &Root, in_place: bool, findings: &Findings) {
    if root.kind != RootKind::Folder {
        let part = Part { source: root.source.clone(), place: root.place.clone(), role: Role::Root };
        check_file(&part, in_place && root.kind == RootKind::Squashfs, findings);
    }
}

/// The files beside the root, by the paths under which the program finds them.
pub(super) fn read_files(section: &Section<'_>, folder: &Path) -> Vec<Part> {
    let mut parts = Vec::new();
    for (source, target) in section.get_entries("files") {
        let tell = |what: String| {
            section.findings().add(&target.place, what, "write \"file\" = \"/path/in/the/root\"")
        };
        let Some(path) = target.value.as_str() else {
            tell(format!("\"{}\" is a {}", source.value, target.value.type_str()));
            continue;
        };
        if path == "/"
            || !is_plain_path(path)
            || path.len() > MAX_TARGET
            || path.chars().any(char::is_control)
        {
            tell(format!("{path:?} is no path inside the root"));
            continue;
        }
        if let Some(what) = hidden(path) {
            section.findings().add(&target.place, what, "put the file elsewhere, as \"/os/disk.img\"");
            continue;
        }
        let source = join(folder, &source.value);
        parts.push(Part { source, place: target.place.clone(), role: Role::Placed(path.to_owned()) });
    }
    parts
}

/// Why what a root has under this path is seen by nobody, if so: it is in one of the node's own folders.
pub fn hidden(path: &str) -> Option<String> {
    let is_in = |folder: &&str| {
        path.strip_prefix(*folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mounted = MOUNTED.into_iter().find(is_in)?;
    Some(format!("{path} is below {mounted}, which is the node's own and not the root's"))
}

/// A file cannot be in a file.
pub(super) fn check_nested(parts: &[Part], findings: &Findings) {
    let placed = |part: &Part| match &part.role {
        Role::Placed(path) => Some(path.clone()),
        _ => None,
    };
    for part in parts {
        let Some(path) = placed(part) else { continue };
        let is_above =
            |above: &String| path.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with('/'));
        if let Some(above) = parts.iter().filter_map(placed).find(is_above) {
            let what = format!("{path} is below {above}, which is a file of the image as well");
            findings.add(&part.place, what, "give one of them another path");
        }
    }
}

pub(super) fn read(section: &Section<'_>) -> Option<At<Program>> {
    let place = section.need_list("run", "[\"/bin/program\", \"argument\"]");
    let argv = section.get_list::<String>("run");
    check_arguments(&argv, section.findings());
    let env = read_environment(section);
    let workdir = section.get::<PlainPath>("workdir").map_or_else(|| "/".to_owned(), |w| w.value.0);
    let after = section.get::<AfterText>("after").map_or(After::Menu, |a| a.value.0);
    let nice = section.get_integer("nice", NICE).unwrap_or(0);
    let seed = section.section("seed");
    let seed_rate = seed.get::<Rate>("rate").map(|rate| rate.value.0);
    seed.finish();
    let tap = section.get_bool("tap").unwrap_or(false);
    if let Some(place) = &place {
        let words = argv.iter().map(|word| word.value.as_str());
        check_tap(tap, words.chain(env.iter().map(|(_, value)| value.as_str())), place, section.findings());
    }
    let argv: Vec<String> = argv.into_iter().map(|word| word.value).collect();
    let value = Program { argv, env, workdir, after, nice, seed_rate, tap };
    place.map(|place| At { value, place })
}

/// A tap that the program is not told of is of no use, and a guest with another address than the tap's is deaf.
fn check_tap<'w>(tap: bool, words: impl Iterator<Item = &'w str>, place: &Place, findings: &Findings) {
    const EXAMPLE: &str =
        "as \"-netdev\", \"tap,id=net,fd={tap}\", \"-device\", \"virtio-net-pci,netdev=net,mac={tap-mac}\"";
    let words: Vec<&str> = words.collect();
    for key in ["{tap}", "{tap-mac}"] {
        let is_named = words.iter().any(|word| word.contains(key));
        if tap && !is_named {
            findings.add(
                place,
                format!("\"tap\" is true, and nothing of the program has {key}"),
                format!("write it {EXAMPLE}"),
            );
        } else if is_named && !tap {
            findings.add(place, format!("{key} has no value without a tap"), "write tap = true");
        }
    }
}

fn check_arguments(argv: &[At<String>], findings: &Findings) {
    let Some(path) = argv.first() else { return };
    if !is_plain_path(&path.value) || path.value == "/" {
        let what = format!("\"run\" begins with {:?}", path.value);
        findings.add(&path.place, what, "write the program's path in the root first, as \"/bin/program\"");
    } else if argv.len() == 1 && path.value.contains(' ') {
        let words: Vec<String> = path.value.split_whitespace().map(|word| format!("{word:?}")).collect();
        findings.add(&path.place, "\"run\" is one word with blanks", format!("write [{}]", words.join(", ")));
    }
    if argv.len() > MAX_ARGUMENTS {
        let what = format!("\"run\" has {} words", argv.len());
        findings.add(
            &path.place,
            what,
            format!("at most {MAX_ARGUMENTS}: put them into a script in the root"),
        );
    }
    argv.iter().skip(1).for_each(|word| check_text("run", word, findings));
}

fn read_environment(section: &Section<'_>) -> Vec<(String, String)> {
    let entries = section.get_entries("env");
    let findings = section.findings();
    if let Some((name, _)) = entries.get(MAX_VARIABLES) {
        let what = format!("\"env\" has {} variables", entries.len());
        findings.add(&name.place, what, format!("at most {MAX_VARIABLES}: set them in a script in the root"));
    }
    let mut env = Vec::new();
    for (name, value) in entries {
        let Some(text) = value.value.as_str() else {
            let what = format!("\"env\": {} is no text", name.value);
            findings.add(&value.place, what, "write it in quotes");
            continue;
        };
        if !is_variable(&name.value) {
            let what = format!("\"env\": {:?} is no name of a variable", name.value);
            findings.add(&name.place, what, "use letters, digits and _");
        }
        let value = At { value: text.to_owned(), place: value.place };
        check_text("env", &value, findings);
        env.push((name.value, value.value));
    }
    env
}

fn check_text(key: &str, text: &At<String>, findings: &Findings) {
    if let Err(e) = template::check(&text.value, template::PROGRAM_KEYS) {
        findings.add(&text.place, format!("\"{key}\": {e}"), "correct the template");
    }
    if text.value.contains('\0') {
        findings.add(&text.place, format!("\"{key}\" has a zero byte"), "take it out");
    }
}

struct PlainPath(String);

impl Spelt for PlainPath {
    const KIND: &'static str = "a path in the root such as \"/home/user\"";

    fn read(text: &str) -> Result<PlainPath, String> {
        let is_path = is_plain_path(text) && text.len() <= MAX_TARGET;
        if is_path { Ok(PlainPath(text.to_owned())) } else { Err(format!("{text:?} is no path in the root")) }
    }
}

struct AfterText(After);

impl Spelt for AfterText {
    const KIND: &'static str = "\"menu\", \"restart\", \"reboot\" or \"poweroff\"";

    fn read(text: &str) -> Result<AfterText, String> {
        After::read(text)
            .map(AfterText)
            .ok_or_else(|| format!("{text:?} is nothing that can follow a program"))
    }
}
