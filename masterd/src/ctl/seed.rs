//! What the seed has sent, from `seed.json`.
//! Decides nothing.

use serde::{Deserialize, Serialize};

/// The part of the seed's state that people ask for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Seed {
    pub(super) links: u64,
    pub(super) bytes_out: u64,
    pub(super) images: Vec<Image>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) info_hash: String,
    /// served, retiring or refused.
    pub(super) standing: String,
    pub(super) refusal: Option<String>,
    pub(super) bytes: u64,
    pub(super) bytes_out: u64,
    /// `bytes_out` over `bytes`.
    pub(super) copies: f64,
    pub(super) peers_connected: u64,
}

impl Seed {
    pub(super) fn is_well(&self) -> bool {
        self.images.iter().all(|image| image.refusal.is_none())
    }
}
