//! The signed catalog: which images a site offers and how a node hands over to each.
//! Decides what is a legal catalog; never checks the signature (that is the agent's, before it parses).

mod program;

pub use program::{After, MAX_ARGUMENTS, MAX_VARIABLES, NICE, Program, is_plain_path, is_variable};

use crate::InfoHash;
use crate::bencode::{self, Dict, Writer};
use crate::metainfo::Geometry;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Images in one catalog: a menu that a person can still read, and a bound on what a node keeps.
pub const MAX_IMAGES: usize = 256;
/// Files of one image; each is named in the catalog, so this bounds its size as well.
pub const MAX_FILES: usize = 64;
/// Bytes of a catalog that a node reads: MAX_IMAGES with a dozen files each stay far below.
pub const MAX_BYTES: usize = 1 << 20;
/// The version of this format; a node refuses what it does not know.
const FORMAT: u64 = 1;

/// Why a catalog (or a node file) was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Syntax(bencode::Error),
    /// A key is missing or has the wrong type or range.
    Key(&'static str),
    /// Made by a newer boottorrent-gen.
    Format(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Syntax(e) => e.fmt(f),
            Error::Key(key) => write!(f, "key \"{key}\" is missing or has no legal value"),
            Error::Format(n) => write!(f, "format {n} is newer than this agent: run boottorrent-gen again"),
        }
    }
}

impl core::error::Error for Error {}

impl From<bencode::Error> for Error {
    fn from(e: bencode::Error) -> Error {
        Error::Syntax(e)
    }
}

/// What the site offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    pub site: String,
    /// Counts up with each publication; a node keeps no state, so an older signed one is accepted too.
    pub generation: u64,
    /// Name of the image that the menu starts by itself.
    pub default: Option<String>,
    /// Milliseconds until it does; none: waits for a person.
    pub timeout_ms: Option<u64>,
    pub tracker_port: u16,
    pub seed_port: u16,
    pub images: Vec<Image>,
}

/// How a node hands over to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Kexec,
    Run,
}

/// How long a node that has everything goes on seeding before it hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linger {
    /// Until nobody that it knows of needs it, within a bound.
    Auto,
    Milliseconds(u64),
}

/// One operating system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The name of its folder in the site.
    pub name: String,
    pub title: String,
    pub method: Method,
    pub info_hash: InfoHash,
    /// Bytes of a piece.
    pub piece_length: u32,
    /// SHA-256 of the file `pieces/<info-hash>`: 32 bytes a piece.
    pub pieces_sha256: [u8; 32],
    /// In the order of the torrent.
    pub files: Vec<File>,
    /// Kernel command line, a [`crate::template`].
    pub cmdline: String,
    /// Bytes that the next kernel or the program needs besides the image itself, to unpack and to run.
    pub memory: u64,
    pub linger: Linger,
    /// What is run; there with [`Method::Run`] only.
    pub program: Option<Program>,
}

/// A file of an image's torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name in the torrent.
    pub path: String,
    /// Bytes.
    pub length: u64,
    pub role: Role,
}

/// What the agent does with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Kernel,
    /// An archive that goes into the final initrd as it is, in the order of the list.
    Initrd,
    /// A file that the next initramfs shall find under this path (no leading slash).
    Wrapped(String),
    /// The squashfs that a program finds as its root.
    Root,
    /// A file that a program finds under this path of its root, read-only.
    Placed(String),
}

impl Catalog {
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|i| i.name == name)
    }

    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.dict(|w| {
            if let Some(default) = &self.default {
                w.str("default").str(default);
            }
            w.str("format").int(FORMAT).str("generation").int(self.generation);
            w.str("images").list(|w| self.images.iter().for_each(|i| i.emit(w)));
            w.str("seed port").int(self.seed_port.into()).str("site").str(&self.site);
            if let Some(ms) = self.timeout_ms {
                w.str("timeout").int(ms);
            }
            w.str("tracker port").int(self.tracker_port.into());
        });
        w.finish()
    }

    /// # Errors
    /// Not canonical bencode, a key missing, a newer format, an image that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Catalog, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::Key("images"));
        }
        let document = bencode::parse_canonical(bytes)?;
        let root = document.as_dict().ok_or(Error::Key("(root)"))?;
        check_format(root)?;
        let list = root.list("images").ok_or(Error::Key("images"))?;
        if list.len() > MAX_IMAGES {
            return Err(Error::Key("images"));
        }
        let images: Result<Vec<Image>, Error> =
            list.iter().map(|i| Image::parse(i.as_dict().ok_or(Error::Key("images"))?)).collect();
        let images = images?;
        let default = root.str("default").map(String::from);
        if default.as_ref().is_some_and(|d| !images.iter().any(|i| i.name == *d)) {
            return Err(Error::Key("default"));
        }
        Ok(Catalog {
            site: text(root, "site")?,
            generation: root.uint("generation").ok_or(Error::Key("generation"))?,
            default,
            timeout_ms: root.uint("timeout"),
            tracker_port: port(root, "tracker port")?,
            seed_port: port(root, "seed port")?,
            images,
        })
    }
}

impl Image {
    /// Bytes and pieces of the torrent.
    ///
    /// # Errors
    /// The files add up to nothing or to too many pieces.
    pub fn geometry(&self) -> Result<Geometry, Error> {
        let total = self.files.iter().try_fold(0u64, |sum, f| sum.checked_add(f.length));
        total.and_then(|t| Geometry::new(self.piece_length, t).ok()).ok_or(Error::Key("files"))
    }

    fn emit(&self, w: &mut Writer) {
        w.dict(|w| {
            w.str("cmdline").str(&self.cmdline).str("files").list(|w| {
                for file in &self.files {
                    w.dict(|w| {
                        w.str("length").int(file.length).str("path").str(&file.path);
                        match &file.role {
                            Role::Kernel => w.str("role").str("kernel"),
                            Role::Initrd => w.str("role").str("initrd"),
                            Role::Wrapped(to) => w.str("role").str("wrapped").str("to").str(to),
                            Role::Root => w.str("role").str("root"),
                            Role::Placed(to) => w.str("role").str("placed").str("to").str(to),
                        };
                    });
                }
            });
            w.str("info hash").bytes(&self.info_hash.0);
            if let Linger::Milliseconds(ms) = self.linger {
                w.str("linger").int(ms);
            }
            w.str("memory").int(self.memory).str("method").str(match self.method {
                Method::Kexec => "kexec",
                Method::Run => "run",
            });
            w.str("name").str(&self.name).str("piece length").int(self.piece_length.into());
            w.str("pieces").bytes(&self.pieces_sha256);
            if let Some(program) = &self.program {
                w.str("program");
                program.emit(w);
            }
            w.str("title").str(&self.title);
        });
    }

    fn parse(dict: &Dict<'_>) -> Result<Image, Error> {
        let files = dict.list("files").ok_or(Error::Key("files"))?;
        if files.is_empty() || files.len() > MAX_FILES {
            return Err(Error::Key("files"));
        }
        let files: Result<Vec<File>, Error> =
            files.iter().map(|f| File::parse(f.as_dict().ok_or(Error::Key("files"))?)).collect();
        let image = Image {
            name: text(dict, "name")?,
            title: text(dict, "title")?,
            method: match dict.str("method") {
                Some("kexec") => Method::Kexec,
                Some("run") => Method::Run,
                _ => return Err(Error::Key("method")),
            },
            info_hash: InfoHash(array(dict, "info hash")?),
            piece_length: dict
                .uint("piece length")
                .and_then(|l| u32::try_from(l).ok())
                .ok_or(Error::Key("piece length"))?,
            pieces_sha256: array(dict, "pieces")?,
            files: files?,
            cmdline: text(dict, "cmdline")?,
            memory: dict.uint("memory").ok_or(Error::Key("memory"))?,
            linger: dict.uint("linger").map_or(Linger::Auto, Linger::Milliseconds),
            program: dict.dict("program").map(Program::parse).transpose()?,
        };
        image.geometry()?;
        image.check_method()?;
        Ok(image)
    }

    /// Files and program are those of the method.
    fn check_method(&self) -> Result<(), Error> {
        let (first, is_legal): (Role, fn(&Role) -> bool) = match self.method {
            Method::Kexec => {
                (Role::Kernel, |role| matches!(role, Role::Kernel | Role::Initrd | Role::Wrapped(_)))
            }
            Method::Run => (Role::Root, |role| matches!(role, Role::Root | Role::Placed(_))),
        };
        let one = self.files.iter().filter(|file| file.role == first).count() == 1;
        if !one || !self.files.iter().all(|file| is_legal(&file.role)) {
            return Err(Error::Key("role"));
        }
        if self.program.is_some() != (self.method == Method::Run) {
            return Err(Error::Key("program"));
        }
        Ok(())
    }
}

impl File {
    fn parse(dict: &Dict<'_>) -> Result<File, Error> {
        let role = match dict.str("role") {
            Some("kernel") => Role::Kernel,
            Some("initrd") => Role::Initrd,
            Some("wrapped") => Role::Wrapped(text(dict, "to")?),
            Some("root") => Role::Root,
            Some("placed") => {
                let to = text(dict, "to")?;
                if to == "/" || !is_plain_path(&to) {
                    return Err(Error::Key("to"));
                }
                Role::Placed(to)
            }
            _ => return Err(Error::Key("role")),
        };
        Ok(File { path: text(dict, "path")?, length: dict.uint("length").ok_or(Error::Key("length"))?, role })
    }
}

pub(crate) fn check_format(root: &Dict<'_>) -> Result<(), Error> {
    match root.uint("format") {
        Some(FORMAT) => Ok(()),
        Some(n) => Err(Error::Format(n)),
        None => Err(Error::Key("format")),
    }
}

pub(crate) fn text(dict: &Dict<'_>, key: &'static str) -> Result<String, Error> {
    dict.str(key).map(String::from).ok_or(Error::Key(key))
}

pub(crate) fn array<const N: usize>(dict: &Dict<'_>, key: &'static str) -> Result<[u8; N], Error> {
    dict.bytes(key).and_then(|b| b.try_into().ok()).ok_or(Error::Key(key))
}

fn port(dict: &Dict<'_>, key: &'static str) -> Result<u16, Error> {
    dict.uint(key).and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0).ok_or(Error::Key(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn catalog() -> Catalog {
        let file = |path: &str, length, role| File { path: path.into(), length, role };
        Catalog {
            site: "lab".into(),
            generation: 3,
            default: Some("debian".into()),
            timeout_ms: Some(10_000),
            tracker_port: 6969,
            seed_port: 6881,
            images: vec![Image {
                name: "debian".into(),
                title: "Debian 12, in memory".into(),
                method: Method::Kexec,
                info_hash: InfoHash([1; 20]),
                piece_length: 262_144,
                pieces_sha256: [2; 32],
                files: vec![
                    file("vmlinuz", 8_000_000, Role::Kernel),
                    file("initrd.img", 30_000_000, Role::Initrd),
                    file("rootfs.squashfs", 170_000_000, Role::Wrapped("live/filesystem.squashfs".into())),
                ],
                cmdline: "boot=live hostname={hostname}".into(),
                memory: 1 << 29,
                linger: Linger::Auto,
                program: None,
            }],
        }
    }

    fn with_program() -> Catalog {
        let mut c = catalog();
        let file = |path: &str, role| File { path: path.into(), length: 1_000_000, role };
        c.images.push(Image {
            name: "dos".into(),
            method: Method::Run,
            files: vec![file("00-root", Role::Root), file("01-dos.img", Role::Placed("/os/dos.img".into()))],
            cmdline: String::new(),
            program: Some(Program {
                argv: vec!["/usr/bin/qemu".into(), "-m".into(), "{memory}".into()],
                env: vec![("TERM".into(), "linux".into()), ("A".into(), String::new())],
                workdir: "/".into(),
                after: After::Restart,
                nice: -5,
                seed_rate: Some(6_250_000),
                tap: true,
            }),
            ..c.images[0].clone()
        });
        c
    }

    #[test]
    fn a_catalog_reads_back() {
        let mut c = catalog();
        assert_eq!(Catalog::parse(&c.emit()).unwrap(), c);
        c.default = None;
        c.timeout_ms = None;
        c.images[0].linger = Linger::Milliseconds(0);
        assert_eq!(Catalog::parse(&c.emit()).unwrap(), c);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        type Change = fn(&mut Catalog);
        let changes: [(Change, &str); 5] = [
            (|c| c.default = Some("nixos".into()), "default"),
            (|c| c.seed_port = 0, "seed port"),
            (|c| c.images[0].files.clear(), "files"),
            (|c| c.images[0].files[0].role = Role::Initrd, "role"),
            (|c| c.images[0].piece_length = 0, "files"),
        ];
        for (change, key) in changes {
            let mut c = catalog();
            change(&mut c);
            assert_eq!(Catalog::parse(&c.emit()), Err(Error::Key(key)));
        }
    }

    #[test]
    fn a_program_reads_back_and_what_cannot_be_one_is_refused() {
        let good = with_program();
        assert_eq!(Catalog::parse(&good.emit()).unwrap(), good);
        type Change = fn(&mut Program);
        let changes: [(Change, &str); 8] = [
            (|p| p.argv.clear(), "argv"),
            (|p| p.argv[0] = "qemu".into(), "argv"),
            (|p| p.argv[1] = "a\0b".into(), "argv"),
            (|p| p.workdir = "/../etc".into(), "workdir"),
            (|p| p.env[0].0 = "A".into(), "env"),
            (|p| p.env[0].0 = "A=B".into(), "env"),
            (|p| p.nice = 20, "nice"),
            (|p| p.seed_rate = Some(0), "seed rate"),
        ];
        for (change, key) in changes {
            let mut c = with_program();
            change(c.images[1].program.as_mut().unwrap());
            assert_eq!(Catalog::parse(&c.emit()), Err(Error::Key(key)));
        }
        type ChangeImage = fn(&mut Image);
        let changes: [(ChangeImage, &str); 6] = [
            (|i| i.program = None, "program"),
            (|i| i.files[0].role = Role::Placed("/root".into()), "role"),
            (|i| i.files[1].role = Role::Root, "role"),
            (|i| i.files[1].role = Role::Initrd, "role"),
            (|i| i.files[1].role = Role::Placed("/os/../../dos.img".into()), "to"),
            (|i| i.method = Method::Kexec, "role"),
        ];
        for (change, key) in changes {
            let mut c = with_program();
            change(&mut c.images[1]);
            assert_eq!(Catalog::parse(&c.emit()), Err(Error::Key(key)));
        }
        for end in 0..good.emit().len() {
            assert!(Catalog::parse(&good.emit()[..end]).is_err());
        }
    }

    #[test]
    fn a_newer_format_says_so() {
        let bytes = String::from_utf8(
            catalog().emit().iter().map(|b| if b.is_ascii() { *b } else { b'?' }).collect(),
        );
        let bytes = bytes.unwrap().replace("6:formati1e", "6:formati2e");
        assert_eq!(Catalog::parse(bytes.as_bytes()), Err(Error::Format(2)));
    }

    #[test]
    fn every_cut_is_an_error() {
        let bytes = catalog().emit();
        for end in 0..bytes.len() {
            assert!(Catalog::parse(&bytes[..end]).is_err());
        }
    }
}
