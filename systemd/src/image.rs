//! One OS made into an image of the store: named, copied (or left in place), hashed.
//! Decides the names, the order and the piece length; a file that changes meanwhile stops the run.

use crate::bundle;
use crate::copy::copy;
use crate::error::Error;
use crate::hash::{self, TorrentFile};
use crate::overlay::{self, Packed};
use crate::progress::Progress;
use crate::root;
use boottorrent_masterd::seed::config::{FileConfig, TorrentConfig};
use boottorrent_masterd::site::Os;
use boottorrent_masterd::site::os::torrent_name;
use boottorrent_masterd::store::{Context, Fingerprint, Hashed, HashedFile, Hashes, Store, write_atomically};
use boottorrent_swarm::catalog::{File, Image, Role};
use boottorrent_swarm::metainfo::{Geometry, MAX_PIECE_LENGTH, Metainfo};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// An archive of an OS's overlay folder, as the torrent names it.
const OVERLAY: &str = "overlay.cpio";
/// Files beside an image's folder: its SHA-256 list and its torrent.
const PIECES: &str = "pieces";
const TORRENT: &str = "torrent";
/// Pieces are small enough that a room shares a small image well, and few enough that their list stays small:
/// 16,384 pieces are a list of 512 KiB.
const MAX_PIECES: u64 = 16_384;

/// An OS whose files have been looked at.
pub(crate) struct Plan<'s> {
    pub(crate) os: &'s Os,
    pub(crate) geometry: Geometry,
    /// In the order of their names, which is the torrent's.
    files: Vec<Planned>,
}

struct Planned {
    name: String,
    role: Role,
    source: Source,
    /// Bytes.
    length: u64,
}

enum Source {
    File(PathBuf, Fingerprint),
    /// A folder that is packed into an archive.
    Folder(PathBuf, Packed),
    /// A root that is packed into a squashfs.
    Root(root::Packed),
}

/// An image of the store, hashed.
pub(crate) struct Built {
    pub(crate) image: Image,
    pub(crate) seed: TorrentConfig,
    /// Its name below `images/`.
    pub(crate) name: String,
}

impl<'s> Plan<'s> {
    /// `root` is what the OS's root is packed into, or will be.
    pub(crate) fn new(os: &'s Os, root: Option<root::Packed>) -> Result<Plan<'s>, Error> {
        let told = |what: String| Error::Told(format!("{}: {what}", os.place));
        let file = |source: &Path, role: &Role| -> Result<Planned, Error> {
            let path = absolute(source)?;
            let name = torrent_name(source).map_err(|e| told(e.into()))?.to_owned();
            let fingerprint = Fingerprint::of(&path)?;
            let length = fingerprint.size;
            Ok(Planned { name, role: role.clone(), source: Source::File(path, fingerprint), length })
        };
        let mut sources = Vec::new();
        match (root, &os.root) {
            (Some(packed), _) => sources.push(Planned {
                name: root::NAME.into(),
                role: Role::Root,
                length: packed.length,
                source: Source::Root(packed),
            }),
            (None, Some(root)) => sources.push(file(&root.source, &Role::Root)?),
            (None, None) => {}
        }
        for part in &os.parts {
            sources.push(file(&part.source, &part.role)?);
        }
        if let Some(folder) = &os.overlay {
            let packed = overlay::pack(folder, io::sink())
                .map_err(|e| told(format!("\"overlay\": {e}; take it out of the folder")))?;
            let source = Source::Folder(absolute(folder)?, packed);
            sources.push(Planned { name: OVERLAY.into(), role: Role::Initrd, source, length: packed.length });
        }
        let is_first = |role: &Role| matches!(role, Role::Kernel | Role::Root);
        let roles: Vec<(&str, bool)> = sources.iter().map(|s| (s.name.as_str(), is_first(&s.role))).collect();
        if !is_ordered(&roles) {
            for (number, planned) in sources.iter_mut().enumerate() {
                planned.name = format!("{number:02}-{}", planned.name);
            }
        }
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        let total = sources.iter().map(|s| s.length).sum();
        let piece_length = os.piece_length.unwrap_or_else(|| piece_length(total));
        let geometry = Geometry::new(piece_length, total)
            .map_err(|e| told(format!("{e}; write a larger piece-length")))?;
        Ok(Plan { os, geometry, files: sources })
    }

    /// Bytes that go into the store.
    pub(crate) fn to_copy(&self, store: &Store, hashes: &Hashes) -> u64 {
        if self.unchanged(store, hashes).is_some() {
            return 0;
        }
        let copied = |f: &&Planned| !self.os.in_place || !matches!(f.source, Source::File(..));
        self.files.iter().filter(copied).map(|f| f.length).sum()
    }

    /// Folders that the seed reads besides the store.
    pub(crate) fn in_place_folders(&self) -> Vec<PathBuf> {
        let folder = |f: &Planned| match &f.source {
            Source::File(path, _) if self.os.in_place => path.parent().map(Path::to_owned),
            _ => None,
        };
        self.files.iter().filter_map(folder).collect()
    }

    /// What an earlier run made of the very same files, if all of it is still there.
    fn unchanged<'h>(&self, store: &Store, hashes: &'h Hashes) -> Option<&'h Hashed> {
        let known = hashes.find(&self.os.name, self.geometry.piece_length())?;
        let folder = store.images().join(&known.info_hash);
        let same = |(planned, known): (&Planned, &HashedFile)| {
            let (source, fingerprint, sha256) = planned.source.look();
            known.name == planned.name
                && known.source == source
                && known.fingerprint == fingerprint
                && known.sha256 == sha256
                && Fingerprint::of(&self.served(planned, &folder)).is_ok_and(|f| f.for_seed() == known.served)
        };
        let all = known.files.len() == self.files.len() && self.files.iter().zip(&known.files).all(same);
        let sidecars = [PIECES, TORRENT].iter().all(|e| sidecar(store, &known.info_hash, e).is_file());
        (sidecars && all).then_some(known)
    }

    /// The file that the seed sends from, when the image's own folder is `folder`.
    fn served(&self, planned: &Planned, folder: &Path) -> PathBuf {
        match &planned.source {
            Source::File(path, _) if self.os.in_place => path.clone(),
            _ => folder.join(&planned.name),
        }
    }

    /// The image in the store: as it is there already, or copied and hashed now.
    pub(crate) fn build(&self, store: &Store, hashes: &mut Hashes, announce: &str) -> Result<Built, Error> {
        let known = match self.unchanged(store, hashes) {
            Some(known) => {
                let known = known.clone();
                announce_at(&sidecar(store, &known.info_hash, TORRENT), announce)?;
                known
            }
            None => {
                let staged = store.stage_image(&self.os.name)?;
                let made = self.make(store, &staged, announce);
                if made.is_err() {
                    // Space is what a run that failed may lack; what it cannot remove, the next one does.
                    let _left_behind = store.discard(&staged);
                }
                let hashed = made?;
                hashes.remember(hashed.clone());
                hashes.write(store)?;
                hashed
            }
        };
        self.describe(store, &known)
    }

    fn make(&self, store: &Store, staged: &Path, announce: &str) -> Result<Hashed, Error> {
        let name = &self.os.name;
        let progress = Progress::new(format!("{name}: copying"), self.geometry.total());
        for planned in &self.files {
            self.lay(planned, &staged.join(&planned.name), &progress)?;
        }
        drop(progress);
        let files: Vec<TorrentFile> = self
            .files
            .iter()
            .map(|f| TorrentFile { name: f.name.clone(), path: staged.join(&f.name), length: f.length })
            .collect();
        let list = hash::pieces(name, &files, self.geometry)?;
        let (torrent, metainfo) = hash::torrent(name, staged, &files, self.geometry, announce.to_owned())?;
        self.check_unchanged()?;
        let info_hash = metainfo.info_hash.to_string();
        let folder = self.settle(store, staged, &info_hash)?;
        write_atomically(&sidecar(store, &info_hash, PIECES), &list)?;
        write_atomically(&sidecar(store, &info_hash, TORRENT), &torrent)?;
        let hashed_file = |planned: &Planned| {
            let (source, fingerprint, sha256) = planned.source.look();
            let served = Fingerprint::of(&self.served(planned, &folder))?.for_seed();
            Ok(HashedFile {
                source: source.to_owned(),
                name: planned.name.clone(),
                fingerprint,
                sha256,
                served,
            })
        };
        Ok(Hashed {
            name: name.clone(),
            piece_length: self.geometry.piece_length(),
            info_hash,
            files: self.files.iter().map(hashed_file).collect::<Result<_, Error>>()?,
        })
    }

    /// Brings one file to where it is hashed: a copy, a link to what is served in place, or a packed folder.
    fn lay(&self, planned: &Planned, to: &Path, progress: &Progress) -> Result<(), Error> {
        match &planned.source {
            Source::File(path, _) if self.os.in_place => {
                symlink(path, to).at(to, "be made")?;
            }
            Source::File(path, _) => copy(path, to, progress)?,
            Source::Root(packed) => {
                let file = packed.file.as_deref().ok_or_else(|| changed(&packed.source))?;
                // Nobody writes to either of them again, so that both names may stand for the same blocks.
                if fs::hard_link(file, to).is_err() {
                    copy(file, to, progress)?;
                }
            }
            Source::Folder(path, packed) => {
                let file = fs::File::create(to).at(to, "be made")?;
                let written = overlay::pack(path, io::BufWriter::new(file));
                if !written.is_ok_and(|w| w == *packed) {
                    return Err(changed(path));
                }
            }
        }
        Ok(())
    }

    /// What was hashed is what was looked at first.
    fn check_unchanged(&self) -> Result<(), Error> {
        for planned in &self.files {
            if let Source::File(path, look) = &planned.source
                && Fingerprint::of(path)? != *look
            {
                return Err(changed(path));
            }
        }
        Ok(())
    }

    /// Gives the staged folder its name; where everything is served in place, nothing of it is left.
    fn settle(&self, store: &Store, staged: &Path, info_hash: &str) -> Result<PathBuf, Error> {
        let mut kept = false;
        for planned in &self.files {
            match &planned.source {
                Source::File(..) if self.os.in_place => {
                    let link = staged.join(&planned.name);
                    fs::remove_file(&link).at(&link, "be removed")?;
                }
                _ => kept = true,
            }
        }
        if kept {
            return Ok(store.finish_image(staged, info_hash)?);
        }
        store.discard(staged)?;
        Ok(store.images().join(info_hash))
    }

    fn describe(&self, store: &Store, hashed: &Hashed) -> Result<Built, Error> {
        let list_path = sidecar(store, &hashed.info_hash, PIECES);
        let torrent_path = sidecar(store, &hashed.info_hash, TORRENT);
        let list = fs::read(&list_path).at(&list_path, "be read")?;
        let torrent = fs::read(&torrent_path).at(&torrent_path, "be read")?;
        let metainfo = Metainfo::parse(&torrent).map_err(|_| broken(&torrent_path))?;
        if metainfo.info_hash.to_string() != hashed.info_hash
            || list.len() != self.geometry.pieces() as usize * 32
        {
            return Err(broken(&list_path));
        }
        let os = self.os;
        let file = |f: &Planned| File { path: f.name.clone(), length: f.length, role: f.role.clone() };
        let image = Image {
            name: os.name.clone(),
            title: os.title.clone(),
            method: os.method,
            info_hash: metainfo.info_hash,
            piece_length: self.geometry.piece_length(),
            pieces_sha256: Sha256::digest(&list).into(),
            files: self.files.iter().map(file).collect(),
            cmdline: os.cmdline.clone(),
            memory: os.memory,
            linger: os.linger,
            program: os.program.as_ref().map(|program| bundle::with_environment(os, &program.value)),
        };
        let folder = store.images().join(&hashed.info_hash);
        let seed_file = |(planned, known): (&Planned, &HashedFile)| FileConfig {
            path: self.served(planned, &folder),
            length: planned.length,
            fingerprint: known.served,
        };
        let seed = TorrentConfig {
            name: os.name.clone(),
            info_hash: hashed.info_hash.clone(),
            piece_length: self.geometry.piece_length(),
            pieces: list_path,
            torrent: torrent_path,
            files: self.files.iter().zip(&hashed.files).map(seed_file).collect(),
        };
        Ok(Built { image, seed, name: hashed.info_hash.clone() })
    }
}

impl Source {
    /// Path, and what tells a changed one.
    fn look(&self) -> (&Path, Option<Fingerprint>, Option<String>) {
        match self {
            Source::File(path, fingerprint) => (path, Some(fingerprint.clone()), None),
            Source::Folder(path, packed) => (path, None, Some(hex(&packed.sha256))),
            Source::Root(packed) => (&packed.source, None, Some(packed.look.clone())),
        }
    }
}

/// Whether the names, sorted as a torrent sorts them, are different and keep the order of the hand-over: the
/// kernel's place (or a root's) is free, every other file's is not. A leading dot hides a file from lava_torrent.
fn is_ordered(files: &[(&str, bool)]) -> bool {
    let handed: Vec<&str> = files.iter().filter(|(_, kernel)| !kernel).map(|(name, _)| *name).collect();
    let ordered = handed.windows(2).all(|pair| pair[0] < pair[1]);
    let kernel_apart = files.iter().filter(|(_, kernel)| *kernel).all(|(name, _)| !handed.contains(name));
    ordered && kernel_apart && files.iter().all(|(name, _)| !name.starts_with('.'))
}

/// About two thousand pieces: each node adds the time of one to the way round a small room.
fn piece_length(total: u64) -> u32 {
    const MIB: u64 = 1 << 20;
    let usual = match total {
        0..0x1000_0001 => MIB / 8,
        0x1000_0001..0x2000_0001 => MIB / 4,
        0x2000_0001..0x8000_0000 => MIB / 2,
        _ => MIB,
    };
    let length = usual.max(total.div_ceil(MAX_PIECES).next_power_of_two()).min(MAX_PIECE_LENGTH.into());
    u32::try_from(length).unwrap_or(1 << 31)
}

fn sidecar(store: &Store, info_hash: &str, ending: &str) -> PathBuf {
    store.images().join(format!("{info_hash}.{ending}"))
}

/// The torrent with this master's tracker: its address may have changed since the image was hashed.
fn announce_at(torrent: &Path, announce: &str) -> Result<(), Error> {
    let bytes = fs::read(torrent).at(torrent, "be read")?;
    match hash::announced_at(&bytes, announce).map_err(|_| broken(torrent))? {
        Some(changed) => Ok(write_atomically(torrent, &changed)?),
        None => Ok(()),
    }
}

fn broken(path: &Path) -> Error {
    Error::Told(format!("{}: broken; remove it and run boottorrent-gen again", path.display()))
}

fn changed(path: &Path) -> Error {
    Error::Told(format!("{}: changed while it was read; run boottorrent-gen again", path.display()))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    Ok(path.canonicalize().at(path, "be found")?)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_the_order_of_the_hand_over() {
        let kernel = ("vmlinuz", true);
        assert!(is_ordered(&[kernel, ("initrd.img", false), ("rootfs.squashfs", false)]));
        assert!(!is_ordered(&[kernel, ("initrd.img", false), ("a.squashfs", false)]));
        assert!(!is_ordered(&[kernel, ("initrd.img", false), ("initrd.img", false)]));
        assert!(!is_ordered(&[kernel, ("vmlinuz", false)]));
        assert!(!is_ordered(&[kernel, (".initrd", false)]));
    }

    #[test]
    fn pieces_grow_with_the_image() {
        let kib = |total| piece_length(total) >> 10;
        assert_eq!(kib(1), 128);
        assert_eq!(kib(256 << 20), 128);
        assert_eq!(kib((256 << 20) + 1), 256);
        assert_eq!(kib(512 << 20), 256);
        assert_eq!(kib((512 << 20) + 1), 512);
        assert_eq!(kib((2 << 30) - 1), 512);
        assert_eq!(kib(2 << 30), 1024);
        assert_eq!(kib(16 << 30), 1024);
        assert_eq!(kib((16 << 30) + 1), 2048);
        assert_eq!(kib(100 << 30), 8192);
    }
}
