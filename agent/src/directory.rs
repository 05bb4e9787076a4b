//! What the master offers: the signed catalog, the node's own signed file and its overlay.
//!
//! Decides nothing about their content. Never parses a byte before the site's key has vouched for it.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use boottorrent_swarm::Mac;
use boottorrent_swarm::catalog::{self, Catalog, Image};
use boottorrent_swarm::nodefile::{self, NodeFile};

use crate::kept::Kept;
use crate::tftp;
use crate::trust::{self, MAX_SIGNATURE, SiteKey};

/// What an overlay may be late by on top of the stage's own deadline: a hundred nodes that share a GbE have 1 MB/s each.
const OVERLAY_BYTES_PER_SECOND: u64 = 512 * 1024;

#[derive(Debug)]
pub(crate) enum Error {
    Fetch {
        name: String,
        master: Ipv4Addr,
        cause: tftp::Error,
    },
    Trust(trust::Error),
    Content {
        name: String,
        cause: catalog::Error,
    },
    /// Signed, but for somebody else.
    NotOurs {
        name: String,
        what: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetch { name, master, cause } => write!(f, "{name} from {master}: {cause}"),
            Self::Trust(error) => error.fmt(f),
            Self::Content { name, cause } => write!(f, "{name} is signed but cannot be read: {cause}"),
            Self::NotOurs { name, what } => write!(f, "refused: {name} is for {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<trust::Error> for Error {
    fn from(error: trust::Error) -> Self {
        Self::Trust(error)
    }
}

impl Error {
    /// The master is gone, as far as this node can tell; what it said before is as good as ever.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Fetch { cause: tftp::Error::Silent { .. } | tftp::Error::Io(_), .. })
    }

    /// Two files that do not belong together: forged, or of two generations.
    fn is_mismatch(&self) -> bool {
        matches!(self, Self::Trust(trust::Error::Forged { .. } | trust::Error::WrongSum { .. }))
    }
}

/// A file and its signature, as they came.
pub(crate) struct Signed {
    pub(crate) bytes: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// All that the site says to this node.
pub(crate) struct Offer {
    pub(crate) catalog: Catalog,
    /// Most nodes have none.
    pub(crate) node: Option<NodeFile>,
    /// The archive of the node's own files; empty where it has none.
    pub(crate) overlay: Arc<[u8]>,
}

/// A master that is believed only as far as the key goes.
pub(crate) struct Directory<'a> {
    pub(crate) master: Ipv4Addr,
    pub(crate) key: &'a SiteKey,
    pub(crate) deadline: Duration,
    /// Gets a line for a person while an answer is waited for.
    pub(crate) waiting: &'a dyn Fn(&str),
}

impl Directory<'_> {
    /// Everything, which is kept for the next worker.
    pub(crate) fn offer(&self, mac: Mac, kept: &Kept) -> Result<Offer, Error> {
        match self.offer_once(mac, kept) {
            // The master may have published between two files. Nobody is accused before they were read once more.
            Err(error) if error.is_mismatch() => self.offer_once(mac, kept),
            other => other,
        }
    }

    fn offer_once(&self, mac: Mac, kept: &Kept) -> Result<Offer, Error> {
        let signed_catalog = self.signed("catalog", catalog::MAX_BYTES)?;
        let catalog = believed_catalog(self.key, &signed_catalog)?;
        let name = node_name(mac);
        let signed_node = match self.signed(&name, nodefile::MAX_BYTES) {
            Err(Error::Fetch { cause: tftp::Error::NotFound, name: missing, .. }) if missing == name => None,
            other => Some(other?),
        };
        let node = match &signed_node {
            Some(signed) => Some(believed_node(self.key, signed, mac, &catalog.site)?),
            None => None,
        };
        let overlay = node.as_ref().map(|node| self.overlay(node, kept)).transpose()?.unwrap_or_default();
        kept.keep_offer(&signed_catalog, signed_node.as_ref(), &overlay);
        Ok(Offer { catalog, node, overlay })
    }

    /// The catalog alone, to see whether there is a newer one.
    pub(crate) fn catalog(&self) -> Result<Catalog, Error> {
        believed_catalog(self.key, &self.signed("catalog", catalog::MAX_BYTES)?)
    }

    fn overlay(&self, node: &NodeFile, kept: &Kept) -> Result<Arc<[u8]>, Error> {
        let Some(overlay) = &node.overlay else { return Ok(Arc::default()) };
        if let Some(bytes) = kept.overlay(&overlay.sha256) {
            return Ok(bytes);
        }
        let name = format!("{}.cpio", node_name(node.mac));
        let limit = usize::try_from(overlay.length).unwrap_or(usize::MAX);
        let more = Duration::from_secs(overlay.length / OVERLAY_BYTES_PER_SECOND);
        let bytes = self.fetch(&name, limit, self.deadline.saturating_add(more))?;
        trust::check_sum("the node's overlay", &bytes, &overlay.sha256)?;
        Ok(bytes.into())
    }

    /// The SHA-256 of each piece of an image. What is kept is asked first: the catalog names its sum.
    pub(crate) fn pieces(&self, image: &Image, kept: &Kept) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = kept.pieces(image) {
            return Ok(bytes);
        }
        let pieces =
            image.geometry().map_err(|cause| Error::Content { name: image.name.clone(), cause })?.pieces();
        let bytes =
            self.fetch(&format!("pieces/{}", image.info_hash), pieces as usize * 32, self.deadline)?;
        trust::check_sum("the piece list", &bytes, &image.pieces_sha256)?;
        kept.keep_pieces(&bytes);
        Ok(bytes)
    }

    fn signed(&self, name: &str, limit: usize) -> Result<Signed, Error> {
        let bytes = self.fetch(name, limit, self.deadline)?;
        let signature = self.fetch(&format!("{name}.minisig"), MAX_SIGNATURE, self.deadline)?;
        Ok(Signed { bytes, signature })
    }

    fn fetch(&self, name: &str, limit: usize, deadline: Duration) -> Result<Vec<u8>, Error> {
        let fetched = tftp::fetch(self.master, name, limit, deadline, &mut |bytes, seconds_left| {
            let from = self.master;
            (self.waiting)(&format!("{name} from {from}: {bytes} bytes so far ({seconds_left} s left)"));
        });
        fetched.map_err(|cause| Error::Fetch { name: name.to_owned(), master: self.master, cause })
    }
}

/// The catalog, if the site signed it.
pub(crate) fn believed_catalog(key: &SiteKey, signed: &Signed) -> Result<Catalog, Error> {
    key.check("the catalog", &signed.bytes, &signed.signature)?;
    Catalog::parse(&signed.bytes).map_err(|cause| Error::Content { name: "the catalog".into(), cause })
}

/// The node's own file, if the site signed it, and for this very node.
pub(crate) fn believed_node(key: &SiteKey, signed: &Signed, mac: Mac, site: &str) -> Result<NodeFile, Error> {
    key.check("the node's file", &signed.bytes, &signed.signature)?;
    let name = node_name(mac);
    let node =
        NodeFile::parse(&signed.bytes).map_err(|cause| Error::Content { name: name.clone(), cause })?;
    // A file that the site signed for another node would give this one the other's name and secrets.
    if node.mac != mac {
        return Err(Error::NotOurs { name, what: node.mac.to_string() });
    }
    if node.site != site {
        return Err(Error::NotOurs { name, what: format!("the site {:?}", node.site) });
    }
    Ok(node)
}

fn node_name(mac: Mac) -> String {
    format!("nodes/{}", mac.hyphenated())
}
