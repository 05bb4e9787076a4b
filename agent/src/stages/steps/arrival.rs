//! The steps to the catalog: drivers, a live cable, an address, and what the site says to this node.
//!
//! Decides when what was verified before has to do: only while nobody answers.

use std::time::Duration;

use super::{Done, Failure, Outcome};
use crate::courier::Courier;
use crate::directory::{self, Directory, Offer};
use crate::kept::Kept;
use crate::lease::{Client, Error, Lease, News, Whereabouts};
use crate::link::{self, Card};
use crate::report::{Facts, Report};
use crate::trust::SiteKey;
use crate::worker::{Boot, Keeper};
use crate::{clock, modules};

/// A node that could go on with what it has waits no longer than this for a master: services that are asleep or killed
/// answer within a second or two.
const PATIENCE: Duration = Duration::from_secs(4);
/// Before the next card is asked.
const NEXT_CARD: Duration = Duration::from_secs(1);
/// The master's log believes a node that speaks from another address when the old one was silent for 5 s.
const STRANGE: Duration = Duration::from_secs(6);

pub(in crate::stages) fn modules(boot: &mut Boot, deadline: Duration) -> Outcome {
    let (report, notes) = (&boot.report, boot.report.clone());
    let loading = modules::start(move |sentence| notes.note("modules", sentence))?;
    let summary = loading.wait(deadline, |module| report.progress(&format!("  loading {module}")))?;
    Ok(Done::new(summary.to_string()))
}

pub(in crate::stages) fn link(boot: &mut Boot, deadline: Duration) -> Outcome {
    let report = &boot.report;
    let ready = link::wait_for_carrier(boot.cmdline.boot_card, deadline, |text| {
        report.progress(&format!("  {text}"));
    })?;
    ready.dead.iter().for_each(|error| report.note("link", &error.to_string()));
    boot.cards = ready.cards;
    if let Some(absence) = link::absence(boot.cmdline.boot_card, &boot.cards) {
        report.note("link", &absence);
    }
    let names: Vec<String> = boot.cards.iter().map(|card| format!("{} {}", card.name, card.mac)).collect();
    Ok(Done::new(format!("carrier on {}", names.join(", "))))
}

pub(in crate::stages) fn lease(boot: &mut Boot, deadline: Duration) -> Outcome {
    boot.keeper.dismiss();
    boot.keeper = Keeper::default();
    let kept = Kept::of_this_boot();
    // An address without a master behind it: the next card may be on the right network.
    if let Some(before) = boot.lease.take() {
        boot.led_nowhere.push(before.card.mac);
        before.give_up();
    }
    let card = Boot::need(next_card(boot, &kept).as_ref(), "a card with carrier")?;
    let (client, lease, text) =
        acquire(boot, &card, deadline, &kept).inspect_err(|_| boot.led_nowhere.push(card.mac))?;
    boot.master = boot.cmdline.master.or(lease.next_server).or(Some(lease.server));
    boot.next_boot = client.next_boot(&lease);
    boot.lease = Some(lease.clone());
    boot.whereabouts.moved(lease.place());
    let name = boot.name();
    boot.report.identify(&name, lease.card.mac, boot.master);
    boot.report.tell(&Facts { site: "", card: &lease.card.name, address: lease.address });
    let done = Done::new(text).with("ip", lease.address);
    let caretaker = Caretaker {
        report: boot.report.clone(),
        keeper: boot.keeper.clone(),
        whereabouts: boot.whereabouts.clone(),
        courier: boot.courier.clone(),
        kept,
    };
    // A lease that nobody renews still lasts for hours: no reason to stop.
    let thread = std::thread::Builder::new().name("lease".into());
    let spawned = thread.spawn(move || {
        client.keep(lease, &caretaker.keeper, &mut |news| caretaker.hear(news));
    });
    if let Err(error) = spawned {
        boot.report.note("lease", &format!("nobody renews the lease: {error}"));
    }
    Ok(done)
}

/// The first card that has not led nowhere yet, the one with a lease from before in front; when all have, they begin anew.
fn next_card(boot: &mut Boot, kept: &Kept) -> Option<Card> {
    let tried = |boot: &Boot, card: &Card| boot.led_nowhere.contains(&card.mac);
    if boot.cards.iter().all(|card| tried(boot, card)) {
        boot.led_nowhere.clear();
    }
    let fresh = boot.cards.iter().filter(|card| !tried(boot, card));
    fresh.clone().find(|card| kept.lease(card).is_some()).or(fresh.clone().next()).cloned()
}

/// Who has to know what becomes of the lease while the boot goes on.
struct Caretaker {
    report: Report,
    keeper: Keeper,
    whereabouts: Whereabouts,
    courier: Courier,
    kept: Kept,
}

impl Caretaker {
    fn hear(&self, news: News<'_>) {
        match news {
            News::Changed(lease) => {
                let moved = self.whereabouts.now() != Some(lease.place());
                self.kept.keep_lease(lease);
                self.keeper.changed(lease.clone());
                self.whereabouts.moved(lease.place());
                if moved {
                    self.report.moved(lease.address);
                    self.courier.send(&self.report, STRANGE);
                }
                self.report.note("lease", &format!("changed: {lease}"));
            }
            News::Lost(why) => self.report.note("lease", &why),
            News::Confirmed => self.report.note("lease", "confirmed by a DHCP server again"),
            News::Trouble(error) => self.report.note("lease", &error.to_string()),
        }
    }
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
        (Err(silence @ Error::Silent(..)), Some(before)) => {
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
    need_carrier(&lease.card)?;
    let key = Boot::site_key()?;
    let (offer, old) = offer(boot, master, &key, &lease, deadline).map_err(|error| {
        // What looks like a silent master may be a pulled cable.
        let silent = error.is_silence();
        let failure = if silent { need_carrier(&lease.card).err() } else { None };
        if silent && has_other_card(boot, &lease.card) {
            return Failure::new(format!("{error}; another card's network is tried")).then("link", NEXT_CARD);
        }
        failure.unwrap_or_else(|| error.into())
    })?;
    if old.is_empty() {
        boot.led_nowhere.clear();
        boot.report.heard();
    }
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

fn need_carrier(card: &Card) -> Result<(), Failure> {
    let error = match link::carrier(card) {
        Some(true) => return Ok(()),
        Some(false) => link::Error::NoCarrier(vec![card.name.clone()]),
        None => link::Error::Gone(card.name.clone()),
    };
    Err(error.into())
}

/// Whether another card may lead to the master: none does where the firmware has found it by the one that we have.
fn has_other_card(boot: &Boot, card: &Card) -> bool {
    boot.cmdline.boot_card != Some(card.mac) && boot.cards.iter().any(|other| other.mac != card.mac)
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
