//! boottorrent-gen: the site folder compiled into what the daemons serve and into the units that start them.
//! Decides the order of the steps: everything that can be wrong is told before anything is written.

mod error;
mod options;
mod progress;
mod key;
mod init;
mod examine;
mod overlay;
mod squashfs;
mod root;
mod bundle;
mod copy;
mod hash;
mod image;
pub mod daemons;
mod compile;
mod install;
pub mod units;

use crate::compile::{Inputs, Outcome};
use crate::error::Error;
use crate::examine::{Examined, examine};
use crate::image::{Built, Plan};
use crate::options::{Action, Options, USAGE};
use crate::progress::bytes;
use boottorrent_masterd::site::Site;
use boottorrent_masterd::store::{Hashes, Store};
use boottorrent_pxe::Report;
use nix::sys::stat::{Mode, umask};
use std::process::ExitCode;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    // Daemons run as a user of their own and have to read what is written here, whatever the maintainer's umask.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let done = Options::parse(std::env::args_os()).and_then(|options| run(&options));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Error> {
    match options.action {
        Action::Help => print!("{USAGE}"),
        Action::Version => println!("boottorrent-gen {}", env!("CARGO_PKG_VERSION")),
        Action::Init => {
            for line in init::init(options)? {
                println!("{line}");
            }
        }
        Action::Check => {
            let examined = examine(options)?;
            println!("{}: no mistakes ({})", options.dir.display(), summary(&examined));
        }
        Action::Compile => compile_site(options)?,
    }
    Ok(())
}

fn summary(examined: &Examined) -> String {
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let images = count(examined.site.images.len(), "operating system", "operating systems");
    let nodes = count(examined.site.nodes.len(), "node", "nodes");
    format!("site {:?}: {images}, {nodes} with a name", examined.site.name)
}

fn compile_site(options: &Options) -> Result<(), Error> {
    let examined = examine(options)?;
    let Examined { site, key, agent, store, units } = &examined;
    let lock = store.open_for_writing()?;
    let inputs = Inputs { site, key, agent, store, root: &options.root };
    let staged = compile::stage(&inputs, &mut |step| println!("bootstrap: {step}"))?;
    let outcome = build_images(site, store).and_then(|images| compile::publish(&inputs, &images, &staged));
    if outcome.is_err() {
        // Space is what a run that failed may lack; what it cannot remove, the next one does.
        let _left_behind = store.discard(&staged.folder);
    }
    match &outcome? {
        Outcome::Unchanged(number) => println!("nothing changed: generation {number} stays the current one"),
        Outcome::Published(number) => {
            staged.report.iter().for_each(tell_bootstrap);
            println!("generation {number} is the current one in {}", store.root().display());
        }
    }
    let changes = install::install(&options.root, units)?;
    drop(lock);
    for name in &changes.removed {
        println!("removed {name}");
    }
    if !changes.written.is_empty() {
        println!("wrote {}", changes.written.join(", "));
    }
    tell_next(options, &changes, units)
}

fn build_images(site: &Site, store: &Store) -> Result<Vec<Built>, Error> {
    let mut hashes = Hashes::read(store)?;
    let announce = format!("udp://{}:{}/announce", site.address.value, site.services.tracker_port);
    let mut images = Vec::new();
    let mut roots = Vec::new();
    for os in &site.images {
        let mut say = |line: &str| println!("{}: {line}", os.name);
        let packed = match (&os.bundle, &os.root) {
            (Some(wanted), _) => Some(bundle::pack(os, wanted, store, &mut say)?),
            (None, Some(root)) => root::pack(root, store, &mut say)?,
            (None, None) => None,
        };
        roots.extend(packed.as_ref().and_then(|packed| packed.file.clone()));
        let plan = Plan::new(os, packed)?;
        let built = plan.build(store, &mut hashes, &announce)?;
        println!(
            "{}: {} in {} pieces, info-hash {}",
            built.image.name,
            bytes(plan.geometry.total()),
            plan.geometry.pieces(),
            built.name
        );
        images.push(built);
    }
    root::collect(store, &roots)?;
    Ok(images)
}

fn tell_bootstrap(report: &Report) {
    println!("bootstrap: kernel {}, {} modules", report.kernel, report.modules.len());
    for part in &report.parts {
        println!(
            "bootstrap: {:8} {:>9} to fetch, {:>9} in memory",
            part.name,
            bytes(part.fetched),
            bytes(part.size)
        );
    }
    println!("bootstrap: {} in all that a node fetches", bytes(report.fetched()));
    if !report.absent.is_empty() {
        println!("bootstrap: this kernel has no {}", report.absent.join(", "));
    }
}

fn tell_next(options: &Options, changes: &install::Changes, units: &units::Units) -> Result<(), Error> {
    if !install::is_live(&options.root) {
        println!("\nNext, on the booted system: systemctl enable --now {}", units::TARGET);
        return Ok(());
    }
    let todo = install::reload(changes, units)?;
    if todo.is_empty() {
        println!("\n{} runs with it; nodes can be switched on", units::TARGET);
        println!("(boottorrentctl status --watch shows them)");
    } else {
        println!("\nNext:");
        todo.iter().for_each(|line| println!("  {line}"));
    }
    Ok(())
}
