//! A newcomer while other nodes run guests and seed on, beside the same newcomer with the master alone: real programs in
//! namespaces, one run, the master's link the bottleneck. Nodes with guests send what their `seed.rate` lets them, and no more.

use super::contestant::{ALL, Contestant, Place, Scene};
use super::group::Group;
use super::race::{self, Case, compare};
use crate::bench::Figure;
use crate::clock::wait_for;
use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Host;
use crate::process::{Launch, Process, tail};
use crate::ram::Ram;
use crate::torrent;
use std::time::{Duration, SystemTime};

const IMAGE: Case = Case { nodes: 1, mib: 64, mbit: None };
/// The master's link, and those of nodes.
const MASTER_MBIT: u32 = 50;
const NODE_MBIT: u32 = 200;
/// Nodes with a guest each, and what os.toml lets one of them send.
const SEEDING: u8 = 4;
const SEED_RATE: &str = "25Mbit";
/// Seven times what the master alone takes.
const PATIENCE: Duration = Duration::from_secs(80);

/// # Errors
/// When a program fails or a copy is false.
pub fn measure() -> Result<Vec<Figure>, LabError> {
    let lab = Lab::new()?;
    let ram = Ram::new(&lab)?;
    let piece_length = IMAGE.piece_length();
    let torrent = torrent::make(&ram.folder, "image", (IMAGE.mib << 20) / piece_length, piece_length)?;
    let master = race::host(&lab, "m", "10.0.0.1/24", &Case { mbit: Some(MASTER_MBIT), ..IMAGE })?;
    let nodes = SEEDING + 2;
    let scene = Scene { lab: &lab, ram: &ram.folder, torrent: &torrent, master: &master, nodes };
    let ours = ALL.into_iter().find(|who| who.name() == "ours");
    let ours = ours.ok_or_else(|| LabError::Machine("the product is no contestant".into()))?;
    let serving = Group::new(&format!("{}-m", lab.name()))?;
    let _servers = scene.serve(ours, &serving)?;
    super::load::settle();
    let alone = newcomer(&scene, ours, 1)?;
    let seeding = (2..2 + SEEDING).map(|n| seeding(&scene, ours, n)).collect::<Result<Vec<_>, _>>()?;
    super::load::settle();
    let helped = newcomer(&scene, ours, nodes)?;
    drop(seeding);
    serving.end();
    Ok(vec![
        Figure::new(
            format!("newcomer, from the master alone at {MASTER_MBIT} Mbit/s"),
            format!("{alone:.1} s"),
            "",
        ),
        Figure::new(
            format!("newcomer, with {SEEDING} nodes that run guests and seed at {SEED_RATE} each"),
            format!("{helped:.1} s"),
            "",
        ),
        Figure::new("  of the time from the master alone", format!("{:.2}", helped / alone), "below 1"),
    ])
}

fn host(scene: &Scene<'_>, number: u8) -> Result<Host, LabError> {
    let address = format!("10.0.0.{}/24", u32::from(number) + 10);
    race::host(scene.lab, &format!("n{number}"), &address, &Case { mbit: Some(NODE_MBIT), ..IMAGE })
}

/// Seconds until it has its verified copy.
fn newcomer(scene: &Scene<'_>, ours: &dyn Contestant, number: u8) -> Result<f64, LabError> {
    let (host, place) = (host(scene, number)?, scene.place(number)?);
    let argv = ours.node(scene, &place)?;
    let start = SystemTime::now();
    let mut process = launch(&host, &place, &argv)?;
    done(&place, &mut process)?;
    // It serves nobody in what is measured next.
    process.stop();
    compare(&scene.torrent.data, &place.copy)?;
    place.seconds_after(start)
}

/// A node that has everything and whose guest goes on for ever.
fn seeding(scene: &Scene<'_>, ours: &dyn Contestant, number: u8) -> Result<(Host, Process), LabError> {
    let (host, place) = (host(scene, number)?, scene.place(number)?);
    std::fs::copy(&scene.torrent.data, &place.copy).map_err(LabError::io("copy to", &place.copy))?;
    let mut argv = ours.node(scene, &place)?;
    argv.extend(["--linger", "forever", "--seed-rate", SEED_RATE].map(str::to_owned));
    let mut process = launch(&host, &place, &argv)?;
    done(&place, &mut process)?;
    Ok((host, process))
}

fn launch(host: &Host, place: &Place, argv: &[String]) -> Result<Process, LabError> {
    let mut launch = Launch::new(argv, &place.log).netns(&host.netns);
    launch.environment.push(("BT_DONE", place.done.to_string_lossy().into_owned()));
    launch.start()
}

fn done(place: &Place, process: &mut Process) -> Result<(), LabError> {
    let seen = wait_for("a node's verified copy", PATIENCE, || {
        // In this order: a program may say that it is done and end between the two looks.
        let ended = process.ended();
        match ended {
            _ if place.done.exists() => Ok(None),
            Some(status) => Ok(Some(format!("{status}: {}", tail(&process.log())))),
            None => Err(tail(&process.log())),
        }
    })?;
    seen.map_or(Ok(()), |seen| Err(LabError::Ended { what: "a node's program".into(), seen }))
}
