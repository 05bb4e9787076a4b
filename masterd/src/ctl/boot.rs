//! `boottorrentctl boot`, and `wake` with an operating system: what nodes boot next, once.
//! Decides whether that can be promised; the DHCP server keeps the promise, the agent follows it.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use boottorrent_swarm::catalog::Catalog;

use super::options::{Options, RUN};
use super::sources::{Sources, Who};
use super::{Error, Verdict, print};
use crate::nodelog::clean;
use crate::orders::{Author, Order, Orders};
use crate::store::Store;

/// How long a node has to come, unless somebody says otherwise: time to walk to a machine that no packet wakes.
pub(super) const WITHIN: Duration = Duration::from_secs(3600);
/// The unit that answers the node, and the folder's owner; and what wakes it.
const DHCP: &str = "boottorrent-dhcp.service";
const SOCKET: &str = "boottorrent-dhcp.socket";
/// Characters of systemctl's reason.
const REASON: usize = 200;

/// What the next boot is to be, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) kind: Kind,
    pub(super) within: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Os(String),
    LocalDisk,
    /// What was ordered is taken back.
    AsUsual,
}

pub(super) fn run(options: &Options, nodes: &[String], next: &Next) -> Result<Verdict, Error> {
    let sources = Sources::read(options)?;
    let whom = sources.whom(nodes)?;
    let ordering = Ordering::open(options, &sources, next)?;
    let told = whom.iter().map(|who| Ok(format!("{} ({}): {}\n", who.name, who.mac, ordering.order(who)?)));
    // All of them first: whoever reads this may have seen enough.
    print(&told.collect::<Result<String, Error>>()?).map(|()| Verdict::Good)
}

/// Orders that can be given: the image is there, and so is whoever takes them.
pub(super) struct Ordering<'a> {
    orders: Orders,
    next: &'a Next,
}

impl<'a> Ordering<'a> {
    pub(super) fn open(options: &Options, sources: &Sources, next: &'a Next) -> Result<Self, Error> {
        if !sources.config.services.iter().any(|service| service == "dhcp") {
            let sentence = "a node learns its next boot from the DHCP server of this site, which is switched off: see \
                            [dhcp] mode in boottorrent.toml";
            return Err(Error::Told(sentence.into()));
        }
        if let Kind::Os(name) = &next.kind {
            check_image(&options.store, name)?;
        }
        let orders = Orders::below(&options.run);
        match orders.path().symlink_metadata() {
            Ok(_) if options.run == Path::new(RUN) => check_server()?,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                check_server()?;
                wake_server(&orders)?;
            }
            Err(e) => return Err(unwritten(&orders, &e)),
        }
        Ok(Self { orders, next })
    }

    /// What was promised.
    pub(super) fn order(&self, who: &Who) -> Result<String, Error> {
        let failed = |e: io::Error| unwritten(&self.orders, &e);
        let within = in_words(self.next.within);
        let os = match &self.next.kind {
            Kind::AsUsual => {
                let was = self.orders.remove(who.mac).map_err(failed)?;
                let before = if was { "what was ordered is taken back" } else { "nothing was ordered" };
                return Ok(format!("boots as usual; {before}"));
            }
            Kind::Os(name) => Some(name.clone()),
            Kind::LocalDisk => None,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let until = now.saturating_add(self.next.within.as_secs());
        let order = Order { os, until, by: Author::Master };
        self.orders.put(who.mac, &order).map_err(failed)?;
        Ok(format!("boots {} next, once, if it comes within {within}", order.in_words()))
    }
}

fn unwritten(orders: &Orders, error: &io::Error) -> Error {
    let path = orders.path().display();
    Error::Told(match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{path} can be written by root only"),
        _ => format!("{path} cannot be written: {error}"),
    })
}

fn check_image(store: &Path, name: &str) -> Result<(), Error> {
    let path = Store::new(store).current().join("tftp/catalog");
    let unread = |why: String| Error::Told(format!("{} cannot be read: {why}", path.display()));
    let bytes = std::fs::read(&path).map_err(|e| unread(e.to_string()))?;
    let catalog = Catalog::parse(&bytes).map_err(|e| unread(e.to_string()))?;
    if catalog.image(name).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = catalog.images.iter().map(|image| image.name.as_str()).collect();
    let hint = match crate::site::finding::nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("it has {}", known.join(", ")),
    };
    Err(Error::Told(format!("the site has no operating system {name:?}; {hint}")))
}

/// Whoever has stopped it does not want it back because of this.
fn check_server() -> Result<(), Error> {
    if systemctl(&["is-active", "--quiet", SOCKET])?.status.success() {
        return Ok(());
    }
    let sentence = format!("{SOCKET} is stopped, so nobody tells a node: systemctl start boottorrent.target");
    Err(Error::Told(sentence))
}

/// The server makes the folder when it starts, as its owner; asleep behind its socket it has not started yet.
fn wake_server(orders: &Orders) -> Result<(), Error> {
    let told = |why: String| {
        let path = orders.path().display();
        Error::Told(format!("there is no {path}, and {DHCP}, which makes it, cannot be started: {why}"))
    };
    let output = systemctl(&["start", "--no-ask-password", DHCP])?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(told(clean(why.lines().next().unwrap_or("it does not say why"), REASON)));
    }
    if orders.path().is_dir() { Ok(()) } else { Err(told("it has started without".to_owned())) }
}

fn systemctl(words: &[&str]) -> Result<Output, Error> {
    let output = Command::new("systemctl").args(words).stdin(Stdio::null()).output();
    output.map_err(|e| Error::Told(format!("systemctl: {e}")))
}

/// The largest unit that loses nothing.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = units.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::options::Action;
    use crate::ctl::sources::tests::sources;
    use boottorrent_swarm::Mac;

    fn options(folder: &Path) -> Options {
        let action = Action::Status { json: false, watch: false };
        Options { action, store: folder.to_owned(), run: folder.to_owned() }
    }

    fn next(kind: Kind) -> Next {
        Next { kind, within: WITHIN }
    }

    #[test]
    fn orders_are_written_replaced_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let (options, sources) = (options(folder.path()), sources());
        let orders = Orders::below(folder.path());
        orders.make().unwrap();
        let who = sources.find("n02").unwrap();
        let say = |kind: Kind| {
            let next = next(kind);
            Ordering::open(&options, &sources, &next).and_then(|ordering| ordering.order(&who)).unwrap()
        };
        assert_eq!(say(Kind::LocalDisk), "boots its own disk next, once, if it comes within 1h");
        assert_eq!(
            orders.get(who.mac).unwrap().map(|order| (order.os, order.by)),
            Some((None, Author::Master))
        );
        assert_eq!(say(Kind::AsUsual), "boots as usual; what was ordered is taken back");
        assert_eq!(say(Kind::AsUsual), "boots as usual; nothing was ordered");
        assert_eq!(orders.get(who.mac).unwrap(), None);
    }

    #[test]
    fn an_image_that_is_not_there_is_told_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        let told = check_image(folder.path(), "debian").unwrap_err().to_string();
        assert!(told.contains("current/tftp/catalog cannot be read"), "{told}");
        let catalog = Catalog {
            site: "lab".into(),
            generation: 1,
            default: None,
            timeout_ms: None,
            tracker_port: 6969,
            seed_port: 6881,
            images: Vec::new(),
        };
        let tftp = folder.path().join("current/tftp");
        std::fs::create_dir_all(&tftp).unwrap();
        std::fs::write(tftp.join("catalog"), catalog.emit()).unwrap();
        let told = check_image(folder.path(), "debian").unwrap_err().to_string();
        assert!(told.starts_with("the site has no operating system \"debian\"; it has"), "{told}");
    }

    #[test]
    fn without_our_dhcp_nothing_is_promised() {
        let folder = tempfile::tempdir().unwrap();
        let mut sources = sources();
        sources.config.services.retain(|service| service != "dhcp");
        let next = next(Kind::LocalDisk);
        let told = Ordering::open(&options(folder.path()), &sources, &next).err().unwrap().to_string();
        assert!(told.contains("[dhcp] mode"), "{told}");
        assert_eq!(sources.find("52:54:00:00:00:01").unwrap().mac, Mac([0x52, 0x54, 0, 0, 0, 1]));
    }

    #[test]
    fn times_in_words() {
        let words = [1, 90, 120, 3600, 5400, 86_400].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(words, ["1s", "90s", "2m", "1h", "90m", "1d"]);
    }
}
