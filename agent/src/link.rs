//! The wired cards: all are brought up, the one that the firmware booted from comes first, and carrier is waited for.
//!
//! Decides the order in which cards are tried. Never touches wireless ones or what is no piece of hardware.

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

#[derive(Debug)]
pub(crate) enum Error {
    /// No card at all: its driver is missing, or so is the card.
    NoCard,
    NoCarrier(Vec<String>),
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
            Self::Up(name, error) => write!(f, "{name}: cannot bring it up: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// All wired cards, the boot card first, then by name.
pub(crate) fn cards(boot_card: Option<Mac>) -> Vec<Card> {
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

/// Brings loopback and every card up.
pub(crate) fn up(cards: &[Card]) -> Result<(), Error> {
    let control = sys::control_socket().map_err(|e| Error::Up("all cards".into(), e))?;
    // Nothing of ours needs loopback; the kernel and the people who debug do.
    let _ = sys::interface_up(&control, "lo");
    let mut failed = None;
    for card in cards {
        if let Err(error) = sys::interface_up(&control, &card.name) {
            failed = Some(Error::Up(card.name.clone(), error));
        }
    }
    // One dead card among several is found out by its missing carrier.
    match failed {
        Some(error) if cards.len() == 1 => Err(error),
        _ => Ok(()),
    }
}

/// Waits until the first card has carrier, or another one has had it for a while; returns those that have.
pub(crate) fn wait_for_carrier(
    cards: &[Card],
    deadline: Duration,
    mut waiting: impl FnMut(&str),
) -> Result<Vec<Card>, Error> {
    let begun = clock::now();
    let mut first_other = None;
    loop {
        let now = clock::now();
        let ready: Vec<Card> = cards.iter().filter(|card| has_carrier(card)).cloned().collect();
        if let Some(first) = ready.first() {
            let since = *first_other.get_or_insert(now);
            if Some(first) == cards.first() || now.saturating_sub(since) >= PREFER_BOOT_CARD {
                return Ok(ready);
            }
        }
        if now >= deadline {
            let names = cards.iter().map(|card| card.name.clone()).collect();
            return if ready.is_empty() { Err(Error::NoCarrier(names)) } else { Ok(ready) };
        }
        if let Some(card) = cards.first() {
            let (so_far, limit) = (now.saturating_sub(begun), deadline.saturating_sub(begun));
            waiting(&format!(
                "waiting for carrier on {} ({} of {} s)",
                card.name,
                so_far.as_secs(),
                limit.as_secs()
            ));
        }
        clock::pause(LOOK);
    }
}

fn has_carrier(card: &Card) -> bool {
    // EINVAL while the interface is down counts as none.
    fs::read_to_string(format!("/sys/class/net/{}/carrier", card.name)).is_ok_and(|text| text.trim() == "1")
}
