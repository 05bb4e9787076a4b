//! What a contestant of a race must say of itself, and who there is. A contestant decides on commands only: who waits,
//! counts and compares is the race, and is the same for all.

use super::clients::{Aria2, Rqbit, Transmission};
use super::group::Group;
use super::libtorrent::Libtorrent;
use super::ours::Ours;
use super::yardsticks::{Http, Udpcast};
use crate::clock::wait_for;
use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Host;
use crate::process::{Launch, Process, run, tail};
use crate::torrent::Torrent;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const READY: Duration = Duration::from_secs(60);

/// The foreign clients' tracker.
pub(crate) const ANNOUNCE: &str = "http://10.0.0.1:6969/announce";

pub trait Contestant {
    fn name(&self) -> &'static str;
    /// Exact versions, and the flags that matter.
    ///
    /// # Errors
    /// When the program is not there.
    fn about(&self) -> Result<String, LabError>;
    /// What runs on the master before the start, in order.
    ///
    /// # Errors
    /// `Io` when a file that they need can't be written.
    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError>;
    /// A node's command. It makes the file that `BT_DONE` names when its copy is there and verified.
    ///
    /// # Errors
    /// As `servers`.
    fn node(&self, scene: &Scene, place: &Place) -> Result<Vec<String>, LabError>;
    /// Bytes that a node that is done received twice, if it says so.
    fn duplicates(&self, _place: &Place, _process: &mut Process) -> Option<f64> {
        None
    }
    /// Whether it is a rival of the same kind; the others are yardsticks.
    fn is_peer(&self) -> bool {
        true
    }
}

/// In the order of the tables.
pub const ALL: [&dyn Contestant; 8] = [
    &Ours,
    &Http,
    &Udpcast,
    &Libtorrent { name: "lt-tcp", high_performance: false },
    &Libtorrent { name: "lt-hp", high_performance: true },
    &Aria2,
    &Rqbit,
    &Transmission,
];

/// What a contestant may use.
pub struct Scene<'a> {
    pub(crate) lab: &'a Lab,
    /// Holds the image and the torrent, and the nodes' folders.
    pub(crate) ram: &'a Path,
    pub(crate) torrent: &'a Torrent,
    pub(crate) master: &'a Host,
    pub(crate) nodes: u8,
}

/// A node's own.
pub struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) copy: PathBuf,
    pub(crate) done: PathBuf,
    pub(crate) log: PathBuf,
    /// A folder for settings, and a file for statistics.
    pub(crate) settings: PathBuf,
    pub(crate) stats: PathBuf,
}

impl Place {
    /// When the node was done, by its own mark.
    pub(crate) fn seconds_after(&self, start: SystemTime) -> Result<f64, LabError> {
        let time = self.done.metadata().and_then(|file| file.modified());
        let time = time.map_err(LabError::io("read the time of", &self.done))?;
        Ok(time.duration_since(start).unwrap_or_default().as_secs_f64())
    }
}

/// A program of the master.
pub struct Server {
    pub(crate) argv: Vec<String>,
    pub(crate) ready: Ready,
}

/// When a server serves.
pub(crate) enum Ready {
    Tcp(u16),
    Udp(u16),
    /// The tracker knows a complete peer.
    Seeding,
}

impl Scene<'_> {
    pub(crate) fn place(&self, number: u8) -> Result<Place, LabError> {
        let folder = self.ram.join(format!("n{number}"));
        let settings = self.lab.path(&format!("n{number}"));
        for made in [&folder, &settings] {
            std::fs::create_dir_all(made).map_err(LabError::io("make", made))?;
        }
        let copy = folder.join(self.torrent.data.file_name().unwrap_or_default());
        let leaf = |ending: &str| self.lab.path(&format!("n{number}.{ending}"));
        // In memory as well: the time that a file system on a disk gives may wait for the disk.
        let done = self.ram.join(format!("n{number}.done"));
        Ok(Place { folder, copy, done, log: leaf("log"), settings, stats: leaf("json") })
    }

    pub(crate) fn serve(&self, who: &dyn Contestant, group: &Group) -> Result<Vec<Process>, LabError> {
        let mut running = Vec::new();
        for (number, server) in (1..).zip(who.servers(self)?) {
            let log = self.lab.path(&format!("m{number}.log"));
            let process = Launch::new(&server.argv, log).netns(&self.master.netns).start()?;
            group.take(process.pid())?;
            self.wait_ready(&server, &process)?;
            running.push(process);
        }
        Ok(running)
    }

    fn wait_ready(&self, server: &Server, process: &Process) -> Result<(), LabError> {
        let seen = |argv: &[&str], text: &str| {
            let seen = self.master.run(argv).unwrap_or_default();
            if seen.contains(text) { Ok(()) } else { Err(format!("{seen}\n{}", tail(&process.log()))) }
        };
        wait_for(&format!("the service of `{}`", server.argv.join(" ")), READY, || match server.ready {
            Ready::Tcp(port) => seen(&["ss", "-Hnlt"], &format!(":{port} ")),
            Ready::Udp(port) => seen(&["ss", "-Hnlu"], &format!(":{port} ")),
            Ready::Seeding => seen(&["curl", "-s", &self.scrape()], "8:completei1e"),
        })
    }

    /// What asks the tracker about the torrent.
    fn scrape(&self) -> String {
        let hash = self.torrent.info_hash.as_bytes();
        let escaped: String =
            hash.chunks(2).map(|byte| format!("%{}", String::from_utf8_lossy(byte))).collect();
        format!("{}?info_hash={escaped}", ANNOUNCE.replace("announce", "scrape"))
    }

    /// opentracker, then a client that seeds the image.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn tracked(&self, seed: Vec<String>) -> Result<Vec<Server>, LabError> {
        // Debian's serves no torrent that is not listed.
        let list = self.lab.path("whitelist");
        let line = format!("{}\n", self.torrent.info_hash);
        std::fs::write(&list, line).map_err(LabError::io("write", &list))?;
        let mut argv: Vec<String> =
            ["opentracker", "-i", "10.0.0.1", "-p", "6969", "-P", "6969", "-w"].map(str::to_owned).into();
        argv.push(text(&list));
        Ok(vec![Server { argv, ready: Ready::Tcp(6969) }, Server { argv: seed, ready: Ready::Seeding }])
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The version of a Debian package, as it is installed.
pub(crate) fn package(name: &str) -> Result<String, LabError> {
    Ok(format!("{name} {}", run(&["dpkg-query", "-W", "-f", "${Version}", name])?))
}
