//! A room that the product boots: wire, master with the product installed, and its nodes' reports.
//! The common ground of tests and demo; what happens in it is theirs.

use crate::board::Board;
use crate::clock::wait_for;
use crate::error::LabError;
use crate::installation;
use crate::lab::Lab;
use crate::master::Master;
use crate::node::{Node, NodeSpec};
use crate::os::{self, Kernel};
use crate::programs;
use crate::site::{IMAGES, KERNEL, Site};
use std::time::Duration;

/// Where the site folder stands in the master.
pub const SITE: &str = "/srv/site";
const STATE: Duration = Duration::from_secs(20);

/// Dropped from the first field to the last: the master leaves the wire before the wire goes.
pub struct Room {
    pub master: Master,
    pub kernel: Kernel,
    pub lab: Lab,
}

impl Room {
    /// A master with the product installed and nothing compiled.
    ///
    /// # Errors
    /// When something is not built, or the kernel refuses a part of the lab.
    pub fn new() -> Result<Self, LabError> {
        let kernel = os::kernel()?;
        os::small()?;
        os::program()?;
        let mut binds = installation::files()?;
        let lab = Lab::new()?;
        binds.push((kernel.folder.clone(), KERNEL.into()));
        binds.push((programs::cache().join("os"), IMAGES.into()));
        let master = Master::boot(&lab, "10.0.0.1/24", &binds)?;
        Ok(Self { master, kernel, lab })
    }

    /// A master that has compiled the site and serves it.
    ///
    /// # Errors
    /// As `new`, `compile` and `start`.
    pub fn serving(site: &Site) -> Result<Self, LabError> {
        let room = Self::new()?;
        room.compile(site)?;
        room.start()?;
        Ok(room)
    }

    /// Writes the site folder, makes a key when there is none, and compiles; returns what gen said.
    ///
    /// # Errors
    /// `Command` with the findings when the site is refused.
    pub fn compile(&self, site: &Site) -> Result<String, LabError> {
        site.write(&self.master, SITE, &self.kernel.version)?;
        self.master.run("test -e /etc/boottorrent/site.key || boottorrent-gen init /tmp/key-only >&2")?;
        self.master.run(&format!("boottorrent-gen {SITE} 2>&1"))
    }

    /// # Errors
    /// `Command` when systemd refuses.
    pub fn start(&self) -> Result<(), LabError> {
        self.master.run("systemctl start boottorrent.target").map(drop)
    }

    /// # Errors
    /// As `Node::switch_on`.
    pub fn node(&self, spec: &NodeSpec) -> Result<Node, LabError> {
        Node::switch_on(&self.lab, spec.clone())
    }

    /// A service's state file.
    ///
    /// # Errors
    /// `Command` while the service has written none.
    pub fn state(&self, service: &str) -> Result<serde_json::Value, LabError> {
        let text = self.master.run(&format!("cat /run/boottorrent/{service}.json"))?;
        serde_json::from_str(&text)
            .map_err(|error| LabError::Machine(format!("{service}.json: {error}: {text}")))
    }

    /// Bytes of blocks that the running seed has sent; none before its first peer.
    #[must_use]
    pub fn sent_by_seed(&self) -> u64 {
        self.state("seed").ok().and_then(|state| state.get("bytes_out")?.as_u64()).unwrap_or(0)
    }

    /// Info-hash and number of pieces of the only image, as the store has them.
    ///
    /// # Errors
    /// `Command` without a store, `Machine` when it holds several images.
    pub fn torrent(&self) -> Result<([u8; 20], usize), LabError> {
        let line = "cd /var/lib/boottorrent/current/tftp/pieces && stat -c '%n %s' *";
        let listing = self.master.run(line)?;
        parse_listing(listing.trim())
            .ok_or_else(|| LabError::Machine(format!("not the piece list of one image: {listing}")))
    }

    /// What the nodes have reported.
    ///
    /// # Errors
    /// As `state`.
    pub fn board(&self) -> Result<Board, LabError> {
        Ok(Board::new(&self.state("log")?))
    }

    /// Waits until the board shows something.
    ///
    /// # Errors
    /// `Timeout` with the last state.
    pub fn expect_board<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&Board) -> Option<T>,
    ) -> Result<T, LabError> {
        wait_for(what, STATE, || {
            let board = self.board().map_err(|error| error.to_string())?;
            look(&board).ok_or_else(|| format!("{board:#?}"))
        })
    }
}

/// `<40 hex digits> <bytes>`; 32 bytes a piece.
fn parse_listing(line: &str) -> Option<([u8; 20], usize)> {
    let (hex, bytes) = line.split_once(' ')?;
    let mut hash = [0; 20];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some((hash, bytes.parse::<usize>().ok()? / 32))
}
