//! [site], [bootstrap], [menu] and the switches of the daemons.
//! Decides their defaults; never looks at the host.

use super::finding::{At, Place, join, nearest};
use super::section::Section;
use super::value::Spelt;
use super::{
    Bootstrap, DHCP_PORT, LOG_PORT, LingerText, Menu, Name, SEED_PORT, Services, TFTP_PORT, TRACKER_PORT,
};
use boottorrent_swarm::catalog::Linger;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of an interface's name, without the NUL (IFNAMSIZ in linux/if.h).
const MAX_INTERFACE: usize = 15;
/// Bytes of the bootstrap's own command line: COMMAND_LINE_SIZE is 2048 on x86, and the boot script adds to it.
const MAX_CMDLINE: usize = 1500;
/// What `busybox = true` stands for: that of Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";
/// A menu that people read until then has a default that nobody is surprised by.
const MENU_TIMEOUT: Duration = Duration::from_secs(10);

/// [site].
pub(crate) struct General {
    pub(crate) name: Option<String>,
    pub(crate) interface: Option<At<String>>,
    pub(crate) address: Option<At<Ipv4Addr>>,
    pub(crate) linger: Linger,
}

pub(crate) fn read_site(root: &Section<'_>) -> General {
    let section = root.section("site");
    let name = section.need::<Name>("name", "\"lab\"");
    let interface = section.need::<Interface>("interface", "\"eth1\", the network card of the boot network");
    let address = section.need::<Ipv4Addr>("address", "\"10.0.0.1\", this machine's address there");
    if let Some(At { value, place }) = &address
        && (value.is_unspecified() || value.is_multicast() || value.is_broadcast())
    {
        let what = format!("{value} is no machine's address");
        section.findings().add(place, what, "write the master's own address on the boot network");
    }
    let linger = section.get::<LingerText>("linger").map_or(Linger::Auto, |l| l.value.0);
    section.finish();
    General {
        name: name.map(|n| n.value.0),
        interface: interface.map(|i| At { value: i.value.0, place: i.place }),
        address,
        linger,
    }
}

pub(crate) fn read_bootstrap(root: &Section<'_>, dir: &Path) -> Bootstrap {
    let section = root.section("bootstrap");
    let kernel = path_of(&section, "kernel", dir, Path::is_file, "file");
    let modules = path_of(&section, "modules", dir, Path::is_dir, "folder");
    let ipxe = path_of(&section, "ipxe", dir, Path::is_dir, "folder");
    let extra_modules = section.get_list::<Name>("extra-modules").into_iter().map(|n| n.value.0).collect();
    let busybox = section.get_switch::<String>("busybox", BUSYBOX);
    let busybox = busybox.map(|At { value, place }| At { value: join(dir, &value), place });
    let cmdline = section.get::<String>("cmdline");
    if let Some(At { value, place }) = &cmdline {
        check_cmdline(&section, value, place);
    }
    section.finish();
    let cmdline = cmdline.map(|c| c.value).unwrap_or_default();
    Bootstrap { kernel, modules, ipxe, extra_modules, busybox, cmdline }
}

/// iPXE expands `${...}` and the script is lines: neither may come out of a value.
fn check_cmdline(section: &Section<'_>, value: &str, place: &Place) {
    if value.len() > MAX_CMDLINE {
        let what = format!("\"cmdline\" has {} bytes", value.len());
        section.findings().add(
            place,
            what,
            format!("at most {MAX_CMDLINE} fit beside what the boot script adds"),
        );
    }
    if value.chars().any(char::is_control) || value.contains("${") {
        let remedy = "write one line of kernel parameters, without \"${\"";
        section.findings().add(place, "\"cmdline\" has a control character or \"${\"", remedy);
    }
}

fn path_of(
    section: &Section<'_>,
    key: &'static str,
    dir: &Path,
    fits: fn(&Path) -> bool,
    kind: &str,
) -> Option<PathBuf> {
    let At { value, place } = section.get::<String>(key)?;
    let path = join(dir, &value);
    if !fits(&path) {
        let what = format!("\"{key}\": {} is no {kind}", path.display());
        section.findings().add(
            &place,
            what,
            format!("name a {kind} that exists (paths are relative to this file)"),
        );
        return None;
    }
    Some(path)
}

pub(crate) fn read_menu(root: &Section<'_>, images: &[String]) -> Menu {
    let section = root.section("menu");
    let default = section.get::<String>("default");
    if let Some(At { value, place }) = &default
        && !images.contains(value)
    {
        unknown_os(&section, value, place, images);
    }
    let timeout = section.get::<Timeout>("timeout").map_or(Some(MENU_TIMEOUT), |t| t.value.0);
    section.finish();
    Menu { default: default.map(|d| d.value), timeout }
}

fn unknown_os(section: &Section<'_>, name: &str, place: &Place, images: &[String]) {
    let what = format!("there is no os/{name}/os.toml");
    section.findings().add(place, what, which_os(name, images));
}

/// The remedy for the name of an OS that is none.
pub(crate) fn which_os(name: &str, images: &[String]) -> String {
    match nearest(name, images.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if images.is_empty() => "there is none yet".into(),
        None => format!("the OSes here are {}", images.join(", ")),
    }
}

pub(crate) fn read_services(root: &Section<'_>) -> Services {
    let switch = |key| {
        let section = root.section(key);
        let on = section.get_bool("enabled").unwrap_or(true);
        section.finish();
        on
    };
    let with_port = |key, default, taken: &[(u16, &str)]| {
        let section = root.section(key);
        let on = section.get_bool("enabled").unwrap_or(true);
        let port = section.get_port("port");
        if let Some(At { value, place }) = &port
            && let Some((_, owner)) = taken.iter().find(|(port, _)| port == value)
        {
            let what = format!("UDP port {value} is that of {owner}");
            section.findings().add(place, what, format!("write another one; the default is {default}"));
        }
        section.finish();
        let given = port.as_ref().map(|p| p.place.clone());
        (on, port.map_or(default, |p| p.value), given)
    };
    // Firmware and nodes ask these three where the standards put them.
    let fixed = [(DHCP_PORT, "DHCP"), (TFTP_PORT, "TFTP"), (LOG_PORT, "the nodes' records")];
    let (tracker, tracker_port, tracker_given) = with_port("tracker", TRACKER_PORT, &fixed);
    let (seed, seed_port, seed_given) = with_port("seed", SEED_PORT, &[]);
    // The tracker answers HTTP on the TCP port of its number. The defaults differ, so one of them is given.
    if tracker
        && seed
        && tracker_port == seed_port
        && let Some(place) = seed_given.or(tracker_given)
    {
        let what = format!("TCP port {seed_port} would be both the tracker's and the seed's");
        root.findings().add(
            &place,
            what,
            format!("write another one; the defaults are {TRACKER_PORT} and {SEED_PORT}"),
        );
    }
    Services {
        tftp: switch("tftp"),
        log: switch("log"),
        ra: switch("ra"),
        tracker: tracker.then_some(tracker_port),
        seed: seed.then_some(seed_port),
        tracker_port,
        seed_port,
    }
}

/// A duration, or "never".
struct Timeout(Option<Duration>);

impl Spelt for Timeout {
    const KIND: &'static str = "a duration such as \"10s\", or \"never\"";

    fn read(text: &str) -> Result<Timeout, String> {
        if text == "never" { Ok(Timeout(None)) } else { Duration::read(text).map(|d| Timeout(Some(d))) }
    }
}

struct Interface(String);

impl Spelt for Interface {
    const KIND: &'static str = "the name of a network interface, such as \"eth1\" (`ip link` lists them)";

    fn read(text: &str) -> Result<Interface, String> {
        let legal = (1..=MAX_INTERFACE).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"/%:\"'\\".contains(&b))
            && text != "."
            && text != "..";
        if legal { Ok(Interface(text.to_owned())) } else { Err(format!("{text:?} is no interface's name")) }
    }
}
