//! The site folder, parsed and checked: boottorrent.toml, os/*/os.toml, nodes/*/.
//! Decides everything that can be wrong before a node boots, and tells all of it with file and line; never writes.

pub mod bundle;
pub mod finding;
pub mod host;
pub mod os;
pub mod program;
mod dhcp;
mod general;
mod nodes;
mod power;
mod rack;
mod section;
pub(crate) mod value;
#[cfg(test)]
mod tests;

pub use dhcp::{Dhcp, Subnet};
pub use finding::{At, Finding, Findings, Place};
pub use nodes::Node;
pub use os::Os;
pub use power::Power;
pub use rack::Rack;

use boottorrent_swarm::catalog::Linger;
use section::{Document, Section};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file at the root of a site folder.
pub const FILE: &str = "boottorrent.toml";
/// Port of TFTP (RFC 1350): firmware asks no other.
pub const TFTP_PORT: u16 = 69;
/// Port of a DHCP server (RFC 2131, 4.1).
pub const DHCP_PORT: u16 = 67;
/// Port of syslog (RFC 5426), where nodes send their records.
pub const LOG_PORT: u16 = 514;
/// Where the tracker and the seed listen unless the site says otherwise; nodes learn both from the catalog.
pub const TRACKER_PORT: u16 = 6969;
pub const SEED_PORT: u16 = 6881;

/// Everything that a site folder says.
#[derive(Debug, Clone)]
pub struct Site {
    /// The folder, as it was named.
    pub dir: PathBuf,
    pub name: String,
    pub interface: At<String>,
    pub address: At<Ipv4Addr>,
    /// None: DHCP is off.
    pub dhcp: Option<Dhcp>,
    pub bootstrap: Bootstrap,
    pub menu: Menu,
    pub services: Services,
    pub power: Power,
    pub nodes: Vec<Node>,
    pub racks: Vec<Rack>,
    pub images: Vec<Os>,
}

/// What the bootstrap image is made of; what is not said comes from the running system.
#[derive(Debug, Clone, Default)]
pub struct Bootstrap {
    pub kernel: Option<PathBuf>,
    /// A folder `lib/modules/<version>`.
    pub modules: Option<PathBuf>,
    /// A folder with `undionly.kpxe` and `snponly.efi`.
    pub ipxe: Option<PathBuf>,
    /// Kernel modules beyond the usual ones.
    pub extra_modules: Vec<String>,
    /// The nodes' shell.
    pub busybox: Option<At<PathBuf>>,
    pub cmdline: String,
}

/// What a node shows a person.
#[derive(Debug, Clone)]
pub struct Menu {
    pub default: Option<String>,
    /// None: it waits for a person.
    pub timeout: Option<Duration>,
}

/// Which daemons run, and where.
#[derive(Debug, Clone, Copy)]
pub struct Services {
    pub tftp: bool,
    pub log: bool,
    pub ra: bool,
    /// None: switched off.
    pub tracker: Option<u16>,
    pub seed: Option<u16>,
    pub tracker_port: u16,
    pub seed_port: u16,
}

/// Reads and checks the folder `dir`. What is wrong goes to `findings`; where there are any, the site is only good for
/// further checks, and none if it lacks a name, an interface or an address.
#[must_use]
pub fn load(dir: &Path, findings: &Findings) -> Option<Site> {
    let os::Folder { images, names } = os::read_all(dir, findings);
    let document = Document::open(&finding::join(dir, FILE), findings)?;
    let table = document.parse(findings)?;
    let root = Section::root(&document, &table, findings);
    let general = general::read_site(&root);
    let (bootstrap, services) = (general::read_bootstrap(&root, dir), general::read_services(&root));
    let dhcp = dhcp::read(&root, general.address.as_ref());
    let nodes = nodes::read(&root, dir, dhcp.as_ref(), general.address.as_ref());
    let racks = rack::read(&root, dhcp.as_ref());
    let power = power::read(&root);
    let menu = general::read_menu(&root, &names);
    nodes::check_images(&nodes, &names, findings);
    root.finish();
    let images = images.into_iter().map(|image| image.with_linger(general.linger)).collect();
    Some(Site {
        dir: dir.to_owned(),
        name: general.name?,
        interface: general.interface?,
        address: general.address?,
        dhcp,
        bootstrap,
        menu,
        services,
        power,
        nodes,
        racks,
        images,
    })
}

/// `"auto"` or a duration.
#[derive(Debug, Clone, Copy)]
struct LingerText(Linger);

impl value::Spelt for LingerText {
    const KIND: &'static str = "\"auto\" or a duration such as \"10s\"";

    fn read(text: &str) -> Result<LingerText, String> {
        if text == "auto" {
            return Ok(LingerText(Linger::Auto));
        }
        let milliseconds = Duration::read(text)?.as_millis();
        Ok(LingerText(Linger::Milliseconds(u64::try_from(milliseconds).unwrap_or(u64::MAX))))
    }
}

/// A name that becomes a file name, a host name and a word of a command line.
#[derive(Debug, Clone)]
struct Name(String);

impl value::Spelt for Name {
    const KIND: &'static str =
        "a name of at most 63 letters, digits, \"-\", \"_\" and \".\" that begins with a letter or digit";

    fn read(text: &str) -> Result<Name, String> {
        let legal = text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if legal { Ok(Name(text.to_owned())) } else { Err(format!("{text:?} is no name")) }
    }
}
