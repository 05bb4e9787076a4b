//! The site's key: made once, kept outside of the site folder, readable by its owner only.
//! Decides what a signature says; never overwrites a key.

use crate::error::Error;
use boottorrent_masterd::store::{Context, write_atomically};
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where the key is unless --key says otherwise.
pub(crate) const DEFAULT: &str = "/etc/boottorrent/site.key";
/// Fixed: what is signed has its own version and generation, and a time would make every run's bytes differ.
const TRUSTED_COMMENT: &str = "boottorrent";
const UNTRUSTED_COMMENT: &str = "signature by the key of a BootTorrent site";

/// Both halves of the key.
pub(crate) struct SiteKey {
    secret: SecretKey,
    public: PublicKey,
}

impl SiteKey {
    pub(crate) fn read(path: &Path) -> Result<SiteKey, Error> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(e) => {
                let path = path.display();
                return Err(Error::Told(format!(
                    "{path}: there is no site key ({e}); make one with `boottorrent-gen init DIR`, or name it with --key"
                )));
            }
        };
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(Error::Told(format!(
                "{path}: others can read the site key (mode {mode:o}); chmod 600 {path}"
            )));
        }
        let text = fs::read_to_string(path).at(path, "be read")?;
        let secret = SecretKeyBox::from_string(&text).and_then(SecretKeyBox::into_unencrypted_secret_key);
        let wrong = |e| {
            let path = path.display();
            Error::Told(format!("{path}: no unencrypted minisign key ({e}); name another one with --key"))
        };
        let secret = secret.map_err(wrong)?;
        let public = PublicKey::from_secret_key(&secret).map_err(wrong)?;
        Ok(SiteKey { secret, public })
    }

    /// Makes a new key with its public half beside it.
    pub(crate) fn create(path: &Path) -> Result<(), Error> {
        let told = |e| Error::Told(format!("{}: cannot make a key: {e}", path.display()));
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).at(folder, "be made")?;
        let pair = KeyPair::generate_unencrypted_keypair().map_err(told)?;
        let secret = pair.sk.to_box(Some("secret key of a BootTorrent site")).map_err(told)?.into_string();
        // Written aside and linked: it is there whole or not at all, and never in the place of another one.
        let staged = path.with_extension("key.tmp");
        let _none_of_an_earlier_run = fs::remove_file(&staged);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&staged)
            .at(&staged, "be made")?;
        file.write_all(secret.as_bytes()).at(&staged, "be written")?;
        file.sync_all().at(&staged, "be brought to disk")?;
        fs::hard_link(&staged, path).at(path, "be made")?;
        fs::remove_file(&staged).at(&staged, "be removed")?;
        let public = pair.pk.to_box().map_err(told)?.into_string();
        write_atomically(&public_path(path), public.as_bytes())?;
        Ok(())
    }

    /// The line of a public key file that is the key.
    pub(crate) fn public_base64(&self) -> String {
        self.public.to_base64()
    }

    /// A signature in minisign's form. Its bytes differ from run to run (it is hedged with random bytes), so what
    /// is compared between generations leaves signatures out.
    pub(crate) fn sign(&self, bytes: &[u8]) -> Result<String, Error> {
        let comments = (Some(TRUSTED_COMMENT), Some(UNTRUSTED_COMMENT));
        minisign::sign(Some(&self.public), &self.secret, bytes, comments.0, comments.1)
            .map(|s| s.into_string())
            .map_err(|e| Error::Told(format!("the site key cannot sign: {e}")))
    }
}

pub(crate) fn public_path(secret: &Path) -> PathBuf {
    secret.with_extension("pub")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn a_key_signs_what_its_public_half_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/site.key");
        SiteKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(SiteKey::create(&path).is_err(), "a key is never overwritten");
        let key = SiteKey::read(&path).unwrap();
        let published = fs::read_to_string(public_path(&path)).unwrap();
        assert_eq!(published.lines().nth(1), Some(key.public_base64().as_str()));
        let signature = minisign::SignatureBox::from_string(&key.sign(b"catalog").unwrap()).unwrap();
        let public = PublicKey::from_base64(&key.public_base64()).unwrap();
        let verify = |bytes: &'static [u8]| {
            minisign::verify(&public, &signature, Cursor::new(bytes), true, false, false)
        };
        assert!(verify(b"catalog").is_ok() && verify(b"catalog2").is_err());
        assert_eq!(signature.trusted_comment().unwrap(), TRUSTED_COMMENT);
    }

    #[test]
    fn an_open_key_and_no_key_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.key");
        let told = |path: &Path| SiteKey::read(path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(told(&path).contains("there is no site key"));
        SiteKey::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(told(&path).contains("others can read the site key (mode 640)"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nonsense").unwrap();
        assert!(told(&path).contains("no unencrypted minisign key"));
    }
}
