//! What the master offers: the signed catalog, the node's own signed file and its overlay.
//!
//! Decides nothing about their content. Never parses a byte before the site's key has vouched for it.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use boottorrent_swarm::Mac;
use boottorrent_swarm::catalog::{self, Catalog, Image};
use boottorrent_swarm::nodefile::{self, NodeFile};

use crate::tftp;
use crate::trust::{self, MAX_SIGNATURE, SiteKey};

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

/// A master that is believed only as far as the key goes.
pub(crate) struct Directory<'a> {
    pub(crate) master: Ipv4Addr,
    pub(crate) key: &'a SiteKey,
    pub(crate) deadline: Duration,
}

impl Directory<'_> {
    pub(crate) fn catalog(&self) -> Result<Catalog, Error> {
        let bytes = self.signed("catalog", "the catalog", catalog::MAX_BYTES)?;
        Catalog::parse(&bytes).map_err(|cause| Error::Content { name: "the catalog".into(), cause })
    }

    /// The node's own file; most nodes have none.
    pub(crate) fn node(&self, mac: Mac, site: &str) -> Result<Option<NodeFile>, Error> {
        let name = format!("nodes/{}", mac.hyphenated());
        let bytes = match self.signed(&name, "the node's file", nodefile::MAX_BYTES) {
            Err(Error::Fetch { cause: tftp::Error::NotFound, name: missing, .. }) if missing == name => {
                return Ok(None);
            }
            other => other?,
        };
        let node = NodeFile::parse(&bytes).map_err(|cause| Error::Content { name: name.clone(), cause })?;
        // A file that the site signed for another node would give this one the other's name and secrets.
        if node.mac != mac {
            return Err(Error::NotOurs { name, what: node.mac.to_string() });
        }
        if node.site != site {
            return Err(Error::NotOurs { name, what: format!("the site {:?}", node.site) });
        }
        Ok(Some(node))
    }

    /// The archive of the node's own files; empty where it has none.
    pub(crate) fn overlay(&self, node: &NodeFile) -> Result<Vec<u8>, Error> {
        let Some(overlay) = &node.overlay else { return Ok(Vec::new()) };
        let name = format!("nodes/{}.cpio", node.mac.hyphenated());
        let bytes = self.fetch(&name, usize::try_from(overlay.length).unwrap_or(usize::MAX))?;
        trust::check_sum("the node's overlay", &bytes, &overlay.sha256)?;
        Ok(bytes)
    }

    /// The SHA-256 of each piece of an image.
    pub(crate) fn pieces(&self, image: &Image) -> Result<Vec<u8>, Error> {
        let pieces =
            image.geometry().map_err(|cause| Error::Content { name: image.name.clone(), cause })?.pieces();
        let bytes = self.fetch(&format!("pieces/{}", image.info_hash), pieces as usize * 32)?;
        trust::check_sum("the piece list", &bytes, &image.pieces_sha256)?;
        Ok(bytes)
    }

    fn signed(&self, name: &str, what: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let bytes = self.fetch(name, limit)?;
        let signature = self.fetch(&format!("{name}.minisig"), MAX_SIGNATURE)?;
        self.key.check(what, &bytes, &signature)?;
        Ok(bytes)
    }

    fn fetch(&self, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
        tftp::fetch(self.master, name, limit, self.deadline).map_err(|cause| Error::Fetch {
            name: name.to_owned(),
            master: self.master,
            cause,
        })
    }
}
