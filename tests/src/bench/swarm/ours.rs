//! BootTorrent: the node's engine (`boottorrent-agent fetch`), the seed and the tracker as they are. A node verifies by
//! the list of SHA-256, which is what it takes from the signed catalog; nobody reads the torrent's SHA-1 but the seed.

use super::contestant::{Contestant, Place, Ready, Scene, Server, text};
use crate::error::LabError;
use crate::process::{Process, read_text, run};
use crate::programs;
use serde_json::Value;
use std::time::Duration;

const SEED: &str = "10.0.0.1:6881";
const TRACKER: &str = "10.0.0.1:6969";
/// A node shares for as long as others need it, and leaves then.
const LINGER: Duration = Duration::from_secs(150);

pub(crate) struct Ours;

impl Contestant for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn about(&self) -> Result<String, LabError> {
        let seed = run(&[&text(&programs::path("boottorrent-seed")), "--version"])?;
        let agent = programs::agent();
        let bytes = agent.metadata().map_err(LabError::io("read", &agent))?.len();
        Ok(format!("{}, agent of {bytes} bytes; fetch --pieces (SHA-256) --linger auto", seed.trim()))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        let store = scene.lab.path("store");
        let current = store.join("current");
        std::fs::create_dir_all(&current).map_err(LabError::io("make", &current))?;
        let config = current.join("tracker.toml");
        let toml = format!(
            "interval-seconds = 10\nseeds = [\"{SEED}\"]\n[[torrents]]\ninfo-hash = \"{}\"\nname = \"bench\"\n",
            scene.torrent.info_hash
        );
        std::fs::write(&config, toml).map_err(LabError::io("write", config))?;
        let program = |name: &str| text(&programs::path(name));
        let word = str::to_owned;
        let tracker = vec![
            program("boottorrent-tracker"),
            word("--store"),
            text(&store),
            word("--listen"),
            word(TRACKER),
        ];
        let seed = vec![
            program("boottorrent-seed"),
            word("--torrent"),
            text(&scene.torrent.file),
            word("--data"),
            text(&scene.torrent.data),
            word("--listen"),
            word(SEED),
        ];
        Ok(vec![
            Server { argv: tracker, ready: Ready::Udp(6969) },
            Server { argv: seed, ready: Ready::Tcp(6881) },
        ])
    }

    fn node(&self, scene: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        let paths = [
            text(&programs::agent()),
            "fetch".to_owned(),
            text(&scene.torrent.file),
            "--to".to_owned(),
            text(&place.folder),
            "--pieces".to_owned(),
            text(&scene.torrent.pieces),
            "--stats".to_owned(),
            text(&place.stats),
        ];
        let rest = ["--tracker", TRACKER, "--peer", SEED, "--listen", "0.0.0.0:6881", "--linger", "auto"];
        let done = ["--on-complete", ": > \"$BT_DONE\""];
        Ok(paths.into_iter().chain(rest.iter().chain(&done).map(|word| (*word).to_owned())).collect())
    }

    fn duplicates(&self, place: &Place, process: &mut Process) -> Option<f64> {
        process.wait(LINGER).ok()?;
        let stats: Value = serde_json::from_str(&read_text(&place.stats)).ok()?;
        stats.get("bytes_duplicate")?.as_f64()
    }
}
