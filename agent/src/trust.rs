//! The site's signature: what the master sends counts only if the key in the bootstrap image made it.
//!
//! Decides whether bytes are the site's. Never parses them, and never says yes without a key.

use std::fmt;
use std::fs;

use minisign_verify::{PublicKey, Signature};
use sha2::{Digest as _, Sha256};

/// Bytes of a signature file: two base64 lines and two comments.
pub(crate) const MAX_SIGNATURE: usize = 1024;

pub(crate) struct SiteKey(PublicKey);

/// Why something is not believed.
#[derive(Debug)]
pub(crate) enum Error {
    NoKey { path: String, cause: String },
    NotASignature { what: String },
    Forged { what: String },
    WrongSum { what: String },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKey { path, cause } => {
                write!(
                    f,
                    "{path}: no site key: {cause}; build the bootstrap image again with boottorrent-gen"
                )
            }
            Self::NotASignature { what } => {
                write!(f, "refused: the signature of {what} is none of minisign's")
            }
            Self::Forged { what } => {
                write!(
                    f,
                    "refused: the signature of {what} is not by this site's key, or {what} was changed after it"
                )
            }
            Self::WrongSum { what } => write!(f, "refused: {what} is not the one that the site signed"),
        }
    }
}

impl std::error::Error for Error {}

impl SiteKey {
    /// The key that was baked into the bootstrap image: the base64 line, alone or below its comment.
    pub(crate) fn read(path: &str) -> Result<Self, Error> {
        let unusable = |cause: String| Error::NoKey { path: path.to_owned(), cause };
        let text = fs::read_to_string(path).map_err(|e| unusable(e.to_string()))?;
        Self::parse(&text).map_err(unusable)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        PublicKey::from_base64(line).map(Self).map_err(|e| e.to_string())
    }

    /// Passes `bytes` only with a signature of this key. `what` is what a person calls them.
    pub(crate) fn check(&self, what: &str, bytes: &[u8], signature: &[u8]) -> Result<(), Error> {
        let text = std::str::from_utf8(signature).unwrap_or_default();
        let signature =
            Signature::decode(text).map_err(|_| Error::NotASignature { what: what.to_owned() })?;
        // The legacy form (not prehashed) is never made by boottorrent-gen.
        self.0.verify(bytes, &signature, false).map_err(|_| Error::Forged { what: what.to_owned() })
    }
}

/// Passes `bytes` only if their SHA-256 is the one that something signed names.
pub(crate) fn check_sum(what: &str, bytes: &[u8], sha256: &[u8; 32]) -> Result<(), Error> {
    if Sha256::digest(bytes).as_slice() == sha256 {
        Ok(())
    } else {
        Err(Error::WrongSum { what: what.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// minisign's own example key and signature of "test" (from its documentation).
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==\n";

    #[test]
    fn passes_the_sites_own_words_only() {
        let key = SiteKey::parse(&format!("untrusted comment: site\n{KEY}\n")).unwrap();
        assert!(key.check("the catalog", b"test", SIGNATURE.as_bytes()).is_ok());
        let forged = key.check("the catalog", b"Test", SIGNATURE.as_bytes()).unwrap_err();
        assert!(
            forged.to_string().contains("the signature of the catalog is not by this site's key"),
            "{forged}"
        );
        assert!(matches!(key.check("the catalog", b"test", b"\xff"), Err(Error::NotASignature { .. })));
        let comment = SIGNATURE.replace("file:test", "file:best");
        assert!(
            key.check("the catalog", b"test", comment.as_bytes()).is_err(),
            "the trusted comment is signed too"
        );
    }

    #[test]
    fn a_key_is_whole_or_named() {
        assert!(SiteKey::parse(KEY).is_ok());
        assert!(SiteKey::parse("").is_err());
        let error = SiteKey::read("/nonexistent/site.pub").err().unwrap();
        assert!(error.to_string().starts_with("/nonexistent/site.pub: no site key"), "{error}");
    }

    #[test]
    fn sums_must_match() {
        let sum: [u8; 32] = Sha256::digest(b"overlay").into();
        assert!(check_sum("the overlay", b"overlay", &sum).is_ok());
        assert!(check_sum("the overlay", b"overlaY", &sum).is_err());
    }
}
