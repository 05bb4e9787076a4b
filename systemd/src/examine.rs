//! Everything that can be wrong, asked before anything is written: the folder, this machine, key, agent, space.
//! Decides whether a run may begin; writes nothing.

use crate::bundle;
use crate::compile::check_overlay;
use crate::error::Error;
use crate::image::Plan;
use crate::install;
use crate::key::SiteKey;
use crate::options::Options;
use crate::progress::bytes;
use crate::root;
use crate::units::{self, Places, Units};
use boottorrent_masterd::site::{self, Finding, Findings, Os, Place, Site, host};
use boottorrent_masterd::store::{Hashes, Store};
use boottorrent_pxe::DEFAULT_IPXE;
use nix::sys::statvfs::statvfs;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that a run needs beside the images: the bootstrap image of the next generation, its parts while they are
/// packed, lists and node files.
const BESIDE_IMAGES: u64 = 64 << 20;

/// A site that can be compiled here.
pub(crate) struct Examined {
    pub(crate) site: Site,
    pub(crate) key: SiteKey,
    pub(crate) agent: PathBuf,
    pub(crate) store: Store,
    pub(crate) units: Units,
}

/// All mistakes, or a site without one.
pub(crate) fn examine(options: &Options) -> Result<Examined, Error> {
    let findings = Findings::new();
    let site = site::load(&options.dir, &findings);
    let store = Store::new(&options.store_here());
    if let Some(site) = &site {
        examine_around(site, options, &store, &findings)?;
    }
    let mut mistakes = Vec::new();
    let mut told = |e: Error| mistakes.push(e.to_string());
    let key = SiteKey::read(&options.key).map_err(&mut told).ok();
    let agent = options.agent().map_err(&mut told).ok();
    let units = match site.as_ref().filter(|_| findings.is_empty()) {
        Some(site) => examine_images(site, options, &store, &findings).map_err(&mut told).ok().flatten(),
        None => None,
    };
    let all: Vec<String> = findings.into_sorted().iter().map(Finding::to_string).chain(mistakes).collect();
    match (site, key, agent, units) {
        (Some(site), Some(key), Some(agent), Some(units)) if all.is_empty() => {
            Ok(Examined { site, key, agent, store, units })
        }
        _ => Err(Error::Mistakes(all)),
    }
}

/// This machine, and what belongs to single nodes.
fn examine_around(site: &Site, options: &Options, store: &Store, findings: &Findings) -> Result<(), Error> {
    if options.root == Path::new("/") {
        let is_ours =
            |name: &str| install::is_installed(&options.root, &format!("boottorrent-{name}.socket"));
        host::check(site, is_ours, findings);
    }
    check_only_site(site, options, store, findings)?;
    for node in &site.nodes {
        if let Some((what, remedy)) = check_overlay(node) {
            findings.add(&node.place, what, remedy);
        }
    }
    if site.services.tftp {
        check_bootstrap(site, &Place::file(&options.dir.join(site::FILE)), findings);
    }
    Ok(())
}

/// The images, once their files are known to be there; and the units, which name their folders.
fn examine_images(
    site: &Site,
    options: &Options,
    store: &Store,
    findings: &Findings,
) -> Result<Option<Units>, Error> {
    for os in &site.images {
        match &os.bundle {
            Some(wanted) => bundle::check(os, wanted, findings)?,
            None => root::check(os, findings)?,
        }
    }
    // What could not be looked at is told; its size, and the units that serve it, are not known.
    if !findings.is_empty() {
        return Ok(None);
    }
    let plans = plans(site)?;
    check_space(&plans, store, &Place::file(&options.dir.join(site::FILE)), findings)?;
    let places = Places {
        bindir: options.bindir.clone(),
        store: options.store.clone(),
        in_place: plans.iter().flat_map(Plan::in_place_folders).collect(),
    };
    let units = units::render(site, &places).map_err(Error::Told)?;
    for path in install::taken(&options.root, &units) {
        findings.add(&Place::file(&path), install::TAKEN.0, install::TAKEN.1);
    }
    Ok(Some(units))
}

/// The parts of the bootstrap image that come from this machine unless the site names others. Whether they fit
/// together is found when it is built, which is before anything is published.
fn check_bootstrap(site: &Site, place: &Place, findings: &Findings) {
    let wanted = &site.bootstrap;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let kernel = Path::new("/boot").join(format!("vmlinuz-{release}"));
    if wanted.kernel.is_none() && !kernel.is_file() {
        let what =
            format!("there is no [bootstrap] kernel, and the running one is not at {}", kernel.display());
        findings.add(
            place,
            what,
            "name a kernel with its modules, such as those of Debian's linux-image-amd64",
        );
    }
    let modules = Path::new("/lib/modules").join(release);
    if wanted.kernel.is_none() && wanted.modules.is_none() && kernel.is_file() && !modules.is_dir() {
        let what = format!(
            "there are no [bootstrap] modules, and the running kernel has none at {}",
            modules.display()
        );
        findings.add(place, what, "name the folder lib/modules/<version> of the kernel");
    }
    if let Some(busybox) = &wanted.busybox
        && let Err(e) = boottorrent_pxe::check_busybox(&busybox.value)
    {
        let told = e.to_string();
        let (what, remedy) = told.rsplit_once("; ").unwrap_or((&told, "make it readable"));
        findings.add(&busybox.place, what, remedy);
    }
    let ipxe = wanted.ipxe.clone().unwrap_or_else(|| DEFAULT_IPXE.into());
    for name in ["undionly.kpxe", "snponly.efi"].iter().filter(|n| !ipxe.join(n).is_file()) {
        let what = format!("iPXE is missing: there is no {}", ipxe.join(name).display());
        findings.add(place, what, "install the package ipxe, or name its folder with [bootstrap] ipxe");
    }
}

/// The images, looked at; roots that are packed later count as large as their files are.
fn plans(site: &Site) -> Result<Vec<Plan<'_>>, Error> {
    let look = |os: &Os| match &os.bundle {
        Some(wanted) => bundle::look(os, wanted).map(Some),
        None => os.root.as_ref().map(root::look).transpose().map(Option::flatten),
    };
    site.images.iter().map(|os| Plan::new(os, look(os)?)).collect()
}

/// One site a master: units and store have fixed names.
fn check_only_site(site: &Site, options: &Options, store: &Store, findings: &Findings) -> Result<(), Error> {
    let mut others = Vec::new();
    others.extend(install::installed_site(&options.root));
    others.extend(store.current_generation()?.map(|g| (store.current(), g.site)));
    if let Some((path, other)) = others.into_iter().find(|(_, name)| *name != site.name) {
        let what = format!("this master serves site {other:?}, and one master serves one site");
        let remedy = format!(
            "to give it to site {:?}: systemctl disable --now {}, then remove {} and /etc/systemd/system/boottorrent*",
            site.name,
            units::TARGET,
            store.root().display()
        );
        findings.add(&Place::file(&path), what, remedy);
    }
    Ok(())
}

fn check_space(plans: &[Plan<'_>], store: &Store, place: &Place, findings: &Findings) -> Result<(), Error> {
    let hashes = Hashes::read(store)?;
    let images: u64 = plans.iter().map(|p| p.to_copy(store, &hashes)).sum();
    let needed = images + BESIDE_IMAGES;
    let existing = store.root().ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/"));
    let Ok(fs) = statvfs(existing) else { return Ok(()) };
    let free = fs.blocks_available().saturating_mul(fs.fragment_size()) + store.unfinished_bytes()?;
    if free < needed {
        let what = format!(
            "the store {} needs {} and its file system has {} free",
            store.root().display(),
            bytes(needed),
            bytes(free)
        );
        findings.add(
            place,
            what,
            "make room there, name another place with --store, or serve the OS with in-place = true",
        );
    }
    Ok(())
}
