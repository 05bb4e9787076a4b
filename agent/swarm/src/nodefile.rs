//! A node's own signed file: what the site says of one machine, by its MAC.
//! Decides what is a legal node file; never checks the signature.

use crate::Mac;
use crate::bencode::{self, Writer};
use crate::catalog::{Error, array, check_format, text};
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of a node file that a node reads.
pub const MAX_BYTES: usize = 64 * 1024;
/// Bytes of an overlay: it travels by TFTP, so it is for configuration, not for images.
pub const MAX_OVERLAY: u64 = 16 << 20;

/// What the site says of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFile {
    pub site: String,
    pub mac: Mac,
    pub name: String,
    /// The image that it boots without a menu.
    pub os: Option<String>,
    /// Added to the image's command line, a [`crate::template`].
    pub cmdline: String,
    /// The archive `nodes/<mac>.cpio`, laid over the image.
    pub overlay: Option<Overlay>,
}

/// A newc archive of the node's own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlay {
    /// Bytes.
    pub length: u64,
    pub sha256: [u8; 32],
}

impl NodeFile {
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.dict(|w| {
            w.str("cmdline").str(&self.cmdline).str("format").int(1);
            w.str("mac").bytes(&self.mac.0).str("name").str(&self.name);
            if let Some(os) = &self.os {
                w.str("os").str(os);
            }
            if let Some(overlay) = &self.overlay {
                w.str("overlay").dict(|w| {
                    w.str("length").int(overlay.length).str("sha256").bytes(&overlay.sha256);
                });
            }
            w.str("site").str(&self.site);
        });
        w.finish()
    }

    /// # Errors
    /// Not canonical bencode, a key missing, a newer format, an overlay above [`MAX_OVERLAY`].
    pub fn parse(bytes: &[u8]) -> Result<NodeFile, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::Key("(root)"));
        }
        let document = bencode::parse_canonical(bytes)?;
        let root = document.as_dict().ok_or(Error::Key("(root)"))?;
        check_format(root)?;
        let overlay = match root.dict("overlay") {
            None => None,
            Some(o) => Some(Overlay {
                length: o.uint("length").filter(|l| *l <= MAX_OVERLAY).ok_or(Error::Key("overlay"))?,
                sha256: array(o, "sha256")?,
            }),
        };
        Ok(NodeFile {
            site: text(root, "site")?,
            mac: Mac(array(root, "mac")?),
            name: text(root, "name")?,
            os: root.str("os").map(String::from),
            cmdline: text(root, "cmdline")?,
            overlay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_file_reads_back() {
        let mut n = NodeFile {
            site: "lab".into(),
            mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
            name: "n01".into(),
            os: Some("debian".into()),
            cmdline: "role=worker".into(),
            overlay: Some(Overlay { length: 512, sha256: [9; 32] }),
        };
        assert_eq!(NodeFile::parse(&n.emit()).unwrap(), n);
        n.os = None;
        n.overlay = None;
        assert_eq!(NodeFile::parse(&n.emit()).unwrap(), n);
        n.overlay = Some(Overlay { length: MAX_OVERLAY + 1, sha256: [9; 32] });
        assert_eq!(NodeFile::parse(&n.emit()), Err(Error::Key("overlay")));
    }
}
