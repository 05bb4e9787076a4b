//! What this node has verified, kept on its own tmpfs for the next worker: a master that is gone holds nobody up.
//!
//! Decides nothing. Believes nothing for lying here: whoever reads it checks signature and sums again.

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boottorrent_swarm::Mac;
use boottorrent_swarm::catalog::Image;

use crate::directory::{self, Offer, Signed};
use crate::lease::Lease;
use crate::link::Card;
use crate::mounts;
use crate::trust::{self, SiteKey};

/// One of each: what is newer replaces what is older, so the folder cannot grow.
const CATALOG: &str = "catalog";
const NODE: &str = "node";
const OVERLAY: &str = "overlay";
const PIECES: &str = "pieces";
const LEASE: &str = "lease";
const NODES: &str = "nodes";

/// The folder. What cannot be written is not kept, and costs a question to the master.
pub(crate) struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub(crate) fn of_this_boot() -> Self {
        Self::at(Path::new(mounts::STATE).join("kept"))
    }

    fn at(folder: PathBuf) -> Self {
        let _ = fs::create_dir_all(&folder); // without it nothing is kept
        Self { folder }
    }

    /// Keeps what the site says. The catalog goes first and comes last: with it, everything is there.
    pub(crate) fn keep_offer(&self, catalog: &Signed, node: Option<&Signed>, overlay: &[u8]) {
        self.forget_signed(CATALOG);
        let kept = match node {
            Some(node) => self.write_signed(NODE, node).and_then(|()| self.write(OVERLAY, overlay)),
            None => {
                self.forget_signed(NODE);
                Ok(())
            }
        };
        let _ = kept.and_then(|()| self.write_signed(CATALOG, catalog)); // half of it is none
    }

    /// What the site said, checked as if it came from the master. None: nothing, or something that is not believed.
    pub(crate) fn offer(&self, key: &SiteKey, mac: Mac) -> Option<Offer> {
        let catalog = directory::believed_catalog(key, &self.read_signed(CATALOG)?).ok()?;
        let node = match self.read_signed(NODE) {
            Some(signed) => Some(directory::believed_node(key, &signed, mac, &catalog.site).ok()?),
            None => None,
        };
        let overlay = match node.as_ref().and_then(|node| node.overlay.as_ref()) {
            Some(overlay) => self.overlay(&overlay.sha256)?,
            None => Arc::default(),
        };
        Some(Offer { catalog, node, overlay })
    }

    /// The node's overlay, if it is the one with this sum.
    pub(crate) fn overlay(&self, sha256: &[u8; 32]) -> Option<Arc<[u8]>> {
        let bytes = fs::read(self.folder.join(OVERLAY)).ok()?;
        trust::check_sum("the node's overlay", &bytes, sha256).ok()?;
        Some(bytes.into())
    }

    pub(crate) fn keep_pieces(&self, list: &[u8]) {
        let _ = self.write(PIECES, list); // without it the list is asked for again
    }

    /// The image's piece list, if it is the one that its catalog names.
    pub(crate) fn pieces(&self, image: &Image) -> Option<Vec<u8>> {
        let bytes = fs::read(self.folder.join(PIECES)).ok()?;
        trust::check_sum("the piece list", &bytes, &image.pieces_sha256).ok()?;
        Some(bytes)
    }

    pub(crate) fn keep_lease(&self, lease: &Lease) {
        let _ = self.write(LEASE, lease.emit().as_bytes()); // without it a silent server is waited for
    }

    /// What this card got before.
    pub(crate) fn lease(&self, card: &Card) -> Option<Lease> {
        Lease::parse(&fs::read_to_string(self.folder.join(LEASE)).ok()?, card)
    }

    pub(crate) fn keep_nodes(&self, nodes: &[SocketAddrV4]) {
        let lines: String = nodes.iter().map(|node| format!("{node}\n")).collect();
        let _ = self.write(NODES, lines.as_bytes()); // without it the tracker is all that knows them
    }

    /// Where other nodes listened.
    pub(crate) fn nodes(&self) -> Vec<SocketAddrV4> {
        let text = fs::read_to_string(self.folder.join(NODES)).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn write_signed(&self, name: &str, signed: &Signed) -> io::Result<()> {
        self.write(name, &signed.bytes)?;
        self.write(&signature_of(name), &signed.signature)
    }

    fn read_signed(&self, name: &str) -> Option<Signed> {
        let read = |name: &str| fs::read(self.folder.join(name)).ok();
        Some(Signed { bytes: read(name)?, signature: read(&signature_of(name))? })
    }

    fn forget_signed(&self, name: &str) {
        // The content first: a signature alone is nothing. Absent is what was wanted.
        let _ = fs::remove_file(self.folder.join(name));
        let _ = fs::remove_file(self.folder.join(signature_of(name)));
    }

    /// Whole or not at all: a worker may die between any two of its instructions.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.folder.join(format!(".{name}"));
        fs::write(&fresh, bytes)?;
        fs::rename(fresh, self.folder.join(name))
    }
}

fn signature_of(name: &str) -> String {
    format!("{name}.minisig")
}

#[cfg(test)]
mod tests;
