//! os/<name>/os.toml: what an operating system consists of and how a node hands over to it.
//! Decides that every file is there, readable and can travel in a torrent; never reads an image's bytes.

use super::bundle::{self, Bundle};
use super::finding::{At, Findings, Place, join};
use super::nodes::check_template;
use super::program::{self, Root};
use super::section::{Document, Section};
use super::value::{Size, Spelt};
use super::{LingerText, Name};
use boottorrent_swarm::catalog::{self, Linger, Method, Program, Role};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The file in each folder below os/.
pub const FILE: &str = "os.toml";
/// What a kernel and its init, or a program, need besides the image unless os.toml says more: Debian's live system boots
/// in it.
const MEMORY: Size = Size(256 << 20);
/// Bytes of a name in a torrent: NAME_MAX is 255, and gen puts a number before it.
const MAX_FILE_NAME: usize = 240;
/// Bytes of a path in the next initramfs or in a root; the kernel's unpacker stops at PATH_MAX.
pub(super) const MAX_TARGET: usize = 1024;

/// What ProtectHome= and PrivateTmp= hide from a unit unless it is bound in.
pub const HIDDEN_FROM_UNITS: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// One operating system.
#[derive(Debug, Clone)]
pub struct Os {
    pub place: Place,
    /// The name of its folder.
    pub name: String,
    pub title: String,
    pub method: Method,
    /// Kernel first, then archives in their order, then wrapped files by target; of a program the files beside its root.
    pub parts: Vec<Part>,
    /// What becomes the squashfs that a program runs in.
    pub root: Option<Root>,
    /// What boottorrent-gen puts below the root.
    pub bundle: Option<Bundle>,
    /// What is run, with the line that names it.
    pub program: Option<At<Program>>,
    /// A folder that is packed into the image as its last archive.
    pub overlay: Option<PathBuf>,
    pub cmdline: String,
    /// Bytes that the next kernel or the program needs besides the image.
    pub memory: u64,
    pub linger: Linger,
    /// Served from the site folder, without a copy.
    pub in_place: bool,
    /// Bytes; none: by the image's size.
    pub piece_length: Option<u32>,
    lingers: bool,
}

/// A file of an image.
#[derive(Debug, Clone)]
pub struct Part {
    pub source: PathBuf,
    /// The line that names it.
    pub place: Place,
    pub role: Role,
}

impl Os {
    /// The site's `linger` where the OS has none of its own.
    pub(crate) fn with_linger(mut self, site: Linger) -> Os {
        if !self.lingers {
            self.linger = site;
        }
        self
    }
}

/// What stands below os/.
pub(crate) struct Folder {
    pub(crate) images: Vec<Os>,
    /// Of every folder, those with findings included: a reference to one of them is right.
    pub(crate) names: Vec<String>,
}

/// Reads every os/<name>/os.toml, in the order of their names.
pub(crate) fn read_all(dir: &Path, findings: &Findings) -> Folder {
    let folder = dir.join("os");
    let place = Place::file(&folder);
    let example = "make os/<name>/os.toml, or let `boottorrent-gen init` make an example";
    let mut paths: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|e| e.path()).collect(),
        Err(e) => {
            findings.add(&place, format!("cannot be read: {e}"), example);
            return Folder { images: Vec::new(), names: Vec::new() };
        }
    };
    paths.retain(|p| p.is_dir() && !p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    paths.sort();
    if paths.is_empty() {
        findings.add(&place, "there is no operating system", example);
    }
    if paths.len() > catalog::MAX_IMAGES {
        let what = format!("there are {} operating systems", paths.len());
        findings.add(&place, what, format!("a menu has at most {}", catalog::MAX_IMAGES));
    }
    let names =
        paths.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
    Folder { images: paths.iter().filter_map(|p| read(p, findings)).collect(), names }
}

fn read(folder: &Path, findings: &Findings) -> Option<Os> {
    let name = folder.file_name()?.to_string_lossy().into_owned();
    if let Err(why) = Name::read(&name) {
        findings.add(&Place::file(folder), why, format!("rename the folder: {}", Name::KIND));
    }
    let document = Document::open(&folder.join(FILE), findings)?;
    let table = document.parse(findings)?;
    let section = Section::root(&document, &table, findings);
    let method = section.need::<MethodText>("method", "\"kexec\"").map_or(Method::Kexec, |m| m.value.0);
    let is_run = method == Method::Run;
    let bundle = if is_run { bundle::read(&section) } else { None };
    let os = Os {
        place: section.place().clone(),
        title: section.get::<Title>("title").map_or_else(|| name.clone(), |t| t.value.0),
        name,
        method,
        parts: if is_run { program::read_files(&section, folder) } else { read_parts(&section, folder) },
        root: if is_run { program::read_root(&section, folder, section.has("bundle")) } else { None },
        bundle,
        program: if is_run { program::read(&section) } else { None },
        overlay: if is_run { None } else { read_overlay(&section, folder) },
        cmdline: if is_run { String::new() } else { read_cmdline(&section) },
        memory: section.get::<Size>("memory").map_or(MEMORY, |m| m.value).0,
        linger: Linger::Auto,
        in_place: section.get_bool("in-place").unwrap_or(false),
        piece_length: section.get::<PieceLength>("piece-length").map(|l| l.value.0),
        lingers: false,
    };
    // A program's node serves the others for as long as it runs: there is nothing to linger for.
    let linger = if is_run { None } else { section.get::<LingerText>("linger") };
    section.finish();
    let os = match linger {
        Some(l) => Os { linger: l.value.0, lingers: true, ..os },
        None => os,
    };
    check_parts(&os, findings);
    Some(os)
}

fn read_cmdline(section: &Section<'_>) -> String {
    match section.get::<String>("cmdline") {
        None => String::new(),
        Some(At { value, place }) => {
            check_template(&value, &place, section.findings());
            value
        }
    }
}

fn read_parts(section: &Section<'_>, folder: &Path) -> Vec<Part> {
    let part =
        |name: &At<String>, role| Part { source: join(folder, &name.value), place: name.place.clone(), role };
    let mut parts = Vec::new();
    if let Some(kernel) = section.need::<String>("kernel", "\"vmlinuz\"") {
        parts.push(part(&kernel, Role::Kernel));
    }
    parts.extend(section.get_list::<String>("initrd").iter().map(|i| part(i, Role::Initrd)));
    for (source, target) in section.get_entries("files") {
        let Some(text) = target.value.as_str() else {
            let what = format!("\"{}\" is a {}", source.value, target.value.type_str());
            section.findings().add(&target.place, what, "write \"file\" = \"/path/in/the/initramfs\"");
            continue;
        };
        match target_path(text) {
            Some(path) => parts.push(part(&source, Role::Wrapped(path))),
            None => {
                let what = format!("{text:?} is no path inside the initramfs");
                section.findings().add(&target.place, what, "write it as \"/live/filesystem.squashfs\"");
            }
        }
    }
    parts
}

/// A path for the next initramfs, without its leading slash.
fn target_path(text: &str) -> Option<String> {
    let path = text.strip_prefix('/').unwrap_or(text);
    let legal = path.len() <= MAX_TARGET
        && !path.chars().any(char::is_control)
        && path.split('/').all(|c| !c.is_empty() && c != "." && c != "..");
    legal.then(|| path.to_owned())
}

fn read_overlay(section: &Section<'_>, folder: &Path) -> Option<PathBuf> {
    let At { value, place } = section.get::<String>("overlay")?;
    let path = join(folder, &value);
    if path.is_dir() {
        return Some(path);
    }
    let what = format!("\"overlay\": {} is no folder", path.display());
    section.findings().add(&place, what, "name a folder whose files are laid over the image");
    None
}

/// What can be known of an image's files before their bytes are read.
fn check_parts(os: &Os, findings: &Findings) {
    let mut targets: Vec<(&str, &Place)> = Vec::new();
    for part in &os.parts {
        check_file(part, os.in_place, findings);
        if let Role::Wrapped(target) | Role::Placed(target) = &part.role {
            if let Some((_, earlier)) = targets.iter().find(|(t, _)| t == target) {
                let what = format!("two files become /{}", target.trim_start_matches('/'));
                findings.add(&part.place, what, format!("change it here or in {}", earlier.in_words()));
            }
            targets.push((target, &part.place));
        }
    }
    program::check_nested(&os.parts, findings);
    if let Some(root) = &os.root {
        program::check_root(root, os.in_place, findings);
    }
    let more = usize::from(os.overlay.is_some()) + usize::from(os.root.is_some() || os.bundle.is_some());
    if os.parts.len() + more > catalog::MAX_FILES {
        let what = format!("{} files make one image", os.parts.len() + more);
        findings.add(
            &os.place,
            what,
            format!("at most {}: pack folders into a squashfs or cpio", catalog::MAX_FILES),
        );
    }
}

pub(super) fn check_file(part: &Part, in_place: bool, findings: &Findings) {
    let path = part.source.display();
    let tell = |what: String, remedy: &str| findings.add(&part.place, what, remedy);
    if let Err(why) = torrent_name(&part.source) {
        tell(format!("{path:?}: {why}, which a torrent can't carry", path = part.source), "rename the file");
        return;
    }
    let metadata = match fs::metadata(&part.source) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let what = match part.role {
                Role::Kernel => format!("the kernel {path} does not exist"),
                _ => format!("{path} does not exist"),
            };
            return tell(what, "put the file there, or correct its name (paths are relative to this file)");
        }
        Err(e) => return tell(format!("{path} cannot be read: {e}"), "make it readable"),
    };
    if !metadata.is_file() {
        let remedy = "name a file; pack a folder into a squashfs or cpio first, or name it as overlay =";
        return tell(format!("{path} is no regular file"), remedy);
    }
    if metadata.len() == 0 {
        return tell(format!("{path} is empty"), "put the real file there");
    }
    if let Err(e) = File::open(&part.source) {
        return tell(format!("{path} cannot be read: {e}"), "make it readable");
    }
    if !in_place {
        return;
    }
    if metadata.permissions().mode() & 0o004 == 0 {
        let what = format!(
            "{path} is not readable by everybody, and the seed serves it in place as a user of its own"
        );
        tell(what, "chmod o+r the file, or take out in-place = true");
    }
    if let Some(folder) = closed_folder(&part.source) {
        let what = format!(
            "{path} lies in {}, which not everybody may enter, and the seed serves it in place as a user of its own",
            folder.display()
        );
        tell(what, "chmod o+x that folder, or take out in-place = true");
    }
}

/// The folder that keeps a file from the seed. Those above a folder that is bound into the unit do not: systemd makes
/// them anew there.
fn closed_folder(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let is_bound = HIDDEN_FROM_UNITS.iter().any(|hidden| path.starts_with(hidden));
    let folders = path.ancestors().skip(1).take(if is_bound { 1 } else { usize::MAX });
    let is_closed = |folder: &&Path| fs::metadata(folder).is_ok_and(|m| m.permissions().mode() & 0o001 == 0);
    folders.filter(is_closed).last().map(Path::to_owned)
}

/// The name of a file in a torrent (BEP 3: UTF-8 text), or why it can have none.
///
/// # Errors
/// One clause: "the name has ...".
pub fn torrent_name(path: &Path) -> Result<&str, &'static str> {
    let name = path.file_name().ok_or("the path ends in no name")?;
    let name = name.to_str().ok_or("the name is not UTF-8")?;
    if name.len() > MAX_FILE_NAME {
        return Err("the name is longer than 240 bytes");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err("the name has a control character or a backslash");
    }
    Ok(name)
}

struct MethodText(Method);

impl Spelt for MethodText {
    const KIND: &'static str = "\"kexec\" or \"run\"";

    fn read(text: &str) -> Result<MethodText, String> {
        match text {
            "kexec" => Ok(MethodText(Method::Kexec)),
            "run" => Ok(MethodText(Method::Run)),
            _ => Err(format!("{text:?} is no method")),
        }
    }
}

/// A line of the menu.
struct Title(String);

impl Spelt for Title {
    const KIND: &'static str = "one line of at most 72 characters, which a console can show";

    fn read(text: &str) -> Result<Title, String> {
        let fits = (1..=72).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if fits { Ok(Title(text.to_owned())) } else { Err(format!("{text:?} does not fit a menu")) }
    }
}

struct PieceLength(u32);

impl Spelt for PieceLength {
    const KIND: &'static str = "a power of 2 from \"16K\" to \"64M\"";

    fn read(text: &str) -> Result<PieceLength, String> {
        let Size(bytes) = Size::read(text)?;
        match u32::try_from(bytes) {
            Ok(length) if length.is_power_of_two() && (16 << 10..=64 << 20).contains(&length) => {
                Ok(PieceLength(length))
            }
            _ => Err(format!("{text:?} is no piece length")),
        }
    }
}
