//! The same OS without the product: iPXE loads it by HTTP from nginx, with dnsmasq for DHCP and TFTP.
//! A yardstick for benches, and the proof that a lab works when the product does not.

use crate::error::LabError;
use crate::lab::Lab;
use crate::network::Host;
use crate::process::{Launch, Process, run};
use std::path::Path;
use std::time::Duration;

const READY: Duration = Duration::from_secs(10);

/// A plain netboot server.
pub struct Straight {
    pub host: Host,
    _dnsmasq: Process,
    _nginx: Process,
}

impl Straight {
    /// Serves `image` at 10.0.0.1; the nodes get 10.0.0.100 and up. `wrapped` files appear in the initrd at their path.
    ///
    /// # Errors
    /// When dnsmasq or nginx can't be started, or a file can't be written.
    pub fn start(
        lab: &Lab,
        image: &Path,
        initrd: &str,
        wrapped: &[(&str, &str)],
        cmdline: &str,
    ) -> Result<Self, LabError> {
        let host = lab.network.host("m", "10.0.0.1/24")?;
        host.run(&["ip", "addr", "add", "fd77::1/64", "dev", "eth0", "nodad"])?;
        let root = lab.path("straight");
        std::fs::create_dir_all(&root).map_err(LabError::io("make", &root))?;
        link(&image.join("vmlinuz"), &root.join("vmlinuz"))?;
        link(&image.join(initrd), &root.join("initrd"))?;
        wrap(lab, image, wrapped, &root)?;
        write(&root.join("straight.ipxe"), &ipxe_script(cmdline))?;
        let conf = lab.path("nginx.conf");
        let folder = lab.path("").to_string_lossy().into_owned();
        write(&conf, &nginx_conf(&folder, &root))?;
        let nginx = Launch::new(&["nginx", "-c", &conf.to_string_lossy()], lab.path("nginx.log"))
            .netns(&host.netns)
            .start()?;
        let mut dnsmasq =
            Launch::new(&dnsmasq_argv(&folder, &root), lab.path("dnsmasq.log")).netns(&host.netns).start()?;
        dnsmasq.expect("DHCP, IP range", READY)?;
        Ok(Self { host, _dnsmasq: dnsmasq, _nginx: nginx })
    }
}

fn ipxe_script(cmdline: &str) -> String {
    let http = "http://10.0.0.1";
    format!(
        "#!ipxe\nkernel {http}/vmlinuz initrd=initrd initrd=wrapped {cmdline}\n\
         initrd {http}/initrd\ninitrd {http}/wrapped\nboot\n"
    )
}

/// Packs the wrapped files into a second initrd, as a maintainer of such a server does by hand.
fn wrap(lab: &Lab, image: &Path, wrapped: &[(&str, &str)], root: &Path) -> Result<(), LabError> {
    let stage = lab.path("wrapped");
    std::fs::create_dir_all(&stage).map_err(LabError::io("make", &stage))?;
    for (file, path) in wrapped {
        let place = stage.join(path.trim_start_matches('/'));
        let folder = place.parent().unwrap_or(&stage);
        std::fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
        link(&image.join(file), &place)?;
    }
    let line = "cd \"$0\" && find . -mindepth 1 | sort | cpio --quiet -o -L -H newc > \"$1\"";
    run(&["sh", "-c", line, &stage.to_string_lossy(), &root.join("wrapped").to_string_lossy()]).map(drop)
}

fn link(from: &Path, to: &Path) -> Result<(), LabError> {
    std::os::unix::fs::symlink(from, to).map_err(LabError::io("link", to))
}

fn write(path: &Path, content: &str) -> Result<(), LabError> {
    std::fs::write(path, content).map_err(LabError::io("write", path))
}

fn nginx_conf(folder: &str, root: &Path) -> String {
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;\n\
         events {{}}\n\
         http {{ access_log off; sendfile on; server {{ listen 10.0.0.1:80; root {}; }} }}\n",
        root.display()
    )
}

/// The same two cures for iPXE's waits as the product has: a router advertisement and option 175.176.
fn dnsmasq_argv(folder: &str, boot: &Path) -> Vec<String> {
    let mut argv: Vec<String> =
        "dnsmasq -k -C /dev/null -p 0 -i eth0 --bind-dynamic -u root --no-ping --log-facility=- --log-dhcp \
         -F 10.0.0.100,10.0.0.200,1h --enable-tftp --dhcp-option-force=encap:175,176,1b -M straight.ipxe \
         --enable-ra --dhcp-range=fd77::,ra-only --ra-param=eth0,10,0"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    argv.push(format!("--tftp-root={}", boot.display()));
    argv.push(format!("--dhcp-leasefile={folder}/leases"));
    argv.push(format!("--pid-file={folder}/dnsmasq.pid"));
    argv
}
