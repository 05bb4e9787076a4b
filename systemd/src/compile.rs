//! A site compiled into a generation of the store: bootstrap image, catalog, lists, node files, daemons' files.
//! Decides whether anything changed; the store alone decides when the new generation becomes the current one.

use crate::daemons::configs;
use crate::error::Error;
use crate::image::{Built, hex};
use crate::key::SiteKey;
use crate::overlay;
use boottorrent_masterd::seed::config::TorrentConfig;
use boottorrent_masterd::site::bundle::Display;
use boottorrent_masterd::site::{Node, Os, Site};
use boottorrent_masterd::store::{self, Context, Generation, Store};
use boottorrent_pxe::{Bootstrap, DEFAULT_IPXE, Purpose, Report};
use boottorrent_swarm::Mac;
use boottorrent_swarm::catalog::Catalog;
use boottorrent_swarm::nodefile::{MAX_OVERLAY, NodeFile, Overlay};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What a generation is made from.
pub(crate) struct Inputs<'a> {
    pub(crate) site: &'a Site,
    pub(crate) key: &'a SiteKey,
    pub(crate) agent: &'a Path,
    pub(crate) store: &'a Store,
    /// The folder that stands before every path of the store now and will not on the booted system.
    pub(crate) root: &'a Path,
}

/// A generation that has its bootstrap image.
pub(crate) struct Staged {
    pub(crate) folder: PathBuf,
    number: u64,
    /// What the bootstrap image weighs, where this master serves one.
    pub(crate) report: Option<Report>,
}

/// What came of it.
pub(crate) enum Outcome {
    /// Everything was there already, as this generation.
    Unchanged(u64),
    Published(u64),
}

/// Begins a generation with its bootstrap image: what does not fit together there is told before an image is copied.
pub(crate) fn stage(inputs: &Inputs<'_>, say: &mut dyn FnMut(&str)) -> Result<Staged, Error> {
    let Inputs { site, store, .. } = inputs;
    let number = store.next_number()?;
    let folder = store.stage_generation(number)?;
    let tftp = folder.join("tftp");
    fs::create_dir(&tftp).at(&tftp, "be made")?;
    let built =
        site.services.tftp.then(|| boottorrent_pxe::build(&bootstrap(inputs), &tftp, say)).transpose();
    match built {
        Ok(report) => Ok(Staged { folder, number, report }),
        Err(e) => {
            let _left_behind = store.discard(&folder);
            Err(e.into())
        }
    }
}

/// Completes the generation and publishes it, unless the current one is the same.
pub(crate) fn publish(inputs: &Inputs<'_>, images: &[Built], staged: &Staged) -> Result<Outcome, Error> {
    let Inputs { site, store, .. } = inputs;
    let Staged { folder, number, .. } = staged;
    let tftp = folder.join("tftp");
    write_lists(images, &tftp)?;
    write_nodes(inputs, &tftp.join("nodes"))?;
    let torrents = images.iter().map(|i| seen_from(inputs.root, &i.seed)).collect();
    let files = configs(site, torrents)
        .map_err(|e| Error::Told(format!("a daemon's file cannot be written: {e}")))?;
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).at(&path, "be written")?;
    }
    let mut catalog = catalog(site, images);
    let digest = digest(folder, &catalog, inputs.key)?;
    if let Some(current) = store.current_generation()?.filter(|c| c.digest == digest) {
        store.discard(folder)?;
        return Ok(Outcome::Unchanged(current.number));
    }
    catalog.generation = *number;
    write_signed(&tftp.join("catalog"), &catalog.emit(), inputs.key)?;
    let names = images.iter().map(|i| i.name.clone()).collect();
    store.publish(folder, &Generation { number: *number, site: site.name.clone(), digest, images: names })?;
    store.collect()?;
    Ok(Outcome::Published(*number))
}

fn bootstrap(inputs: &Inputs<'_>) -> Bootstrap {
    let wanted = &inputs.site.bootstrap;
    Bootstrap {
        kernel: wanted.kernel.clone(),
        modules: wanted.modules.clone(),
        purposes: purposes(inputs.site),
        extra_modules: wanted.extra_modules.clone(),
        agent: inputs.agent.to_owned(),
        busybox: wanted.busybox.as_ref().map(|busybox| busybox.value.clone()),
        site_key: inputs.key.public_base64(),
        master: inputs.site.address.value,
        cmdline: wanted.cmdline.clone(),
        ipxe: wanted.ipxe.clone().unwrap_or_else(|| DEFAULT_IPXE.into()),
        cache: Some(inputs.store.root().join("cache")),
    }
}

/// What the site's bundles and taps need of the kernel.
fn purposes(site: &Site) -> Vec<Purpose> {
    let displays: Vec<Display> =
        site.images.iter().filter_map(|os| Some(os.bundle.as_ref()?.display)).collect();
    let has_tap = |os: &Os| os.program.as_ref().is_some_and(|program| program.value.tap);
    let has_guests = !displays.is_empty() || site.images.iter().any(has_tap);
    let guests = has_guests.then_some(Purpose::Guests);
    let graphics = displays.contains(&Display::Sdl).then_some(Purpose::Graphics);
    guests.into_iter().chain(graphics).collect()
}

/// As the catalog would be of generation 0: that is what is compared.
fn catalog(site: &Site, images: &[Built]) -> Catalog {
    let timeout = site.menu.timeout.map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
    Catalog {
        site: site.name.clone(),
        generation: 0,
        default: site.menu.default.clone(),
        timeout_ms: timeout,
        tracker_port: site.services.tracker_port,
        seed_port: site.services.seed_port,
        images: images.iter().map(|i| i.image.clone()).collect(),
    }
}

fn write_lists(images: &[Built], tftp: &Path) -> Result<(), Error> {
    let (pieces, torrents) = (tftp.join("pieces"), tftp.join("torrents"));
    for folder in [&pieces, &torrents] {
        fs::create_dir(folder).at(folder, "be made")?;
    }
    for Built { seed, .. } in images {
        let list = pieces.join(&seed.info_hash);
        fs::copy(&seed.pieces, &list).at(&list, "be written")?;
        let torrent = torrents.join(format!("{}.torrent", seed.name));
        fs::copy(&seed.torrent, &torrent).at(&torrent, "be written")?;
    }
    Ok(())
}

fn write_nodes(inputs: &Inputs<'_>, folder: &Path) -> Result<(), Error> {
    fs::create_dir(folder).at(folder, "be made")?;
    for node in &inputs.site.nodes {
        let name = dashed(node.mac);
        let overlay = match &node.overlay {
            Some(source) => Some(write_overlay(node, source, &folder.join(format!("{name}.cpio")))?),
            None => None,
        };
        let file = NodeFile {
            site: inputs.site.name.clone(),
            mac: node.mac,
            name: node.name.clone(),
            os: node.os.as_ref().map(|os| os.value.clone()),
            cmdline: node.cmdline.clone(),
            overlay,
        };
        write_signed(&folder.join(name), &file.emit(), inputs.key)?;
    }
    Ok(())
}

/// A MAC as a file name: 52-54-00-00-00-01.
fn dashed(mac: Mac) -> String {
    mac.to_string().replace(':', "-")
}

fn write_overlay(node: &Node, folder: &Path, to: &Path) -> Result<Overlay, Error> {
    let file = File::create(to).at(to, "be made")?;
    let packed =
        overlay::pack(folder, io::BufWriter::new(file)).map_err(|e| Error::Told(overlay_told(node, &e)))?;
    Ok(Overlay { length: packed.length, sha256: packed.sha256 })
}

/// Why a node's folder is no overlay, and what to do; none: it is one.
pub(crate) fn check_overlay(node: &Node) -> Option<(String, String)> {
    match overlay::pack(node.overlay.as_ref()?, io::sink()) {
        Err(e) => Some((overlay_told(node, &e), "take it out of the folder".into())),
        Ok(packed) if packed.length > MAX_OVERLAY => {
            let what = format!("the overlay of {} has {} bytes packed", node.name, packed.length);
            Some((what, format!("at most {MAX_OVERLAY} travel by TFTP: put large files into the OS")))
        }
        Ok(_) => None,
    }
}

fn overlay_told(node: &Node, e: &overlay::Error) -> String {
    format!("the overlay of {} cannot be packed: {e}", node.name)
}

fn write_signed(path: &Path, bytes: &[u8], key: &SiteKey) -> Result<(), Error> {
    fs::write(path, bytes).at(path, "be written")?;
    let signature = path.with_added_extension(SIGNATURE);
    fs::write(&signature, key.sign(bytes)?).at(&signature, "be written")?;
    Ok(())
}

const SIGNATURE: &str = "minisig";

/// SHA-256 over names and contents of all but signatures, over the catalog, and over the key that signs.
fn digest(staged: &Path, catalog: &Catalog, key: &SiteKey) -> Result<String, Error> {
    let mut sum = Sha256::new();
    let mut add = |name: &str, bytes: &[u8]| {
        sum.update((name.len() as u64).to_be_bytes());
        sum.update(name);
        sum.update((bytes.len() as u64).to_be_bytes());
        sum.update(bytes);
    };
    let mut folders = vec![staged.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in store::list(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|e| e != SIGNATURE) {
                let name = path.strip_prefix(staged).unwrap_or(&path).to_string_lossy().into_owned();
                add(&name, &fs::read(&path).at(&path, "be read")?);
            }
        }
    }
    add("catalog", &catalog.emit());
    add("key", key.public_base64().as_bytes());
    Ok(hex(&sum.finalize()))
}

/// The seed's paths as the booted system sees them.
fn seen_from(root: &Path, torrent: &TorrentConfig) -> TorrentConfig {
    let mut torrent = torrent.clone();
    torrent.pieces = seen(root, &torrent.pieces);
    torrent.torrent = seen(root, &torrent.torrent);
    for file in &mut torrent.files {
        file.path = seen(root, &file.path);
    }
    torrent
}

/// A path without the root that it is written under.
pub(crate) fn seen(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| path.to_owned(), |rest| Path::new("/").join(rest))
}
