//! Builds the bootstrap image: the files below `boot/` that firmware and iPXE fetch.
//!
//! Decides the layout. Reads its inputs only; the modules' archive, which takes seconds to compress, is kept in a cache.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::closure::{self, Closure};
use crate::drivers::Purpose;
use crate::elf::{Elf, X86_64};
use crate::initramfs::{Archive, compress, compression};
use crate::library::Library;
use crate::{Error, drivers, index, kernel, script};

/// Where Debian's package ipxe puts `undionly.kpxe` and `snponly.efi`.
pub const DEFAULT_IPXE: &str = "/usr/lib/ipxe";
/// What every busybox says of itself.
const BUSYBOX_MARK: &[u8] = b"BusyBox v";
/// iPXE for firmware that is not iPXE: BIOS (behind UNDI) and UEFI (behind SNP), with the firmware's own driver.
const LOADERS: [&str; 2] = ["undionly.kpxe", "snponly.efi"];
/// Bytes of a minisign public key: algorithm, key number, Ed25519 key; base64 without padding of them is this long.
const SITE_KEY_LEN: usize = 56;

/// What the image is made of.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// A bzImage; `None`: the kernel that runs here, `/boot/vmlinuz-$(uname -r)`.
    pub kernel: Option<PathBuf>,
    /// Its modules, `.../lib/modules/<version>`; `None`: `/lib/modules/<version of the kernel>`.
    pub modules: Option<PathBuf>,
    /// What the site's nodes do beside starting kernels.
    pub purposes: Vec<Purpose>,
    /// Modules beside those of our own list.
    pub extra_modules: Vec<String>,
    /// The agent, a static program: the node's `/init`.
    pub agent: PathBuf,
    /// A static busybox, the nodes' shell; `None`: they have none.
    pub busybox: Option<PathBuf>,
    /// The site's public key: the second line of a minisign public key file.
    pub site_key: String,
    /// What the nodes get as `bt.master=`.
    pub master: Ipv4Addr,
    /// Appended to the kernel's command line.
    pub cmdline: String,
    /// Folder with `undionly.kpxe` and `snponly.efi`.
    pub ipxe: PathBuf,
    /// Keeps the compressed modules from one build to the next; `None`: compressed every time (10 s).
    pub cache: Option<PathBuf>,
}

/// One part of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    /// Bytes as they lie in the node's memory (the kernel: as it is fetched).
    pub size: u64,
    /// Bytes that a node fetches for it.
    pub fetched: u64,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Version of the kernel and of its modules.
    pub kernel: String,
    /// Kernel, modules, shell, agent: all that a node fetches before the agent runs, iPXE aside.
    pub parts: Vec<Part>,
    /// Names of the modules in the image.
    pub modules: Vec<String>,
    /// Drivers of our list that this kernel does not have.
    pub absent: Vec<String>,
}

impl Report {
    /// Bytes that a node fetches.
    #[must_use]
    pub fn fetched(&self) -> u64 {
        self.parts.iter().map(|part| part.fetched).sum()
    }
}

/// A table: each part, then what a node fetches in all.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "bootstrap image, kernel {}, {} modules:", self.kernel, self.modules.len())?;
        for part in &self.parts {
            writeln!(f, "{:>8} {:>11} bytes {:>11} fetched", part.name, part.size, part.fetched)?;
        }
        write!(f, "{:>8} {:>29} fetched", "total", self.fetched())?;
        if !self.absent.is_empty() {
            write!(f, "\nnot in this kernel: {}", self.absent.join(" "))?;
        }
        Ok(())
    }
}

/// Builds the image into `out`/boot; `progress` gets a line before each step that takes a while.
///
/// # Errors
/// Names the file or module that is missing or wrong, and what to do about it. What is below `out` is then incomplete.
pub fn build(bootstrap: &Bootstrap, out: &Path, progress: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    let script = script::emit(bootstrap.master, &bootstrap.cmdline)?;
    let agent = read_agent(&bootstrap.agent)?;
    let busybox = bootstrap.busybox.as_deref().map(read_busybox).transpose()?;
    let key = site_key(&bootstrap.site_key)?;
    let kernel_path = bootstrap.kernel.clone().map_or_else(running_kernel, Ok)?;
    let kernel = fs::read(&kernel_path).map_err(Error::io("reading the kernel", &kernel_path))?;
    let not_a_kernel = |why| Error::NotAKernel { path: kernel_path.clone(), why };
    let version = kernel::version(&kernel).map_err(not_a_kernel)?;

    let folder = bootstrap.modules.clone().unwrap_or_else(|| Path::new("/lib/modules").join(&version));
    progress(&format!("choosing the modules of kernel {version}"));
    let library = Library::open(&folder, &version)?;
    let purposes = &bootstrap.purposes;
    let closure = closure::close(&library, drivers::all(purposes), &bootstrap.extra_modules)?;
    let has_network = |name: &str| closure.members.contains_key(name) || library.is_built_in(name);
    if !drivers::all(purposes).any(|name| drivers::is_network(name) && has_network(name)) {
        return Err(Error::NoNetworkDriver { folder });
    }
    let packing = Error::io("packing the initramfs", out);
    let modules = modules_archive(&closure, bootstrap).map_err(packing)?;
    let modules_packed = packed_modules(&modules, bootstrap.cache.as_deref(), progress)?;
    let packing = Error::io("packing the initramfs", out);
    let agent_packed = agent_archive(&agent, key).and_then(|archive| compress(&archive)).map_err(packing)?;
    let packing = Error::io("packing the initramfs", out);
    let shell_packed =
        busybox.as_deref().map(shell_archive).transpose().map_err(packing)?.unwrap_or_default();

    let boot = out.join("boot");
    fs::create_dir_all(&boot).map_err(Error::io("making the folder", &boot))?;
    write(&boot.join("vmlinuz"), &[&kernel])?;
    // The kernel unpacks one archive after another; the agent comes last and so would win over any other file.
    write(&boot.join("initramfs"), &[&modules_packed, &shell_packed, &agent_packed])?;
    write(&boot.join("boot.ipxe"), &[script.as_bytes()])?;
    for name in LOADERS {
        let path = bootstrap.ipxe.join(name);
        let loader = match fs::read(&path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(Error::NoIpxe { path }),
            other => other.map_err(Error::io("reading iPXE", &path))?,
        };
        write(&boot.join(name), &[&loader])?;
    }
    let part = |name, plain: &[u8], packed: &[u8]| Part {
        name,
        size: plain.len() as u64,
        fetched: packed.len() as u64,
    };
    let mut parts = vec![part("kernel", &kernel, &kernel), part("modules", &modules, &modules_packed)];
    parts.extend(busybox.iter().map(|busybox| part("busybox", busybox, &shell_packed)));
    parts.push(part("agent", &agent, &agent_packed));
    Ok(Report {
        kernel: version,
        parts,
        modules: closure.members.into_keys().collect(),
        absent: closure.absent,
    })
}

fn running_kernel() -> Result<PathBuf, Error> {
    let path = Path::new("/proc/sys/kernel/osrelease");
    let release = fs::read_to_string(path).map_err(Error::io("asking for the running kernel", path))?;
    let path = Path::new("/boot").join(format!("vmlinuz-{}", release.trim_end()));
    if path.is_file() {
        return Ok(path);
    }
    // A container, or a machine that boots from elsewhere.
    Err(Error::NotAKernel { path, why: "it does not exist, though this kernel runs" })
}

fn read_agent(path: &Path) -> Result<Vec<u8>, Error> {
    let agent = fs::read(path).map_err(Error::io("reading the agent", path))?;
    check_program(&agent).map_err(|why| Error::BadAgent { path: path.to_owned(), why })?;
    Ok(agent)
}

/// Whether the file can be the nodes' shell.
///
/// # Errors
/// What it lacks, and which package has one.
pub fn check_busybox(path: &Path) -> Result<(), Error> {
    read_busybox(path).map(drop)
}

fn read_busybox(path: &Path) -> Result<Vec<u8>, Error> {
    let bad = |why| Error::BadBusybox { path: path.to_owned(), why };
    let busybox = match fs::read(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Err(bad("it does not exist")),
        other => other.map_err(Error::io("reading busybox", path))?,
    };
    check_program(&busybox).map_err(bad)?;
    if !busybox.windows(BUSYBOX_MARK.len()).any(|bytes| bytes == BUSYBOX_MARK) {
        return Err(bad("it is another program"));
    }
    Ok(busybox)
}

fn check_program(bytes: &[u8]) -> Result<(), &'static str> {
    let elf = Elf::parse(bytes)?;
    if elf.machine() != X86_64 {
        return Err("it is not built for x86-64");
    }
    if !elf.is_static_program()? {
        return Err("it is not a static program, and the image has no dynamic loader");
    }
    Ok(())
}

/// The line of base64 alone: a whole key file is told from it by its length.
fn site_key(key: &str) -> Result<&str, Error> {
    let key = key.trim();
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    if key.len() == SITE_KEY_LEN && key.bytes().all(base64) { Ok(key) } else { Err(Error::BadSiteKey) }
}

fn modules_archive(closure: &Closure, bootstrap: &Bootstrap) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.directory("modules", 0o755)?;
    let extra =
        bootstrap.extra_modules.iter().map(|name| crate::modinfo::canonical(name)).collect::<Vec<_>>();
    // What the maintainer named is loaded everywhere: if its modalias had asked for it, nobody had named it.
    let mut always: Vec<&str> = drivers::always(&bootstrap.purposes).collect();
    always.extend(extra.iter().map(String::as_str));
    archive.file("modules/index", 0o644, index::emit(closure, always.into_iter()).as_bytes())?;
    for name in &closure.order {
        if let Some(member) = closure.members.get(name) {
            archive.file(&format!("modules/{}", index::file_name(name)), 0o644, &member.module.bytes)?;
        }
    }
    archive.finish()
}

fn agent_archive(agent: &[u8], key: &str) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new();
    for (name, mode) in [("dev", 0o755), ("etc", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555)] {
        archive.directory(name, mode)?;
    }
    // Process 1 has its first words printed before it mounts anything.
    archive.character_device("dev/console", 0o600, 5, 1)?;
    // Where the kernel can open no console, process 1 starts without descriptors 0 to 2, and Rust's runtime puts
    // /dev/null there before main: without that file it aborts, and the kernel panics.
    archive.character_device("dev/null", 0o666, 1, 3)?;
    archive.directory("etc/boottorrent", 0o755)?;
    archive.file("etc/boottorrent/site.pub", 0o644, format!("{key}\n").as_bytes())?;
    archive.file("init", 0o755, agent)?;
    archive.finish()
}

/// The links to its applets are made on the node, by itself, once somebody wants them.
fn shell_archive(busybox: &[u8]) -> io::Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive.directory("bin", 0o755)?;
    archive.file("bin/busybox", 0o755, busybox)?;
    compress(&archive.finish()?)
}

/// Compresses the modules, or takes what the last build made of the same bytes.
fn packed_modules(
    archive: &[u8],
    cache: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<u8>, Error> {
    let mut hash = Sha256::new();
    hash.update(compression());
    hash.update([0]);
    hash.update(archive);
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = cache.map(|folder| folder.join(format!("modules-{digest}.cpio.zst")));
    if let Some(packed) = kept.as_ref().and_then(|path| fs::read(path).ok()) {
        return Ok(packed);
    }
    progress(&format!("compressing {} MB of modules", archive.len() / 1_000_000));
    let packed = compress(archive).map_err(Error::io("compressing the modules", Path::new("initramfs")))?;
    if let (Some(folder), Some(path)) = (cache, kept) {
        keep(folder, &path, &packed).map_err(Error::io("keeping the compressed modules", &path))?;
    }
    Ok(packed)
}

/// Puts a file into the cache, whole or not at all, and drops what earlier kernels left there.
fn keep(folder: &Path, path: &Path, packed: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("modules-") {
            fs::remove_file(entry.path())?;
        }
    }
    let partial = path.with_extension("partial");
    let mut file = fs::File::create(&partial)?;
    file.write_all(packed)?;
    // The rename must not reach the disk before the contents do.
    file.sync_all()?;
    fs::rename(&partial, path)
}

fn write(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let all = || -> io::Result<()> {
        let mut file = fs::File::create(path)?;
        parts.iter().try_for_each(|part| file.write_all(part))
    };
    all().map_err(Error::io("writing", path))
}

#[cfg(test)]
mod tests;
