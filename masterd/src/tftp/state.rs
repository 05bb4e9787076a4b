//! What the TFTP server tells about itself: counters and the last transfers, for `tftp.json`.
//! Decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

use serde::Serialize;

use super::limits::{BOOTING, RECENT};

/// Where the files are that firmware fetches; what the agent asks for stands elsewhere.
const BOOT_FOLDER: &str = "boot/";

/// `tftp.json`.
#[derive(Debug, Default, Serialize)]
pub(super) struct State {
    pub(super) active: usize,
    pub(super) requests: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    /// Of completed transfers, on the wire without headers.
    pub(super) bytes: u64,
    pub(super) warnings: BTreeMap<&'static str, u64>,
    /// The newest last.
    pub(super) recent: VecDeque<Finished>,
    /// The last file of the boot folder that each address has asked for.
    pub(super) booting: BTreeMap<Ipv4Addr, BootFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BootFile {
    pub(super) file: String,
    /// Seconds since 1970.
    pub(super) at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

/// A transfer that is over.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finished {
    pub(super) client: String,
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) block_size: u16,
    pub(super) window: u16,
    pub(super) repeats: u64,
    /// Seconds since 1970.
    pub(super) at: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
}

impl State {
    pub(super) fn finished(&mut self, transfer: Finished) {
        if transfer.failure.is_none() {
            self.completed += 1;
            self.bytes += transfer.bytes;
        } else {
            self.failed += 1;
        }
        self.note_boot_file(&transfer);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(transfer);
    }

    fn note_boot_file(&mut self, transfer: &Finished) {
        let Finished { client, file, at, failure, .. } = transfer;
        let Ok(client) = client.parse::<SocketAddrV4>() else { return };
        let file = file.trim_start_matches('/');
        if !file.starts_with(BOOT_FOLDER) {
            return;
        }
        if self.booting.len() >= BOOTING && !self.booting.contains_key(client.ip()) {
            let oldest = self.booting.iter().min_by_key(|(_, file)| file.at).map(|(address, _)| *address);
            oldest.and_then(|address| self.booting.remove(&address));
        }
        let file = BootFile { file: file.to_owned(), at: *at, failure: failure.clone() };
        self.booting.insert(*client.ip(), file);
    }

    pub(super) fn line(&self) -> String {
        format!("{} transfers now, {} done, {} failed", self.active, self.completed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(client: &str, file: &str, at: u64) -> Finished {
        Finished {
            client: client.into(),
            file: file.into(),
            bytes: 7,
            seconds: 0.1,
            block_size: 1468,
            window: 1,
            repeats: 0,
            at,
            failure: None,
        }
    }

    #[test]
    fn the_last_boot_file_of_each_address_outlives_what_others_fetch() {
        let mut state = State::default();
        state.finished(transfer("10.0.0.11:2070", "boot/boot.ipxe", 1000));
        state.finished(transfer("10.0.0.11:2071", "boot/vmlinuz", 1001));
        for n in 0..2 * RECENT as u64 {
            state.finished(transfer("10.0.0.11:4000", "catalog", 1002 + n));
        }
        assert_eq!(state.recent.len(), RECENT);
        let file = BootFile { file: "boot/vmlinuz".into(), at: 1001, failure: None };
        assert_eq!(state.booting, [(Ipv4Addr::new(10, 0, 0, 11), file)].into());
    }

    #[test]
    fn addresses_are_bounded_and_the_oldest_goes() {
        let mut state = State::default();
        for n in 0..BOOTING as u32 + 5 {
            let client = format!("{}:69", Ipv4Addr::from_bits(0x0a00_0000 + n));
            state.finished(transfer(&client, "boot/vmlinuz", u64::from(n)));
        }
        assert_eq!(state.booting.len(), BOOTING);
        assert!(!state.booting.contains_key(&Ipv4Addr::new(10, 0, 0, 4)));
        assert!(state.booting.contains_key(&Ipv4Addr::new(10, 0, 0, 5)));
    }
}
