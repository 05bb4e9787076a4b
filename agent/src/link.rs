//! The wired cards: all are brought up, the one that the firmware booted from comes first, and carrier is waited for.
//!
//! Decides the order in which cards are tried. Never touches wireless ones or what is no piece of hardware.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::time::Duration;

use boottorrent_swarm::Mac;

use crate::{clock, sys};

/// How much longer the firmware's own card is waited for once another one has carrier: e1000 takes three seconds.
const PREFER_BOOT_CARD: Duration = Duration::from_secs(5);
/// How often carrier is looked at; it changes a few times in a boot.
const LOOK: Duration = Duration::from_millis(50);
/// ARPHRD_ETHER (if_arp.h).
const ETHERNET: &str = "1";

/// A wired network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: Mac,
}

/// What there is to ask for an address.
pub(crate) struct Ready {
    /// With carrier, in the order in which they are tried.
    pub(crate) cards: Vec<Card>,
    /// What kept others from being brought up.
    pub(crate) dead: Vec<Error>,
}

#[derive(Debug)]
pub(crate) enum Error {
    /// No card at all: its driver is missing, or so is the card.
    NoCard,
    NoCarrier(Vec<String>),
    Gone(String),
    Up(String, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCard => {
                write!(f, "no wired network card: the bootstrap image has no driver for it, or there is none")
            }
            Self::NoCarrier(names) => {
                write!(f, "no carrier on {}: is the cable plugged in?", names.join(", "))
            }
            Self::Gone(name) => write!(f, "the network card {name} is gone"),
            Self::Up(name, error) => write!(f, "{name}: cannot bring it up: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// All wired cards, the boot card first, then by name.
fn cards(boot_card: Option<Mac>) -> Vec<Card> {
    let names = fs::read_dir("/sys/class/net").map(|entries| {
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    });
    let mut cards: Vec<Card> = names.unwrap_or_default().into_iter().filter_map(|name| card(&name)).collect();
    cards.sort_by_key(|card| (Some(card.mac) != boot_card, card.name.clone()));
    cards
}

fn card(name: &str) -> Option<Card> {
    let folder = format!("/sys/class/net/{name}");
    let read = |leaf: &str| fs::read_to_string(format!("{folder}/{leaf}")).ok();
    let has = |leaf: &str| fs::exists(format!("{folder}/{leaf}")).unwrap_or(false);
    // `device` is missing from bridges, bonds and tunnels.
    let wired = read("type")?.trim() == ETHERNET && has("device") && !has("wireless") && !has("phy80211");
    let index = read("ifindex")?.trim().parse().ok()?;
    let mac = read("address")?.trim().parse().ok()?;
    wired.then(|| Card { name: name.to_owned(), index, mac })
}

/// Waits until the card that the firmware booted from has carrier, or another one has had it for a while; returns those
/// that have. All cards are brought up, those too that show up meanwhile: USB takes its time.
pub(crate) fn wait_for_carrier(
    boot_card: Option<Mac>,
    deadline: Duration,
    mut waiting: impl FnMut(&str),
) -> Result<Ready, Error> {
    let control = sys::control_socket().map_err(|e| Error::Up("all cards".into(), e))?;
    // Nothing of ours needs loopback; the kernel and the people who debug do.
    let _ = sys::interface_up(&control, "lo");
    let begun = clock::now();
    let (mut known, mut trouble, mut ready_since) = (HashSet::new(), Vec::new(), None);
    loop {
        let now = clock::now();
        let cards = cards(boot_card);
        for card in cards.iter().filter(|card| known.insert(card.index)) {
            if let Err(error) = sys::interface_up(&control, &card.name) {
                trouble.push(Error::Up(card.name.clone(), error));
            }
        }
        let ready: Vec<Card> = cards.iter().filter(|card| carrier(card) == Some(true)).cloned().collect();
        if let Some(first) = ready.first() {
            let waited = now.saturating_sub(*ready_since.get_or_insert(now));
            let is_best = boot_card.map_or(Some(first) == cards.first(), |mac| first.mac == mac);
            if is_best || waited >= PREFER_BOOT_CARD || now >= deadline {
                return Ok(Ready { cards: ready, dead: trouble });
            }
        } else {
            ready_since = None;
        }
        let names: Vec<String> = cards.into_iter().map(|card| card.name).collect();
        if now >= deadline {
            return Err(match trouble.pop() {
                _ if names.is_empty() => Error::NoCard,
                Some(last) if trouble.len() + 1 >= names.len() => last,
                _ => Error::NoCarrier(names),
            });
        }
        let what = match names.as_slice() {
            [] => "a network card to show up".to_owned(),
            names => format!("carrier on {}", names.join(", ")),
        };
        let (so_far, limit) = (now.saturating_sub(begun), deadline.saturating_sub(begun));
        waiting(&format!("waiting for {what} ({} of {} s)", so_far.as_secs(), limit.as_secs()));
        clock::pause(LOOK);
    }
}

/// Why the card that the firmware booted from is none of those with carrier, as a sentence; None: it is one.
pub(crate) fn absence(boot_card: Option<Mac>, ready: &[Card]) -> Option<String> {
    let mac = boot_card.filter(|mac| ready.iter().all(|card| card.mac != *mac))?;
    let instead: Vec<&str> = ready.iter().map(|card| card.name.as_str()).collect();
    let instead = instead.join(", ");
    Some(match cards(boot_card).into_iter().find(|card| card.mac == mac) {
        Some(card) => {
            format!(
                "{} ({mac}), from which the firmware booted, has no carrier; {instead} instead",
                card.name
            )
        }
        None => {
            format!("the card {mac}, from which the firmware booted, has no driver here; {instead} instead")
        }
    })
}

/// Whether the cable is live; None: the card is gone.
pub(crate) fn carrier(card: &Card) -> Option<bool> {
    let folder = format!("/sys/class/net/{}", card.name);
    let index = fs::read_to_string(format!("{folder}/ifindex")).ok()?;
    // EINVAL while the interface is down counts as none.
    let live = fs::read_to_string(format!("{folder}/carrier")).is_ok_and(|text| text.trim() == "1");
    (index.trim() == card.index.to_string()).then_some(live)
}

/// Frames that the card has received since it is there, broken ones aside; None: its driver does not count.
pub(crate) fn received(card: &Card) -> Option<u64> {
    let file = format!("/sys/class/net/{}/statistics/rx_packets", card.name);
    fs::read_to_string(file).ok()?.trim().parse().ok()
}
