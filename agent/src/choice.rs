//! Which image: the kernel's command line, the node's own file, an earlier choice, or a person at the menu.
//!
//! Decides in this order. Never starts anything that the catalog does not have.

mod menu;

use std::time::Duration;

use boottorrent_swarm::catalog::{Catalog, Image};

use crate::report::Report;
use crate::supervisor::{Off, switch_off};
use crate::worker::Boot;
use crate::{clock, mounts};
use menu::{Menu, Outcome};

/// The choice that a dead worker left behind, and how often it was taken up.
const FILE: &str = "choice";
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
    let (name, by) = match wanted(boot) {
        Some(wanted) => wanted,
        None => at_the_menu(boot, catalog)?,
    };
    let image = find(catalog, &name, &by)?;
    remember(&image.name, 0);
    Ok((image, by))
}

fn wanted(boot: &mut Boot) -> Option<(String, String)> {
    // A program has ended, and what follows is the menu whoever has chosen it.
    if std::mem::take(&mut boot.at_menu) {
        forget();
        return None;
    }
    if let Some(name) = &boot.cmdline.os {
        return Some((name.clone(), "bt.os= on the kernel's command line".into()));
    }
    if let Some(name) = boot.node.as_ref().and_then(|node| node.os.clone()) {
        return Some((name, "this node's entry".into()));
    }
    let text = mounts::kept(FILE)?;
    let (name, attempts) = parse_remembered(&text)?;
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
}

fn remember(name: &str, attempts: u32) {
    let attempts = mounts::kept(FILE)
        .and_then(|text| parse_remembered(&text))
        .filter(|(known, _)| known == name)
        .map_or(attempts, |(_, before)| before.max(attempts));
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
    let timeout = catalog.timeout_ms.map(Duration::from_millis);
    let menu = Menu::new(titles, default, timeout, clock::now());
    let mut menu = menu.ok_or_else(|| Error::Empty { site: catalog.site.clone() })?;
    let heading = format!("{}: choose an operating system", catalog.site);
    boot.report.forget_keys();
    show(&boot.report, &menu, &heading, boot.notice.take());
    loop {
        match menu.outcome(clock::now()) {
            Outcome::Start(at) => {
                let by = if menu.is_counting() { "the default, nobody chose" } else { "chosen at the menu" };
                let image = catalog.images.get(at);
                return image
                    .map(|image| (image.name.clone(), by.to_owned()))
                    .ok_or_else(|| Error::Empty { site: catalog.site.clone() });
            }
            Outcome::Off(Off::Power) => switch_off(&boot.report, Off::Power, "asked for at the menu"),
            Outcome::Off(Off::Reboot) => switch_off(&boot.report, Off::Reboot, "asked for at the menu"),
            Outcome::Wait(line) => {
                if let Some(line) = line {
                    boot.report.progress(&line);
                }
                let until = clock::now() + Duration::from_millis(500);
                if let Some(key) = boot.report.key(until)
                    && menu.press(key)
                {
                    show(&boot.report, &menu, &heading, None);
                }
            }
        }
    }
}

fn show(report: &Report, menu: &Menu, heading: &str, notice: Option<String>) {
    let mut text = String::new();
    if let Some(notice) = notice {
        text.push_str(&format!("\n  ! {notice}\n"));
    }
    text.push_str(&format!("\n  {heading}\n\n{}", menu.lines()));
    report.say(&text);
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
