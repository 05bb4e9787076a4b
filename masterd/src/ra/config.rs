//! What `boottorrent-gen` tells the router advertiser (`ra.toml`).
//! Never carries a prefix or a lifetime: this master is no router, and says only that.

use serde::{Deserialize, Serialize};

/// `ra.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RaConfig {
    /// The interface on which solicitations are answered: the site's.
    pub interface: String,
}
