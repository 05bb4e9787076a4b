//! The image as it will be handed over, laid out before the first piece arrives: a kernel file and one initrd file, or
//! the files of a program as they are.
//!
//! Decides where each byte of the torrent goes and fills the gaps between them (cpio headers, padding, the node's
//! overlay). Never copies a byte that was downloaded: pieces land where the next kernel reads them.

mod newc;
mod shelf;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boottorrent_net::storage::{self, Backing, Download, Layout, Span};
use boottorrent_swarm::catalog::{self, Image, Method, Role};

pub(crate) use shelf::{Shared, Shelf};

/// Files of the storage, by index.
const KERNEL: usize = 0;
const INITRD: usize = 1;
const KERNEL_NAME: &str = "kernel";
const INITRD_NAME: &str = "initrd";
/// A program's files, each with its number in the torrent behind the name.
const PLAIN_NAME: &str = "file-";
/// A torrent carries no modes: whatever is placed in a root may be a program.
const PLAIN_MODE: u32 = 0o755;

#[derive(Debug)]
pub(crate) enum Error {
    /// cpio's newc format has 32 bits for a size.
    TooLarge {
        path: String,
    },
    Storage(storage::Error),
    Write {
        path: PathBuf,
        cause: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { path } => {
                write!(f, "{path}: a file inside an initrd must be smaller than 4 GiB")
            }
            Self::Storage(storage::Error::NoSpace { size, .. }) => {
                write!(f, "this node's memory has no room for the {size} bytes of the image")
            }
            Self::Storage(error) => error.fmt(f),
            Self::Write { path, cause } => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

/// Where everything goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The torrent's files, in its order.
    spans: Vec<Span>,
    /// What we write into the initrd: (offset, bytes).
    gaps: Vec<(u64, Arc<[u8]>)>,
    kernel_bytes: u64,
    initrd_bytes: u64,
    /// Bytes of each file of a program; a kernel has none.
    plain: Vec<u64>,
}

impl Plan {
    /// Initrds in the catalog's order, then the wrapped files in one archive, then the overlay: later archives lay
    /// their files over those of earlier ones.
    pub(crate) fn new(image: &Image, overlay: &Arc<[u8]>) -> Result<Self, Error> {
        if image.method == Method::Run {
            return Ok(Self::plain(image));
        }
        let mut plan = Self {
            spans: vec![Span { file: KERNEL, offset: 0, length: 0 }; image.files.len()],
            gaps: Vec::new(),
            kernel_bytes: 0,
            initrd_bytes: 0,
            plain: Vec::new(),
        };
        for (span, file) in plan.spans.iter_mut().zip(&image.files) {
            match file.role {
                Role::Kernel => {
                    span.length = file.length;
                    plan.kernel_bytes = file.length;
                }
                Role::Initrd => {
                    *span = Span { file: INITRD, offset: plan.initrd_bytes, length: file.length };
                    // An archive that begins off a 4-byte boundary is passed over by the kernel without a word.
                    plan.initrd_bytes = newc::padded(plan.initrd_bytes + file.length);
                }
                // A program's; the catalog's reader has refused them here.
                Role::Root | Role::Placed(_) => {}
                Role::Wrapped(_) => {}
            }
        }
        plan.wrap(image)?;
        if !overlay.is_empty() {
            plan.gap(Arc::clone(overlay));
            plan.initrd_bytes = newc::padded(plan.initrd_bytes);
        }
        Ok(plan)
    }

    /// Each file by itself, since a program's root is mounted and what is placed in it is bound there.
    fn plain(image: &Image) -> Self {
        let span = |(file, known): (usize, &catalog::File)| Span { file, offset: 0, length: known.length };
        Self {
            spans: image.files.iter().enumerate().map(span).collect(),
            gaps: Vec::new(),
            kernel_bytes: 0,
            initrd_bytes: 0,
            plain: image.files.iter().map(|file| file.length).collect(),
        }
    }

    fn wrap(&mut self, image: &Image) -> Result<(), Error> {
        let mut archive = newc::Headers::default();
        for (at, file) in image.files.iter().enumerate() {
            let Role::Wrapped(to) = &file.role else { continue };
            let length =
                u32::try_from(file.length).map_err(|_| Error::TooLarge { path: file.path.clone() })?;
            self.gap(archive.file(to, length).into());
            if let Some(span) = self.spans.get_mut(at) {
                *span = Span { file: INITRD, offset: self.initrd_bytes, length: file.length };
            }
            self.initrd_bytes = newc::padded(self.initrd_bytes + file.length);
        }
        if archive.has_any() {
            self.gap(archive.trailer().into());
        }
        Ok(())
    }

    fn gap(&mut self, bytes: Arc<[u8]>) {
        let at = self.initrd_bytes;
        self.initrd_bytes += bytes.len() as u64;
        self.gaps.push((at, bytes));
    }

    /// Bytes in memory of what is handed over.
    pub(crate) fn bytes(&self) -> u64 {
        self.kernel_bytes + self.initrd_bytes + self.plain.iter().sum::<u64>()
    }

    /// The folder of this plan: another image, or another overlay's size, is another folder.
    fn folder(&self, root: &Path, image: &Image) -> PathBuf {
        root.join(format!("{}-{:x}", image.info_hash, self.initrd_bytes))
    }

    /// Bytes of this plan that are in memory already.
    pub(crate) fn stored(&self, root: &Path, image: &Image) -> u64 {
        bytes_in(&self.folder(root, image))
    }

    /// Bytes of other images, which go when this one is laid.
    pub(crate) fn displaced(&self, root: &Path, image: &Image) -> u64 {
        let keep = self.folder(root, image);
        let folders = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        folders.filter(|folder| *folder != keep).map(|folder| bytes_in(&folder)).sum()
    }

    /// Allocates the files and writes what is ours. Whatever other image lies there goes first: memory holds one.
    pub(crate) fn lay(&self, root: &Path, image: &Image) -> Result<Laying, Error> {
        let folder = self.folder(root, image);
        clear_others(root, &folder);
        fs::create_dir_all(&folder).map_err(|cause| Error::Write { path: folder.clone(), cause })?;
        let laid = self.laid(&folder);
        let backing = |(path, size): (&PathBuf, u64)| Backing { path: path.clone(), size };
        let backings: Vec<Backing> = laid.paths().into_iter().zip(self.sizes()).map(backing).collect();
        let layout = Layout::new(self.spans.iter().copied());
        let store = Download::open(&backings, layout.clone()).map_err(Error::Storage)?;
        let found = store.found();
        if let Laid::Kernel { initrd: Some(path), .. } = &laid {
            let failed = |cause| Error::Write { path: path.clone(), cause };
            let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
            self.write_gaps(&file).map_err(failed)?;
        }
        if let Laid::Files(paths) = &laid {
            for path in paths {
                let failed = |cause| Error::Write { path: path.clone(), cause };
                fs::set_permissions(path, fs::Permissions::from_mode(PLAIN_MODE)).map_err(failed)?;
            }
        }
        let shelf = Arc::new(Shelf::new(store, layout, &laid));
        Ok(Laying { laid, shelf, found })
    }

    fn laid(&self, folder: &Path) -> Laid {
        if self.plain.is_empty() {
            let initrd = (self.initrd_bytes > 0).then(|| folder.join(INITRD_NAME));
            return Laid::Kernel { kernel: folder.join(KERNEL_NAME), initrd };
        }
        let path = |number| folder.join(format!("{PLAIN_NAME}{number}"));
        Laid::Files((0..self.plain.len()).map(path).collect())
    }

    /// Bytes of what is laid, in the same order.
    fn sizes(&self) -> impl Iterator<Item = u64> {
        let kernel =
            if self.plain.is_empty() { vec![self.kernel_bytes, self.initrd_bytes] } else { Vec::new() };
        kernel.into_iter().chain(self.plain.iter().copied())
    }

    fn write_gaps(&self, initrd: &File) -> io::Result<()> {
        self.gaps.iter().try_for_each(|(offset, bytes)| initrd.write_all_at(bytes, *offset))
    }
}

/// An image that may arrive.
pub(crate) struct Laying {
    pub(crate) laid: Laid,
    pub(crate) shelf: Arc<Shelf>,
    /// A worker before us left bytes there.
    pub(crate) found: bool,
}

/// Where the image lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Laid {
    /// The files that the next kernel is loaded from.
    Kernel { kernel: PathBuf, initrd: Option<PathBuf> },
    /// The files of a program, in the torrent's order.
    Files(Vec<PathBuf>),
}

impl Laid {
    fn paths(&self) -> Vec<&PathBuf> {
        match self {
            Laid::Kernel { kernel, initrd } => std::iter::once(kernel).chain(initrd).collect(),
            Laid::Files(files) => files.iter().collect(),
        }
    }
}

/// What the folder takes of the memory: its files have their full length long before their bytes. (st_blocks counts 512.)
fn bytes_in(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|m| m.blocks() * 512).sum()
}

/// What cannot be removed takes memory, and the allocation that follows says so.
fn clear_others(root: &Path, keep: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.path() != keep {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
