//! BitTorrent clients with a command line: aria2, rqbit, Transmission. Each with the flags that make it fastest here,
//! and without what has no place in a closed network: DHT, local discovery, port mapping, uTP.

use super::contestant::{ANNOUNCE, Contestant, Place, Scene, Server, package, text};
use crate::error::LabError;
use crate::process::run;
use crate::programs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A program that makes the mark: aria2 and Transmission take a path, and no arguments.
fn marker(scene: &Scene) -> Result<PathBuf, LabError> {
    let file = scene.lab.path("mark");
    if !file.exists() {
        std::fs::write(&file, "#!/bin/sh\n: > \"$BT_DONE\"\n").map_err(LabError::io("write", &file))?;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, mode).map_err(LabError::io("make a program of", &file))?;
    }
    Ok(file)
}

pub(crate) struct Aria2;

const ARIA2: &str = "aria2c --enable-dht=false --enable-dht6=false --bt-enable-lpd=false --seed-ratio=0 --no-conf \
                     --listen-port=6881";

impl Contestant for Aria2 {
    fn name(&self) -> &'static str {
        "aria2"
    }

    fn about(&self) -> Result<String, LabError> {
        Ok(format!("{}; {ARIA2}", package("aria2")?))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        let mut argv = words(ARIA2);
        argv.extend(["--check-integrity=true".into(), format!("--dir={}", scene.ram.display())]);
        argv.push(text(&scene.torrent.announced(ANNOUNCE)?));
        scene.tracked(argv)
    }

    fn node(&self, scene: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        let mut argv = words(ARIA2);
        argv.push(format!("--dir={}", place.folder.display()));
        argv.push(format!("--on-bt-download-complete={}", marker(scene)?.display()));
        argv.push(text(&scene.torrent.announced(ANNOUNCE)?));
        Ok(argv)
    }
}

pub(crate) struct Rqbit;

const RQBIT: &str = "-i 5s --disable-dht --disable-lsd --disable-upnp-port-forward --ipv4-only --listen-ip 0.0.0.0 \
                     --listen-port 6881 download --disable-http-api --overwrite -o";
/// It runs nothing when it is done, but says so.
const RQBIT_NODE: &str =
    "\"$@\" 2>&1 | { grep -q -m 1 'torrent finished downloading' && : > \"$BT_DONE\"; cat; }";

impl Rqbit {
    fn argv(scene: &Scene, folder: &Path) -> Result<Vec<String>, LabError> {
        let mut argv = vec![text(&Self::program())];
        argv.extend(words(RQBIT));
        argv.extend([text(folder), text(&scene.torrent.announced(ANNOUNCE)?)]);
        Ok(argv)
    }

    /// Where tests/bench-contestants leaves it.
    fn program() -> PathBuf {
        programs::repository().join("target/contestants/bin/rqbit")
    }
}

impl Contestant for Rqbit {
    fn name(&self) -> &'static str {
        "rqbit"
    }

    fn about(&self) -> Result<String, LabError> {
        Ok(format!("{}; {RQBIT}", run(&[&text(&Self::program()), "--version"])?.trim()))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        scene.tracked(Self::argv(scene, scene.ram)?)
    }

    fn node(&self, scene: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        let mut argv: Vec<String> = ["sh", "-c", RQBIT_NODE, "node"].map(str::to_owned).into();
        argv.extend(Self::argv(scene, &place.folder)?);
        Ok(argv)
    }
}

pub(crate) struct Transmission;

const TRANSMISSION: &str = "transmission-daemon -f --no-utp -et --no-dht --no-lpd --no-portmap --no-watch-dir \
                            --no-incomplete-dir --no-global-seedratio --peerport 6881";

impl Transmission {
    /// The daemon takes up what lies in its settings' folder.
    fn argv(scene: &Scene, settings: &Path, folder: &Path) -> Result<Vec<String>, LabError> {
        let torrents = settings.join("torrents");
        std::fs::create_dir_all(&torrents).map_err(LabError::io("make", &torrents))?;
        let (from, to) = (scene.torrent.announced(ANNOUNCE)?, torrents.join("image.torrent"));
        std::fs::copy(&from, &to).map_err(LabError::io("write", to))?;
        let content = serde_json::json!({
            "script-torrent-done-enabled": true,
            "script-torrent-done-filename": text(&marker(scene)?),
            "rename-partial-files": false,
        });
        let file = settings.join("settings.json");
        std::fs::write(&file, content.to_string()).map_err(LabError::io("write", file))?;
        let mut argv = words(TRANSMISSION);
        argv.extend(["--config-dir".into(), text(settings), "--download-dir".into(), text(folder)]);
        Ok(argv)
    }
}

impl Contestant for Transmission {
    fn name(&self) -> &'static str {
        "transmission"
    }

    fn about(&self) -> Result<String, LabError> {
        Ok(format!("{}; {TRANSMISSION}", package("transmission-daemon")?))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        scene.tracked(Self::argv(scene, &scene.lab.path("m"), scene.ram)?)
    }

    fn node(&self, scene: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        Self::argv(scene, &place.settings, &place.folder)
    }
}
