//! Orders for a node's next boot: a file each, written by boottorrentctl or for a node that asks, and taken by the DHCP
//! server. Decides their form and how they get into their folder and out; never when one applies.
//!
//! The folder belongs to the services' user, and root writes into it: nothing in it is followed that is a link.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use boottorrent_swarm::Mac;
use boottorrent_swarm::next_boot::NextBoot;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

/// Below the services' run folder.
const FOLDER: &str = "next-boot";
/// Bytes of an order that are read: a name and two words.
const MAX_BYTES: u64 = 1024;
/// Orders that are listed: one a lease of a large site.
const MAX_LISTED: usize = 65_536;

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Author {
    /// Whoever ran boottorrentctl.
    Master,
    /// Whoever stood at the node.
    Node,
}

/// What a node boots next, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// The image; none: its own disk.
    pub(crate) os: Option<String>,
    /// Seconds since 1970; a node that does not come by then boots as usual.
    pub(crate) until: u64,
    pub(crate) by: Author,
}

impl Order {
    pub(crate) fn next_boot(&self) -> NextBoot {
        self.os.clone().map_or(NextBoot::LocalDisk, NextBoot::Os)
    }

    /// `"debian"`, or `its own disk`.
    pub(crate) fn in_words(&self) -> String {
        self.os.as_ref().map_or_else(|| "its own disk".to_owned(), |name| format!("{name:?}"))
    }
}

/// The folder of orders.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    path: PathBuf,
}

impl Orders {
    pub(crate) fn below(run: &Path) -> Self {
        Self { path: run.join(FOLDER) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, as its owner.
    pub(crate) fn make(&self) -> io::Result<()> {
        match std::fs::create_dir(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// A node's order, whether its time is over or not.
    pub(crate) fn get(&self, mac: Mac) -> io::Result<Option<Order>> {
        match self.open() {
            Ok(folder) => read(&folder, &mac.hyphenated()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Replaces a node's order: whole or not at all.
    pub(crate) fn put(&self, mac: Mac, order: &Order) -> io::Result<()> {
        let folder = self.open()?;
        let (name, fresh) = (mac.hyphenated(), format!(".{}.{}", mac.hyphenated(), std::process::id()));
        let _absent = unlinkat(&folder, fresh.as_str(), UnlinkatFlags::NoRemoveDir);
        // A name that somebody else has made meanwhile is an error, whatever it leads to.
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let readable = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IROTH;
        let mut file = File::from(openat(&folder, fresh.as_str(), flags, readable)?);
        // The server that reads it is another user, whatever the umask of whoever writes.
        file.set_permissions(Permissions::from_mode(readable.bits()))?;
        file.write_all(&serde_json::to_vec(order)?)?;
        renameat(&folder, fresh.as_str(), &folder, name.as_str())?;
        Ok(())
    }

    /// False: there was none.
    pub(crate) fn remove(&self, mac: Mac) -> io::Result<bool> {
        let removed = unlinkat(&self.open()?, mac.hyphenated().as_str(), UnlinkatFlags::NoRemoveDir);
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// All that can be read.
    pub(crate) fn all(&self) -> io::Result<Vec<(Mac, Order)>> {
        let folder = match self.open() {
            Ok(folder) => folder,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let entries = std::fs::read_dir(&self.path)?.take(MAX_LISTED);
        let orders = entries.filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            Some((name.parse().ok()?, read(&folder, &name).ok()??))
        });
        Ok(orders.collect())
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(nix::fcntl::open(&self.path, flags, Mode::empty())?.into())
    }
}

fn read(folder: &File, name: &str) -> io::Result<Option<Order>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

    fn order(os: Option<&str>) -> Order {
        Order { os: os.map(str::to_owned), until: 1000, by: Author::Master }
    }

    #[test]
    fn an_order_is_put_read_listed_and_taken() {
        let run = tempfile::tempdir().unwrap();
        let orders = Orders::below(run.path());
        assert_eq!((orders.get(MAC).unwrap(), orders.all().unwrap()), (None, vec![]), "no folder, no order");
        assert!(orders.put(MAC, &order(None)).is_err());
        orders.make().unwrap();
        orders.make().unwrap();
        assert_eq!(orders.get(MAC).unwrap(), None);
        orders.put(MAC, &order(None)).unwrap();
        orders.put(MAC, &order(Some("debian"))).unwrap();
        let mode = orders.path().join(MAC.hyphenated()).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "the server is another user");
        std::fs::write(orders.path().join("52-54-00-00-00-02"), "{\"os\": 3}").unwrap();
        std::fs::write(orders.path().join("something-else"), "").unwrap();
        assert_eq!(orders.get(MAC).unwrap(), Some(order(Some("debian"))));
        assert_eq!(orders.all().unwrap(), [(MAC, order(Some("debian")))]);
        assert_eq!((orders.remove(MAC).unwrap(), orders.remove(MAC).unwrap()), (true, false));
    }

    #[test]
    fn links_are_not_followed() {
        let run = tempfile::tempdir().unwrap();
        let orders = Orders::below(run.path());
        let elsewhere = run.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, orders.path()).unwrap();
        assert!(orders.put(MAC, &order(None)).is_err());
        std::fs::remove_file(orders.path()).unwrap();
        orders.make().unwrap();
        let secret = run.path().join("secret");
        std::fs::write(&secret, serde_json::to_vec(&order(None)).unwrap()).unwrap();
        std::os::unix::fs::symlink(&secret, orders.path().join(MAC.hyphenated())).unwrap();
        assert!(orders.get(MAC).is_err());
        let told = std::fs::read(&secret).unwrap();
        orders.put(MAC, &order(Some("debian"))).unwrap();
        assert_eq!(std::fs::read(&secret).unwrap(), told, "the link was replaced, not what it leads to");
    }
}
