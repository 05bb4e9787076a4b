//! Which image: an order for this boot, the kernel's command line, the node's own file, an earlier choice, or a person
//! at the menu.
//!
//! Decides in this order. Never starts anything that the catalog does not have.

mod menu;
mod offer;
mod local_disk;
mod ask;

use std::time::Duration;

use boottorrent_swarm::catalog::{Catalog, Image};
use boottorrent_swarm::next_boot::NextBoot;

use crate::report::Facts;
use crate::screen;
use crate::supervisor::{Off, switch_off};
use crate::worker::Boot;
use crate::{clock, mounts};
use local_disk::LocalDisk;
use menu::{Menu, Outcome};

/// The choice that a dead worker left behind, and how often it was taken up.
const FILE: &str = "choice";
/// The name in it when it was ordered for this boot: it comes before what stands anywhere else.
const ORDERED: &str = "choice-ordered";
/// How often the countdown is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// An image that kills its worker so often is not chosen again without a person.
const MOST_ATTEMPTS: u32 = 5;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Error {
    Empty {
        site: String,
    },
    /// Named by something else than the menu, and not in the catalog.
    Absent {
        by: String,
        name: String,
        known: String,
    },
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty { site } => {
                write!(f, "the catalog of site {site:?} has no image: add a folder below os/")
            }
            Self::Absent { by, name, known } => {
                write!(f, "{by} wants {name:?}, which the catalog does not have; it has {known}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// The image to boot, and who wanted it.
pub(crate) fn choose(boot: &mut Boot, catalog: &Catalog) -> Result<(Image, String), Error> {
    introduce(boot, catalog);
    let (name, by) = match wanted(boot) {
        Some(wanted) => wanted,
        None => at_the_menu(boot, catalog)?,
    };
    let image = find(catalog, &name, &by)?;
    boot.report.describe_image(offer::entry(&image, &boot.overlay).details);
    remember(&image.name, 0);
    Ok((image, by))
}

/// What the pages say of this node.
fn introduce(boot: &Boot, catalog: &Catalog) {
    let Some(lease) = &boot.lease else { return };
    boot.report.tell(&Facts { site: &catalog.site, card: &lease.card.name, address: lease.address });
    boot.report.describe_node(offer::machine(&lease.card.name, boot.master));
}

fn wanted(boot: &mut Boot) -> Option<(String, String)> {
    // Followed once: what does not work is a person's choice again, or that of whoever chose before.
    let ordered = boot.next_boot.take();
    // A program has ended, and what follows is the menu whoever has chosen it.
    if std::mem::take(&mut boot.at_menu) {
        forget();
        return None;
    }
    if let Some(NextBoot::Os(name)) = ordered {
        let _ = mounts::keep(ORDERED, &name); // without it a worker that dies ends the order
        return Some((name, "ordered at the master, for this boot".into()));
    }
    let order = mounts::kept(ORDERED);
    if let Some(choice) = remembered().filter(|(name, _)| order.as_ref() == Some(name)) {
        return again(boot, choice);
    }
    if let Some(name) = &boot.cmdline.os {
        return Some((name.clone(), "bt.os= on the kernel's command line".into()));
    }
    if let Some(name) = boot.node.as_ref().and_then(|node| node.os.clone()) {
        return Some((name, "this node's entry".into()));
    }
    again(boot, remembered()?)
}

fn remembered() -> Option<(String, u32)> {
    parse_remembered(&mounts::kept(FILE)?)
}

/// The earlier choice once more, unless it has failed too often.
fn again(boot: &mut Boot, (name, attempts): (String, u32)) -> Option<(String, String)> {
    // Counted once a worker: a master that goes away makes one worker come here many times.
    if !std::mem::replace(&mut boot.choice_counted, true) {
        if attempts >= MOST_ATTEMPTS {
            forget();
            return None;
        }
        remember(&name, attempts + 1);
    }
    Some((name, "the earlier choice".into()))
}

fn find(catalog: &Catalog, name: &str, by: &str) -> Result<Image, Error> {
    let known = || catalog.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join(", ");
    let image = catalog.image(name).ok_or_else(|| {
        forget();
        Error::Absent { by: by.to_owned(), name: name.to_owned(), known: known() }
    })?;
    Ok(image.clone())
}

/// The menu shows again: what was chosen did not work.
pub(crate) fn forget() {
    mounts::forget(FILE);
    mounts::forget(ORDERED);
}

fn remember(name: &str, attempts: u32) {
    let attempts =
        remembered().filter(|(known, _)| known == name).map_or(attempts, |(_, before)| before.max(attempts));
    let _ = mounts::keep(FILE, &format!("{name}\n{attempts}\n")); // without it a restarted worker asks again
}

fn parse_remembered(text: &str) -> Option<(String, u32)> {
    let mut lines = text.lines();
    Some((lines.next()?.to_owned(), lines.next()?.parse().ok()?))
}

fn at_the_menu(boot: &mut Boot, catalog: &Catalog) -> Result<(String, String), Error> {
    let titles = catalog.images.iter().map(|image| image.title.clone()).collect();
    let default =
        catalog.default.as_ref().and_then(|name| catalog.images.iter().position(|i| i.name == *name));
    let timeout = boot.cmdline.timeout.or(catalog.timeout_ms.map(Duration::from_millis));
    let menu = Menu::new(titles, default, timeout, clock::now());
    let mut menu = menu.ok_or_else(|| Error::Empty { site: catalog.site.clone() })?;
    let disk = LocalDisk::find();
    let mut shown = screen::Menu {
        notice: boot.notice.take(),
        entries: catalog.images.iter().map(|image| offer::entry(image, &boot.overlay)).collect(),
        selected: menu.selected(),
        default,
        seconds_left: None,
        local_disk: Some(disk.as_ref().map(|disk| disk.name.clone()).map_err(ToString::to_string)),
    };
    let heading = format!("{}: choose an operating system", catalog.site);
    boot.report.forget_keys();
    boot.report.say_plain(&plain(&menu, &heading, shown.notice.as_deref()));
    loop {
        match menu.outcome(clock::now()) {
            Outcome::Start(at) => {
                let by = if menu.is_counting() { "the default, nobody chose" } else { "chosen at the menu" };
                boot.report.show_menu(None);
                let image = catalog.images.get(at);
                return image
                    .map(|image| (image.name.clone(), by.to_owned()))
                    .ok_or_else(|| Error::Empty { site: catalog.site.clone() });
            }
            Outcome::Off(off) => switch_off(&boot.report, off, "asked for at the menu"),
            Outcome::LocalDisk => start_local_disk(boot, disk.as_ref()),
            Outcome::Wait(seconds) => {
                if seconds.is_none() {
                    boot.patience.rest(); // it waits for a person
                }
                if let Some(seconds) = seconds {
                    let title = catalog.images.get(menu.selected()).map_or("", |image| image.title.as_str());
                    boot.report
                        .progress(&format!("  {title} starts in {seconds} s; any key stops the countdown"));
                }
                (shown.selected, shown.seconds_left) = (menu.selected(), seconds);
                boot.report.show_menu(Some(&shown));
                let until = clock::now() + LOOK;
                if let Some(key) = boot.report.key(until)
                    && menu.press(key)
                {
                    boot.report.say_plain(&plain(&menu, &heading, None));
                }
            }
        }
    }
}

/// Returns only if it is not possible, which it says.
fn start_local_disk(boot: &mut Boot, disk: Result<&LocalDisk, &local_disk::Error>) {
    let started = disk.map_err(ToString::to_string).and_then(|disk| order_local_disk(boot, disk));
    match started {
        Ok(how) => switch_off(&boot.report, Off::Reboot, &format!("local disk: {how}")),
        Err(why) => boot.report.note("choice", &format!("no boot from local disk: {why}")),
    }
}

/// Who was told, and what.
fn order_local_disk(boot: &mut Boot, disk: &LocalDisk) -> Result<String, String> {
    if disk.start_next().map_err(|e| e.to_string())? {
        return Ok(format!("UEFI starts {:?} next", disk.name));
    }
    let lease = boot.current_lease().map_err(|failure| failure.to_string())?;
    boot.report.progress(&format!("  asking {} to let one boot pass", lease.server));
    ask::for_local_disk(&lease, clock::now()).map_err(|e| e.to_string())?;
    Ok(format!("the master at {} lets one boot pass, so that the BIOS goes on to it", lease.server))
}

/// The menu for consoles without pages.
fn plain(menu: &Menu, heading: &str, notice: Option<&str>) -> String {
    let notice = notice.map(|notice| format!("\n  ! {notice}\n")).unwrap_or_default();
    format!("{notice}\n  {heading}\n\n{}", menu.lines())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back() {
        assert_eq!(parse_remembered("debian\n2\n"), Some(("debian".into(), 2)));
        assert_eq!(parse_remembered("debian"), None);
        assert_eq!(parse_remembered(""), None);
    }

    #[test]
    fn names_that_the_catalog_does_not_have_are_refused_with_those_it_has() {
        let catalog = Catalog {
            site: "lab".into(),
            generation: 1,
            default: None,
            timeout_ms: None,
            tracker_port: 6969,
            seed_port: 6881,
            images: Vec::new(),
        };
        let error = find(&catalog, "debain", "this node's entry").unwrap_err().to_string();
        assert!(
            error.starts_with("this node's entry wants \"debain\", which the catalog does not have"),
            "{error}"
        );
    }
}
