//! What `boottorrent-gen` tells the log service (`log.toml`).
//! Never decides what a record means: that is the format's own matter.

use serde::{Deserialize, Serialize};

/// `log.toml`. Everything has a default, so that an empty file is a working one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogConfig {
    /// Nodes that are remembered at once; the one that was silent for longest makes room.
    pub max_nodes: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { max_nodes: 4096 }
    }
}
