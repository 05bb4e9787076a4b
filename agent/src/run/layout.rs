//! The program's root: the image's squashfs read-only, a layer in memory over it, and in that the files placed in it and
//! the kernel's own file systems.
//!
//! Decides where each lies. Never copies a byte of the image, and never follows a link out of the root.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use boottorrent_swarm::catalog::{Image, Role};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::Error;
use crate::lease::Resolver;
use crate::sys;

/// Where the program finds `/`.
pub(super) const ROOT: &str = "/program/root";
/// The image's squashfs.
const LOWER: &str = "/program/image";
/// What the program writes, and overlayfs's own folder beside it.
const UPPER: &str = "/program/written";
/// Bytes of a program by which it is known.
const HEAD: usize = 20;
/// Tries for a loop device: another process may take the one that was free.
const LOOP_TRIES: usize = 8;

/// What a program expects of a system: kind, place, flags, options. `devtmpfs` is the node's own, as is `sysfs`.
const TABLE: [(&str, &str, MsFlags, &str); 6] = [
    ("proc", "/proc", MsFlags::MS_NOSUID, ""),
    ("sysfs", "/sys", MsFlags::MS_NOSUID, ""),
    ("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=0755"),
    ("devpts", "/dev/pts", MsFlags::MS_NOSUID, "mode=0620,gid=5,ptmxmode=0666"),
    ("tmpfs", "/dev/shm", MsFlags::MS_NOSUID, "mode=1777"),
    ("tmpfs", "/tmp", MsFlags::MS_NOSUID, "mode=1777"),
];

/// What is laid out.
pub(crate) struct Laying<'a> {
    pub(crate) image: &'a Image,
    /// Its files in memory, in the torrent's order.
    pub(crate) files: &'a [PathBuf],
    /// Bytes that the program may write, and take in all.
    pub(crate) room: u64,
    pub(crate) network: Network<'a>,
}

/// What the program finds below /etc of the network that the node is on.
pub(crate) struct Network<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) address: Ipv4Addr,
    pub(crate) resolver: &'a Resolver,
}

/// Mounts everything, over nothing that was there before.
pub(crate) fn lay(laying: &Laying<'_>) -> Result<(), Error> {
    undo();
    for folder in [ROOT, LOWER, UPPER] {
        let failed = |cause| Error::Place { path: folder.to_owned(), cause };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let laid = lay_root(laying).and_then(|()| fill_root(laying));
    if laid.is_err() {
        undo();
    }
    laid
}

/// Takes every mount away. What is still in use goes when its user does.
pub(super) fn undo() {
    for folder in [ROOT, LOWER, UPPER] {
        // EINVAL: nothing is mounted there (any more).
        while umount2(folder, MntFlags::MNT_DETACH).is_ok() {}
    }
}

fn lay_root(laying: &Laying<'_>) -> Result<(), Error> {
    let root = laying.image.files.iter().position(|file| file.role == Role::Root);
    let root = root.and_then(|at| laying.files.get(at));
    let root = root.ok_or_else(|| Error::Loop(io::Error::other("the image has no root")))?;
    // The device goes with the mount; without this descriptor it would go before.
    let (device, _open) = attach(root).map_err(Error::Loop)?;
    let reading = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount_at("squashfs", &device, Path::new(LOWER), "/", reading, "")?;
    let data = format!("mode=0755,size={}", laying.room);
    mount_at("tmpfs", "tmpfs", Path::new(UPPER), "/", MsFlags::MS_NODEV, &data)?;
    for folder in ["upper", "work"] {
        let folder = format!("{UPPER}/{folder}");
        fs::create_dir(&folder).map_err(|cause| Error::Place { path: folder.clone(), cause })?;
    }
    let data = format!("lowerdir={LOWER},upperdir={UPPER}/upper,workdir={UPPER}/work");
    mount_at("overlay", "overlay", Path::new(ROOT), "/", MsFlags::MS_NODEV, &data)
}

fn fill_root(laying: &Laying<'_>) -> Result<(), Error> {
    let root = Inside::open(Path::new(ROOT))?;
    for (kind, place, flags, data) in TABLE {
        let target = root.folder(place)?;
        let sized = if kind == "tmpfs" { format!("{data},size={}", laying.room) } else { data.to_owned() };
        mount_at(kind, kind, &target.path(), place, flags, &sized)?;
    }
    write_network(&root, &laying.network)?;
    // After what is ours: a file that the image places there has the last word.
    for (file, source) in laying.image.files.iter().zip(laying.files) {
        let Role::Placed(place) = &file.role else { continue };
        let target = root.file(place)?;
        bind(source, &target.path()).map_err(|errno| Error::Mount {
            what: "a file of the image",
            at: place.clone(),
            cause: errno.into(),
        })?;
    }
    Ok(())
}

/// Names are those of the network here, whatever the image was made with; its own /etc/hosts stays, if it has one.
fn write_network(root: &Inside, network: &Network<'_>) -> Result<(), Error> {
    let Network { hostname, address, resolver } = network;
    root.put("/etc/hostname", &format!("{hostname}\n"))?;
    if let Some(text) = resolver.in_file() {
        root.put("/etc/resolv.conf", &text)?;
    }
    if root.find("/etc/hosts", OFlag::empty()).is_err() {
        let full = resolver.domain.as_ref().map(|domain| format!(" {hostname}.{domain}")).unwrap_or_default();
        root.put("/etc/hosts", &format!("127.0.0.1 localhost\n{address}{full} {hostname}\n"))?;
    }
    Ok(())
}

/// The image stays as it was downloaded, since others get it from here.
fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    const NONE: Option<&str> = None;
    mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE)?;
    // The flags of a bind mount are set by a second call only, and that to what is on top now.
    let target = fs::read_link(target).map_err(|_| Errno::ENOENT)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount(NONE, &target, NONE, flags, NONE)
}

fn mount_at(
    kind: &'static str,
    source: &str,
    target: &Path,
    place: &str,
    flags: MsFlags,
    data: &str,
) -> Result<(), Error> {
    mount(Some(source), target, Some(kind), flags, Some(data)).map_err(|errno| Error::Mount {
        what: kind,
        at: place.to_owned(),
        cause: errno.into(),
    })
}

/// A free loop device that reads `file`, and goes with its last user.
fn attach(file: &Path) -> io::Result<(String, File)> {
    let backing = File::open(file)?;
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    let mut last = io::Error::from(Errno::EBUSY);
    for _ in 0..LOOP_TRIES {
        let path = format!("/dev/loop{}", sys::free_loop(&control)?);
        let device = File::open(&path)?;
        match sys::configure_loop(&device, &backing) {
            Ok(()) => return Ok((path, device)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A folder from which no path leads out, whatever links are in it (openat2(2), RESOLVE_IN_ROOT).
struct Inside {
    root: OwnedFd,
}

/// A place to mount on.
struct Target(OwnedFd);

impl Target {
    /// Names the place itself, whatever its path is.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl Inside {
    fn open(root: &Path) -> Result<Self, Error> {
        let failed = |cause| Error::Place { path: "/".to_owned(), cause };
        Ok(Self { root: File::open(root).map_err(failed)?.into() })
    }

    /// The folder at a path; it and those above it are made where they are not there.
    fn folder(&self, path: &str) -> Result<Target, Error> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for part in ends.filter_map(|end| path.get(..end)) {
            if let Err(Errno::ENOENT) = self.find(part, OFlag::O_DIRECTORY) {
                let (above, name) = self.above(part)?;
                let mode = Mode::from_bits_truncate(0o755);
                mkdirat(&above, name, mode).map_err(|errno| place_error(part, errno))?;
            }
        }
        self.find(path, OFlag::O_DIRECTORY).map(Target).map_err(|errno| place_error(path, errno))
    }

    /// The file at a path; an empty one is made where there is none.
    fn file(&self, path: &str) -> Result<Target, Error> {
        if let Err(Errno::ENOENT) = self.find(path, OFlag::empty()) {
            if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
                self.folder(above)?;
            }
            let (above, name) = self.above(path)?;
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            openat(&above, name, flags, Mode::from_bits_truncate(0o755))
                .map_err(|errno| place_error(path, errno))?;
        }
        self.find(path, OFlag::empty()).map(Target).map_err(|errno| place_error(path, errno))
    }

    /// A file of ours, in place of the file or link that is there.
    fn put(&self, path: &str, text: &str) -> Result<(), Error> {
        if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            self.folder(above)?;
        }
        let (above, name) = self.above(path)?;
        match unlinkat(&above, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(place_error(path, errno)),
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(&above, name, flags, Mode::from_bits_truncate(0o644))
            .map_err(|errno| place_error(path, errno))?;
        let written = File::from(file).write_all(text.as_bytes());
        written.map_err(|cause| Error::Place { path: path.to_owned(), cause })
    }

    fn above<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Error> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = if above.is_empty() { "/" } else { above };
        let folder = self.find(above, OFlag::O_DIRECTORY).map_err(|errno| place_error(above, errno))?;
        Ok((folder, name))
    }

    fn find(&self, path: &str, more: OFlag) -> nix::Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | more)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(self.root.as_fd(), path, how)
    }
}

/// Told before the start, which has one error for all that can be missing then.
pub(super) fn find_workdir(path: &CStr) -> Result<(), Error> {
    let path = path.to_string_lossy();
    let found = Inside::open(Path::new(ROOT))?.find(&path, OFlag::O_DIRECTORY);
    found.map(drop).map_err(|errno| Error::Workdir { path: path.into_owned(), cause: errno.into() })
}

/// Told before the start as well: a C library hands what the kernel does not know to the root's shell, if there is one, and
/// that says nothing of use.
pub(super) fn check_program(path: &str) -> Result<(), Error> {
    // What is not there or cannot be read, the start itself tells.
    let Ok(found) = Inside::open(Path::new(ROOT))?.find(path, OFlag::empty()) else { return Ok(()) };
    let mut head = [0; HEAD];
    let read = File::open(Target(found).path()).and_then(|mut file| file.read(&mut head));
    match read {
        Ok(length) if !is_program(head.get(..length).unwrap_or_default()) => {
            Err(Error::Start { path: path.to_owned(), cause: Errno::ENOEXEC.into() })
        }
        _ => Ok(()),
    }
}

/// A script that names its interpreter, or an ELF file for this kind of processor (elf(5): `e_machine`).
fn is_program(head: &[u8]) -> bool {
    const EM_386: u16 = 3;
    const EM_X86_64: u16 = 62;
    let machine = head.get(18..20).and_then(|bytes| Some(u16::from_le_bytes(bytes.try_into().ok()?)));
    let is_ours = machine.is_some_and(|machine| [EM_386, EM_X86_64].contains(&machine));
    head.starts_with(b"#!") || head.starts_with(b"\x7fELF") && is_ours
}

fn place_error(path: &str, errno: Errno) -> Error {
    Error::Place { path: path.to_owned(), cause: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_program_is_a_script_or_made_for_this_processor() {
        let elf = |machine: u8| {
            let mut head = [0; HEAD];
            head[..4].copy_from_slice(b"\x7fELF");
            head[18] = machine;
            head
        };
        assert!(is_program(&elf(62)) && is_program(&elf(3)) && is_program(b"#!/bin/sh\n"));
        for head in [&elf(183)[..], &elf(62)[..19], b"MZ", b"echo", b"#", b""] {
            assert!(!is_program(head), "{head:?}");
        }
        let own = fs::read("/proc/self/exe").unwrap();
        assert!(is_program(&own[..HEAD]));
    }

    #[test]
    fn places_are_made_inside_the_root_whatever_its_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("var")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink("/var", root.join("tmp")).unwrap();
        symlink(&outside, root.join("os")).unwrap();
        symlink("../../../..", root.join("up")).unwrap();
        let inside = Inside::open(&root).unwrap();
        let tmp = inside.folder("/tmp").unwrap();
        assert_eq!(fs::read_link(tmp.path()).unwrap(), root.join("var"));
        inside.file("/up/deep/er/dos.img").unwrap();
        assert!(root.join("deep/er/dos.img").is_file(), "above the root there is the root");
        let told = inside.file("/os/dos.img").map(drop).unwrap_err().to_string();
        assert!(told.starts_with("cannot make /os"), "a link to nowhere: {told}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        inside.folder("/dev/pts").unwrap();
        inside.folder("/dev/pts").unwrap();
        assert!(inside.file("/dev/pts").is_ok(), "what is there is taken as it is");
    }

    #[test]
    fn names_are_those_of_the_network_here() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(&outside, "the node's").unwrap();
        symlink("../run/systemd/resolve/stub-resolv.conf", root.join("etc/resolv.conf")).unwrap();
        symlink(&outside, root.join("etc/hostname")).unwrap();
        let inside = Inside::open(&root).unwrap();
        let resolver = Resolver { servers: vec![[10, 0, 0, 2].into()], domain: Some("lab.example".into()) };
        let network = Network { hostname: "n01", address: [10, 0, 0, 11].into(), resolver: &resolver };
        write_network(&inside, &network).unwrap();
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("etc/resolv.conf"), "search lab.example\nnameserver 10.0.0.2\n");
        assert_eq!(read("etc/hostname"), "n01\n");
        assert_eq!(read("etc/hosts"), "127.0.0.1 localhost\n10.0.0.11 n01.lab.example n01\n");
        fs::write(root.join("etc/hosts"), "mine").unwrap();
        write_network(&inside, &Network { resolver: &Resolver::default(), ..network }).unwrap();
        assert_eq!(
            (read("etc/hosts").as_str(), fs::read_to_string(&outside).unwrap().as_str()),
            ("mine", "the node's")
        );
        assert!(read("etc/resolv.conf").contains("10.0.0.2"), "a lease without servers takes nothing away");
    }
}
