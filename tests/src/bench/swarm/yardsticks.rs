//! What BootTorrent is compared with beside BitTorrent clients: one server that sends to each node by HTTP, and
//! multicast. Both are followed by one SHA-256 over the copy, by OpenSSL: coreutils' sha256sum of Debian 12 is four
//! times slower. Hashing after the download costs less than through a pipe, and nothing that 100 Mbit/s would show.

use super::contestant::{Contestant, Place, Ready, Scene, Server, package, text};
use crate::error::LabError;
use crate::process::run;

/// Behind a download into `$1`: the copy's sum, then the mark.
const VERIFY: &str = "openssl dgst -sha256 \"$1\" && : > \"$BT_DONE\"";

fn shell(download: &str, place: &Place) -> Vec<String> {
    let script = format!("{download} && {VERIFY}");
    let mut argv: Vec<String> = ["sh", "-c", &script, "node"].map(str::to_owned).into();
    argv.push(text(&place.copy));
    argv
}

pub(crate) struct Http;

impl Contestant for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn about(&self) -> Result<String, LabError> {
        let nginx = run(&["sh", "-c", "nginx -v 2>&1"])?;
        let curl = run(&["curl", "--version"])?;
        let curl: Vec<&str> = curl.split(' ').take(2).collect();
        let nginx = nginx.trim().trim_start_matches("nginx version: ");
        Ok(format!("{nginx} (1 process, sendfile), {}; curl, then openssl dgst -sha256", curl.join(" ")))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        let conf = scene.lab.path("nginx.conf");
        let folder = text(&scene.lab.path(""));
        let content = format!(
            "daemon off; master_process off; user root; pid {folder}/nginx.pid; error_log {folder}/nginx.err;\n\
             events {{}}\n\
             http {{ access_log off; sendfile on; server {{ listen 10.0.0.1:80; root {}; }} }}\n",
            scene.ram.display()
        );
        std::fs::write(&conf, content).map_err(LabError::io("write", &conf))?;
        let argv = vec!["nginx".into(), "-c".into(), text(&conf)];
        Ok(vec![Server { argv, ready: Ready::Tcp(80) }])
    }

    fn node(&self, _: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        Ok(shell("curl -sSf -o \"$1\" http://10.0.0.1/image", place))
    }

    fn is_peer(&self) -> bool {
        false
    }
}

pub(crate) struct Udpcast;

impl Contestant for Udpcast {
    fn name(&self) -> &'static str {
        "udpcast"
    }

    fn about(&self) -> Result<String, LabError> {
        let version = package("udpcast")?;
        Ok(format!(
            "{version}; udp-sender --min-receivers N, no pacing; udp-receiver, then openssl dgst -sha256"
        ))
    }

    fn servers(&self, scene: &Scene) -> Result<Vec<Server>, LabError> {
        let line = ["udp-sender", "--interface", "eth0", "--nokbd", "--no-progress", "--min-receivers"];
        let mut argv: Vec<String> = line.map(str::to_owned).into();
        argv.extend([scene.nodes.to_string(), "--file".into(), text(&scene.torrent.data)]);
        Ok(vec![Server { argv, ready: Ready::Udp(9001) }])
    }

    fn node(&self, _: &Scene, place: &Place) -> Result<Vec<String>, LabError> {
        Ok(shell("udp-receiver --interface eth0 --nokbd --no-progress --file \"$1\"", place))
    }

    fn is_peer(&self) -> bool {
        false
    }
}
