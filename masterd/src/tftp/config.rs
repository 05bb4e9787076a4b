//! What `boottorrent-gen` tells the TFTP server (`tftp.toml`).
//! Never names a folder: the root is the current generation's `tftp/`, looked up for every request.

use serde::{Deserialize, Serialize};

/// `tftp.toml`. Everything has a default, so that an empty file is a working one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct TftpConfig {
    /// Largest block in bytes that a client is granted, 512 to 65464.
    ///
    /// 1468 fills a 1500-byte Ethernet frame. A larger block leaves as IP fragments, where the loss of one costs
    /// all of them and which many boot ROMs cannot put together again; it is for networks with jumbo frames.
    pub max_block_size: u16,
}

impl Default for TftpConfig {
    fn default() -> Self {
        Self { max_block_size: 1468 }
    }
}
