//! libtorrent by its Python binding, with uTP off (it costs it a factor), as it comes and as its authors tune it.

use super::contestant::{ANNOUNCE, Contestant, Place, Scene, Server, text};
use crate::error::LabError;
use crate::process::{Process, read_text, run};

const SCRIPT: &str = include_str!("libtorrent.py");
/// Debian's own, for which the binding is built.
const PYTHON: &str = "/usr/bin/python3";

pub(crate) struct Libtorrent {
    pub(crate) name: &'static str,
    pub(crate) high_performance: bool,
}

impl Libtorrent {
    fn argv(&self, scene: &Scene, folder: String) -> Result<Vec<String>, LabError> {
        let kind = if self.high_performance { "hp" } else { "tcp" };
        let torrent = text(&scene.torrent.announced(ANNOUNCE)?);
        Ok(vec![PYTHON.into(), "-c".into(), SCRIPT.into(), kind.into(), torrent, folder])
    }
}

impl Contestant for Libtorrent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> Result<String, LabError> {
        let version = run(&[PYTHON, "-c", "import libtorrent; print(libtorrent.version)"])?;
        let kind = if self.high_performance {
            "high_performance_seed(), connection_speed 500, no smooth_connects"
        } else {
            "defaults"
        };
        Ok(format!("libtorrent {}; {kind}; uTP, DHT, LSD, port mapping off", version.trim()))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        scene.tracked(self.argv(scene, text(scene.ram))?)
    }

    fn node(&self, scene: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        self.argv(scene, text(&place.folder))
    }

    fn duplicates(&self, place: &Place, _: &mut Process) -> Option<f64> {
        read_text(&place.done).trim().parse().ok()
    }
}
