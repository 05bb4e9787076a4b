//! A site folder for a lab: as a maintainer writes it, with the lab's kernel and images.
//! Says nothing about how it is compiled or served.

use crate::error::LabError;
use crate::master::Master;
use crate::node::NodeSpec;
use std::fmt::Write as _;
use std::path::Path;

/// Where kernel and images appear in the master.
pub const KERNEL: &str = "/srv/kernel";
pub const IMAGES: &str = "/srv/images";

/// `os/<name>/os.toml`.
#[derive(Clone, Debug)]
pub struct Os {
    pub name: String,
    pub toml: String,
}

impl Os {
    /// The small OS, under a name of its own; `more` is appended to its table.
    #[must_use]
    pub fn small(name: &str, more: &str) -> Self {
        let image = format!("{IMAGES}/small");
        let toml = format!(
            "title = \"Small OS {name}\"\nmethod = \"kexec\"\nkernel = \"{image}/vmlinuz\"\n\
             initrd = [\"{image}/initrd\"]\nfiles = {{ \"{image}/payload.bin\" = \"/wrapped/payload.bin\" }}\n\
             cmdline = \"console=ttyS0 quiet bt-os={name} bt-host={{hostname}} bt-ip={{ip}} bt-mac={{mac}} bt-master={{master}}\"\n\
             memory = \"64M\"\n{more}\n"
        );
        Self { name: name.into(), toml }
    }

    /// A shell script that is run in busybox's tree, with the small OS's payload as a file of it; `more` is appended to its
    /// table. `{{` and `}}` stand for braces, as os.toml wants it.
    #[must_use]
    pub fn program(name: &str, script: &str, more: &str) -> Self {
        let toml = format!(
            "title = \"Program {name}\"\nmethod = \"run\"\nroot = \"{IMAGES}/program/tree\"\n\
             files = {{ \"{IMAGES}/small/payload.bin\" = \"/os/payload.bin\" }}\n\
             run = [\"/bin/sh\", \"-c\", \'\'\'\n{script}\'\'\', \"{{hostname}}\", \"{{memory}}\", \"{{cpus}}\"]\n\
             memory = \"64M\"\n{more}\n"
        );
        Self { name: name.into(), toml }
    }

    /// Debian 12 in memory by Debian's own live-boot.
    #[must_use]
    pub fn debian() -> Self {
        let image = format!("{IMAGES}/debian");
        let toml = format!(
            "title = \"Debian 12, in memory\"\nmethod = \"kexec\"\nkernel = \"{image}/vmlinuz\"\n\
             initrd = [\"{image}/initrd.img\"]\n\
             files = {{ \"{image}/filesystem.squashfs\" = \"/live/filesystem.squashfs\" }}\n\
             cmdline = \"boot=live live-media=/ console=ttyS0 systemd.hostname={{hostname}}\"\n"
        );
        Self { name: "debian".into(), toml }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Site {
    pub oses: Vec<Os>,
    /// Of `[menu]`: the default and how long it waits, as `10s`.
    pub menu: Option<(String, String)>,
    /// `[[node]]` tables.
    pub nodes: String,
    /// Appended to the bootstrap's kernel line, with its own leading blank.
    pub bootstrap_cmdline: String,
    /// Further lines of `[bootstrap]`.
    pub bootstrap_keys: String,
    /// Whole further sections.
    pub more: String,
    /// Path below the site folder and content: overlays and the like.
    pub files: Vec<(String, String)>,
}

impl Site {
    #[must_use]
    pub fn with(oses: &[Os]) -> Self {
        Self { oses: oses.to_vec(), ..Self::default() }
    }

    /// A node at 10.0.0.<10 + number>; `keys` are further lines of its table, such as `os = "small"`.
    #[must_use]
    pub fn node(mut self, spec: &NodeSpec, keys: &str) -> Self {
        let number = spec.name.trim_start_matches('n').parse::<u8>().unwrap_or(0);
        let NodeSpec { name, mac, .. } = spec;
        let address = format!("10.0.0.{}", 10 + number);
        // Writing to a String cannot fail.
        let _ = write!(
            self.nodes,
            "\n[[node]]\nmac = \"{mac}\"\nname = \"{name}\"\naddress = \"{address}\"\n{keys}\n"
        );
        self
    }

    #[must_use]
    pub fn menu(mut self, default: &str, timeout: &str) -> Self {
        self.menu = Some((default.into(), timeout.into()));
        self
    }

    #[must_use]
    pub fn bootstrap_cmdline(mut self, words: &str) -> Self {
        self.bootstrap_cmdline = format!(" {words}");
        self
    }

    /// The nodes have a shell.
    #[must_use]
    pub fn busybox(mut self) -> Self {
        self.bootstrap_keys = "busybox = true\n".into();
        self
    }

    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// `boottorrent.toml`.
    #[must_use]
    pub fn toml(&self, kernel_version: &str) -> String {
        let mut toml = format!(
            "[site]\nname = \"lab\"\ninterface = \"eth0\"\naddress = \"10.0.0.1\"\n\n\
             [dhcp]\nmode = \"server\"\nlease-time = \"12h\"\n\n\
             [[dhcp.subnet]]\nnetwork = \"10.0.0.0/24\"\nrange = \"10.0.0.100-10.0.0.200\"\n\
             options = {{ routers = [\"10.0.0.1\"], domain-name = \"lab.example\", domain-name-servers = [\"10.0.0.1\"] }}\n\n\
             [bootstrap]\nkernel = \"{KERNEL}/vmlinuz\"\nmodules = \"{KERNEL}/lib/modules/{kernel_version}\"\n\
             cmdline = \"console=tty0 console=ttyS0,115200{}\"\n{}",
            self.bootstrap_cmdline, self.bootstrap_keys
        );
        if let Some((default, timeout)) = &self.menu {
            let _ = write!(toml, "\n[menu]\ndefault = \"{default}\"\ntimeout = \"{timeout}\"\n");
        }
        toml + &self.nodes + &self.more
    }

    /// Writes the folder into the master.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&self, master: &Master, folder: &str, kernel_version: &str) -> Result<(), LabError> {
        let at = |leaf: &str| Path::new(folder).join(leaf).to_string_lossy().into_owned();
        master.write(&at("boottorrent.toml"), &self.toml(kernel_version))?;
        for os in &self.oses {
            master.write(&at(&format!("os/{}/os.toml", os.name)), &os.toml)?;
        }
        self.files.iter().try_for_each(|(path, content)| master.write(&at(path), content))
    }
}
