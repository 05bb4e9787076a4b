//! The steps to the catalog: drivers, a live cable, an address, and what the site says to this node.
//!
//! Decides when what was verified before has to do: only while nobody answers.

use std::time::Duration;

use super::{Done, Failure, Outcome};
use crate::directory::{self, Directory, Offer};
use crate::kept::Kept;
use crate::lease::{Client, Error, Lease};
use crate::link::{self, Card};
use crate::report::Facts;
use crate::trust::SiteKey;
use crate::worker::{Boot, Keeper};
use crate::{clock, modules};

/// A node that could go on with what it has waits no longer than this for a master: services that are asleep or killed
/// answer within a second or two.
const PATIENCE: Duration = Duration::from_secs(4);

pub(in crate::stages) fn modules(boot: &mut Boot, deadline: Duration) -> Outcome {
    let (report, notes) = (&boot.report, boot.report.clone());
    let loading = modules::start(move |sentence| notes.note("modules", sentence))?;
    let summary = loading.wait(deadline, |module| report.progress(&format!("  loading {module}")))?;
    Ok(Done::new(summary.to_string()))
}

pub(in crate::stages) fn link(boot: &mut Boot, deadline: Duration) -> Outcome {
    let report = &boot.report;
    boot.cards = link::wait_for_carrier(boot.cmdline.boot_card, deadline, |text| {
        report.progress(&format!("  {text}"));
    })?;
    let names: Vec<String> = boot.cards.iter().map(|card| format!("{} {}", card.name, card.mac)).collect();
    Ok(Done::new(format!("carrier on {}", names.join(", "))))
}

pub(in crate::stages) fn lease(boot: &mut Boot, deadline: Duration) -> Outcome {
    boot.keeper.dismiss();
    boot.keeper = Keeper::default();
    let kept = Kept::of_this_boot();
    match boot.lease.take() {
        // An address without a master behind it: the next card may be on the right network.
        Some(before) => {
            boot.lease_turn += 1;
            before.give_up();
        }
        None if boot.lease_turn == 0 => {
            boot.lease_turn = boot.cards.iter().position(|card| kept.lease(card).is_some()).unwrap_or(0);
        }
        None => {}
    }
    let turn = boot.lease_turn.checked_rem(boot.cards.len()).unwrap_or(0);
    let card = Boot::need(boot.cards.get(turn), "a card with carrier")?;
    let (client, lease, text) =
        acquire(boot, &card, deadline, &kept).inspect_err(|_| boot.lease_turn += 1)?;
    boot.master = boot.cmdline.master.or(lease.next_server).or(Some(lease.server));
    boot.next_boot = client.next_boot(&lease);
    boot.lease = Some(lease.clone());
    let name = boot.name();
    boot.report.identify(&name, lease.card.mac, boot.master);
    boot.report.tell(&Facts { site: "", card: &lease.card.name, address: lease.address });
    let done = Done::new(text).with("ip", lease.address);
    let (report, keeper) = (boot.report.clone(), boot.keeper.clone());
    // A lease that nobody renews still lasts for hours: no reason to stop.
    let thread = std::thread::Builder::new().name("lease".into());
    if let Err(error) = thread.spawn(move || client.keep(lease, &report, &keeper, &kept)) {
        boot.report.note("lease", &format!("nobody renews the lease: {error}"));
    }
    Ok(done)
}

/// A lease from a server, or the one that an earlier worker had where no server answers.
fn acquire(
    boot: &Boot,
    card: &Card,
    deadline: Duration,
    kept: &Kept,
) -> Result<(Client, Lease, String), Error> {
    let before = kept.lease(card);
    let until = if before.is_some() { deadline.min(clock::now() + PATIENCE) } else { deadline };
    let mut client = Client::new(card)?;
    match (client.acquire(until, |text| boot.report.progress(&format!("  {text}"))), before) {
        (Ok(lease), _) => {
            kept.keep_lease(&lease);
            let text = lease.to_string();
            Ok((client, lease, text))
        }
        (Err(silence @ Error::Silent(_)), Some(before)) => {
            before.configure(None)?;
            let text = format!("{silence}; going on with {before}, as before, and asking on");
            Ok((client, before, text))
        }
        (Err(error), _) => Err(error),
    }
}

pub(in crate::stages) fn catalog(boot: &mut Boot, deadline: Duration) -> Outcome {
    let lease = boot.current_lease()?;
    let master = Boot::need(boot.master.as_ref(), "the master")?;
    let card = &lease.card;
    match link::carrier(card) {
        Some(true) => {}
        Some(false) => {
            return Err(Failure::new(format!("no carrier on {}: is the cable plugged in?", card.name)));
        }
        None => return Err(Failure::new(format!("the network card {} is gone", card.name))),
    }
    let key = Boot::site_key()?;
    let (offer, old) = offer(boot, master, &key, &lease, deadline)?;
    let Offer { catalog, node, overlay } = offer;
    boot.overlay = overlay;
    boot.node = node;
    let name = boot.name();
    // The kernel's own name is for people who debug.
    let _ = nix::unistd::sethostname(&name);
    boot.report.identify(&name, lease.card.mac, Some(master));
    let (site, generation, images) = (catalog.site.clone(), catalog.generation, catalog.images.len());
    boot.catalog = Some(catalog);
    let text = format!("{old}site {site}, generation {generation}, {images} images; this node is {name}");
    Ok(Done::new(text).with("generation", generation))
}

/// What the site says now, or what it said before where the master does not answer; then also a word about that.
fn offer(
    boot: &Boot,
    master: std::net::Ipv4Addr,
    key: &SiteKey,
    lease: &Lease,
    deadline: Duration,
) -> Result<(Offer, String), directory::Error> {
    let (kept, mac) = (Kept::of_this_boot(), lease.card.mac);
    let before = kept.offer(key, mac);
    let deadline = if before.is_some() { deadline.min(clock::now() + PATIENCE) } else { deadline };
    let waiting = |text: &str| boot.report.progress(&format!("  {text}"));
    match (Directory { master, key, deadline, waiting: &waiting }.offer(mac, &kept), before) {
        (Ok(offer), _) => Ok((offer, String::new())),
        (Err(error), Some(before)) if error.is_silence() => {
            Ok((before, format!("{error}; going on with what was verified before: ")))
        }
        (Err(error), _) => Err(error),
    }
}
