//! Where this node is reached now: written by whoever keeps the lease, read by whoever is known by it.
//!
//! Decides nothing.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

/// An address, and how many bits of it the neighbours have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
}

/// A handle; all copies say the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereabouts(Arc<Mutex<Option<Place>>>);

impl Whereabouts {
    /// None before the first lease.
    pub(crate) fn now(&self) -> Option<Place> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn moved(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }
}
