//! The steps of an image that is run: its root laid out, the program with it, and what os.toml wants after its end.
//!
//! Decides how others are served meanwhile, and how soon a program that ends at once is started again.

use std::path::PathBuf;
use std::time::Duration;

use boottorrent_swarm::catalog::{After, Image, Program};
use boottorrent_swarm::template::Values;

use super::cable::Cable;
use super::download::{LOOK_AROUND, figures};
use super::{Done, Failure, Outcome};
use crate::download::Place;
use crate::image::Laid;
use crate::memory::Memory;
use crate::run::{self, End, Network, Start, Tap, Watched};
use crate::stages::back_off;
use crate::supervisor::{Off, switch_off};
use crate::worker::Boot;
use crate::{clock, console};

/// A program that lived no longer has not done what it is for: a person could not even read what it said.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How far the thread that serves others stands back behind the program: a tenth of its share (nice(2): a step is 1.25).
const STAND_BACK: i32 = 10;
const MOST_NICE: i32 = 19;
/// The scheduler shares between sessions first, and the program has one of its own: niceness would mean nothing.
const AUTOGROUP: &str = "/proc/sys/kernel/sched_autogroup_enabled";

pub(in crate::stages) fn layout(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let (_, laid, shelf) = Boot::need(boot.laid.as_ref(), "the image's place")?;
    let Laid::Files(files) = laid else { return Err(Failure::new("the image was laid for a kernel")) };
    // What does not work now is not tried again without a person.
    boot.at_menu = true;
    shelf.seal()?;
    run::sweep();
    let memory = Memory::read()?;
    let (lease, hostname) = (boot.current_lease()?, boot.name());
    let network = Network { hostname: &hostname, address: lease.address, resolver: &lease.resolver };
    run::lay(&run::Laying { image: &image, files: &files, room: memory.room(), network })?;
    let text = format!("{}; {} MiB for the program", contents(&image, &files), memory.room() >> 20);
    if !boot.overlay.is_empty() {
        boot.report.note("layout", "this node's overlay is for kernels; a program's root does not get it");
    }
    boot.at_menu = false;
    Ok(Done::new(text).with("room", memory.room()))
}

fn contents(image: &Image, files: &[PathBuf]) -> String {
    let bytes: u64 = image.files.iter().map(|file| file.length).sum();
    let placed = match files.len().saturating_sub(1) {
        0 => String::new(),
        1 => " with a file in it".to_owned(),
        n => format!(" with {n} files in it"),
    };
    format!("the root is mounted{placed}, {:.1} MB where they were downloaded to", bytes as f64 / 1e6)
}

pub(in crate::stages) fn run(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let program = Boot::need(image.program.as_ref(), "the program")?;
    // What can't be started now is not tried again without a person.
    boot.at_menu = true;
    let (start, tap) = start(boot, &program).inspect_err(|_| run::sweep())?;
    boot.report.note("run", &format!("{}: {}", image.title, start.in_words()));
    let _ = std::fs::write(AUTOGROUP, "0"); // a kernel without it shares by niceness anyway
    let nice = (i32::from(program.nice) + STAND_BACK).min(MOST_NICE);
    if let Some(download) = &boot.download {
        download.stand(Place { rate: program.seed_rate, nice });
    }
    let ended = supervise(boot, &start, tap.as_ref());
    drop(tap);
    if let Some(download) = &boot.download {
        download.stand(Place::default());
    }
    run::sweep();
    match ended {
        Ok(end) => follow(boot, &image, program.after, &end),
        Err(error) => Err(error.into()),
    }
}

/// The program as it is called here, and the tap that it is to find open.
fn start(boot: &mut Boot, program: &Program) -> Result<(Start, Option<Tap>), Failure> {
    let facts = boot.facts()?;
    let tap = if program.tap { Some(Tap::open(&boot.current_lease()?.card)?) } else { None };
    let number = tap.as_ref().map(|tap| tap.number().to_string()).unwrap_or_default();
    let mac = tap.as_ref().map(|tap| tap.mac().to_string()).unwrap_or_default();
    let memory = Memory::read()?.guest_mib().to_string();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).to_string();
    let values = Values { memory: &memory, cpus: &cpus, tap: &number, tap_mac: &mac, ..facts.values() };
    Ok((Start::new(program, &values)?, tap))
}

fn supervise(boot: &Boot, start: &Start, tap: Option<&Tap>) -> Result<End, run::Error> {
    let (report, orders) = (&boot.report, &boot.orders);
    let mut serving = boot.download.as_ref();
    let mut cable = boot.lease.as_ref().map(|lease| Cable::of(lease.card.clone()));
    let mut tell_at = clock::now();
    let mut tick = || {
        if let Some(Err(gone)) = cable.as_mut().map(|cable| cable.look(report, &boot.courier, "run")) {
            report.note("run", &format!("{gone}; the program goes on"));
        }
        let Some(download) = serving else { return };
        for note in download.notes() {
            report.note("run", &note);
        }
        match download.state() {
            Ok(state) if clock::now() >= tell_at => {
                tell_at = clock::now() + LOOK_AROUND;
                report.figures("run", figures(&state));
            }
            Ok(_) => {}
            // The program is what this node is for: it goes on alone.
            Err(error) => {
                report.note("run", &format!("{error}; others are not served any more, the program goes on"));
                serving = None;
            }
        }
    };
    orders.program_runs(true);
    // Who is in a shell there stays undisturbed.
    let shells = console::shell::consoles();
    let mut consoles = console::names(&boot.cmdline);
    consoles.retain(|name| !shells.contains(name));
    let room = Memory::read().map_or(0, Memory::room);
    let stop = || orders.is_stop();
    let watched = Watched { report, consoles: &consoles, room, tap, stop: &stop, tick: &mut tick };
    let ended = run::run(start, watched);
    // From here on an order to stop ends this process at once; one that came before is looked for now.
    orders.program_runs(false);
    if orders.is_stop() {
        run::sweep();
        if let Ok(end) = &ended {
            report.note("run", &end.in_words());
        }
        // Process 1 waits for this before it switches off.
        std::process::exit(0);
    }
    ended
}

/// What is to follow, and the sentence about it.
fn follow(boot: &mut Boot, image: &Image, after: After, end: &End) -> Outcome {
    // Who ends it at the console wants something else.
    let after = if end.is_dismissed() { After::Menu } else { after };
    boot.ended_at_once =
        if end.lived < AT_ONCE && !end.is_dismissed() { boot.ended_at_once.saturating_add(1) } else { 0 };
    if boot.ended_at_once == 0 {
        boot.patience.rest();
    }
    let wait = if boot.ended_at_once > 0 { back_off(boot.ended_at_once) } else { Duration::ZERO };
    let then = match after {
        After::Menu => "the menu again",
        After::Restart => "it starts again",
        After::Reboot => "the node reboots",
        After::Poweroff => "the node goes off",
    };
    let when = if wait.is_zero() { String::new() } else { format!(" in {} s", wait.as_secs()) };
    let again = match boot.ended_at_once {
        0 | 1 => String::new(),
        n => format!(" ({n} times in a row within {} s)", AT_ONCE.as_secs()),
    };
    let sentence = format!("{}: {}{again}; {then}{when}", image.title, end.in_words());
    let next = if after == After::Restart { "layout" } else { "catalog" };
    boot.at_menu = after != After::Restart;
    boot.notice = Some(sentence.clone());
    let off = match after {
        After::Reboot => Some(Off::Reboot),
        After::Poweroff => Some(Off::Power),
        After::Menu | After::Restart => None,
    };
    if let Some(off) = off {
        // Only what the kernel refuses comes back from there.
        leave(boot, end, &sentence, wait, off);
    }
    if end.is_good() {
        Ok(Done::new(sentence).then(next, wait))
    } else {
        Err(Failure::new(sentence).then(next, wait))
    }
}

fn leave(boot: &Boot, end: &End, sentence: &str, wait: Duration, off: Off) {
    if end.is_good() {
        boot.report.end("run", end.lived, Vec::new(), sentence);
    } else {
        boot.report.fail("run", end.lived, sentence);
    }
    if !wait.is_zero() {
        crate::stages::rest(boot, wait);
    }
    switch_off(&boot.report, off, "the program has ended");
}
