//! The stages' work, each step in the words of the module that does it.
//!
//! Decides what one stage hands to the next. Never decides what follows a failure: the table does.

mod arrival;
mod cable;
mod download;
mod program;
mod rescue;

use std::time::Duration;

use super::{Done, Failure};
use crate::image::{Laid, Plan};
use crate::memory::Bill;
use crate::worker::Boot;
use crate::{choice, clock, handover, linger, load, sys};

pub(super) use arrival::{catalog, lease, link, modules};
use cable::Cable;
pub(super) use download::download;
use download::{LOOK_AROUND, figures, with_bytes};
pub(super) use program::{layout, run};
pub(super) use rescue::{RESCUE, is_rescue_due, rescue};

/// How often stages that wait for the swarm look at it.
const LOOK: Duration = Duration::from_millis(100);

type Outcome = Result<Done, Failure>;

pub(super) fn choice(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let catalog = Boot::need(boot.catalog.as_ref(), "the catalog")?;
    let (image, by) = choice::choose(boot, &catalog)?;
    let done = Done::new(format!("{} ({by})", image.title)).with("os", &image.name);
    let plan = Plan::new(&image, &boot.overlay).inspect_err(|_| choice::forget())?;
    // Another image, or the same with another overlay. Whoever still has its files open keeps their memory from the new.
    if boot.laid.as_ref().is_some_and(|(laid, ..)| *laid != plan)
        || boot.download.as_ref().is_some_and(|download| download.info_hash != image.info_hash)
    {
        if let Some(download) = boot.download.take() {
            download.stop();
        }
        boot.laid = None;
    }
    boot.image = Some(image);
    Ok(done)
}

pub(super) fn memory(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let plan = Plan::new(&image, &boot.overlay)?;
    // A worker that died behind "load" left a copy with the kernel. Nothing was loaded: nothing is lost.
    let _ = sys::kexec_unload();
    let bill = Bill::of(&image, &plan)?.check().inspect_err(|_| choice::forget())?;
    Ok(Done::new(bill.to_string()))
}

pub(super) fn load(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let (_, laid, shelf) = Boot::need(boot.laid.as_ref(), "the image's place")?;
    let facts = boot.facts()?;
    let own = boot.node.as_ref().map(|node| node.cmdline.clone()).unwrap_or_default();
    let cmdline = load::cmdline(&image.cmdline, &own, &facts.values()).inspect_err(|_| choice::forget())?;
    let Laid::Kernel { kernel, initrd } = laid else {
        return Err(Failure::new("the image was laid for a program"));
    };
    shelf.seal()?;
    load::load(&kernel, initrd.as_deref(), &cmdline).inspect_err(|_| choice::forget())?;
    Ok(Done::new(format!("command line: {cmdline}")))
}

pub(super) fn linger(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    let mut cable = Cable::of(boot.current_lease()?.card);
    let Some(download) = &boot.download else { return Ok(Done::new("nothing to serve")) };
    let mut watch = linger::Watch::new(image.linger, clock::now(), boot.alone_from);
    let mut tell_at = clock::now();
    loop {
        let state = download.state()?;
        let now = clock::now();
        cable.look(&boot.report, &boot.courier, "linger")?;
        if let Some(why) = watch.over(now, state.company, state.bytes_sent) {
            return Ok(with_bytes(Done::new(why), &state));
        }
        if now >= tell_at {
            tell_at = now + LOOK_AROUND;
            boot.report.figures("linger", figures(&state));
        }
        let mb = state.bytes_sent as f64 / 1e6;
        boot.report.progress(&format!("  serving other nodes: {mb:.1} MB sent; the next kernel is loaded"));
        clock::pause(LOOK);
    }
}

pub(super) fn kexec(boot: &mut Boot, _deadline: Duration) -> Outcome {
    let image = Boot::need(boot.image.as_ref(), "the image")?;
    rescue::wait_for_shells(&boot.report);
    let begun = clock::now();
    let mut done = Done::new(format!("starting {}", image.title)).with("os", &image.name);
    if let Some(download) = boot.download.take() {
        if let Ok(state) = download.state() {
            done = with_bytes(done, &state);
        }
        download.stop();
    }
    let took = clock::now().saturating_sub(begun);
    Err(handover::kexec(&boot.report, took, done.params, &done.text).into())
}
