//! `boottorrentctl status`: nodes, services and images at one moment, or every second.
//! Decides what is well; the form is show.rs' matter.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::poll::{PollTimeout, poll};
use serde::Serialize;

use super::nodes::{self, Row};
use super::options::Options;
use super::screen::Screen;
use super::seed::{Image, Seed};
use super::sources::Sources;
use super::units::{Service, Services};
use super::{Error, Verdict, print, show};
use crate::store::Store;

/// How often the nodes tell of their progress; there is nothing new in between.
const WATCH: Duration = Duration::from_secs(1);

/// All that is shown; its form is that of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) site: String,
    /// None: the store cannot say.
    pub(super) generation: Option<u64>,
    /// Nothing is wrong with a service or an image, and all that says so can be read; what nodes do is no part of it.
    pub(super) well: bool,
    pub(super) trouble: Option<String>,
    pub(super) services: Vec<Service>,
    pub(super) images: Vec<Image>,
    pub(super) nodes: Vec<Row>,
    pub(super) unread: Vec<String>,
    /// Seconds since 1970.
    pub(super) at: u64,
}

pub(super) fn run(options: &Options, json: bool, watch: bool) -> Result<Verdict, Error> {
    loop {
        let report = gather(options)?;
        let screen = Screen::of_stdout();
        let text = match (json, watch) {
            (true, true) => document(serde_json::to_string(&report))?,
            (true, false) => document(serde_json::to_string_pretty(&report))?,
            (false, true) => show::frame(&report, screen),
            (false, false) => show::page(&report, screen),
        };
        print(&text)?;
        if !watch {
            return Ok(if report.well { Verdict::Good } else { Verdict::Wrong });
        }
        pause();
    }
}

fn gather(options: &Options) -> Result<Report, Error> {
    let sources = Sources::read(options)?;
    let services = Services::ask(&sources.config.services);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let generation = Store::new(&options.store).current_generation().ok().flatten();
    Ok(Report {
        generation: generation.map(|generation| generation.number),
        // What cannot be read is not called well.
        well: services.are_well() && sources.seed.as_ref().is_some_and(Seed::is_well),
        nodes: nodes::rows(&sources, now),
        trouble: services.trouble,
        services: services.list,
        images: sources.seed.unwrap_or_default().images,
        site: sources.config.site,
        unread: sources.unread,
        at: now,
    })
}

fn document(json: serde_json::Result<String>) -> Result<String, Error> {
    json.map(|text| text + "\n").map_err(|e| Error::Output(io::Error::other(e)))
}

fn pause() {
    // A signal that ends the wait ends the program, unless it stops and continues it: then the next look comes early.
    let _interrupted = poll(&mut [], PollTimeout::try_from(WATCH).unwrap_or(PollTimeout::MAX));
}
