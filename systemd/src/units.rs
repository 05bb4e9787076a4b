//! The units, rendered from templates/: site in, tree of files out.
//! Decides which daemons a site needs and what their units say; never touches the disk.

use boottorrent_masterd::site::Site;
use boottorrent_masterd::site::host::{Port, ports};
use boottorrent_masterd::site::os::HIDDEN_FROM_UNITS;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Begins the first line of every unit of ours; the site's name follows it in quotes.
pub(crate) const MARK: &str = "# Made by boottorrent-gen for site ";
/// The unit that starts and stops everything.
pub const TARGET: &str = "boottorrent.target";

const SANDBOX: &str = include_str!("../templates/sandbox.in");
const TARGET_TEMPLATE: &str = include_str!("../templates/boottorrent.target.in");
const RA_TEMPLATE: &str = include_str!("../templates/boottorrent-ra.service.in");

/// What a unit says that is not the site's.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where the daemons are.
    pub bindir: PathBuf,
    /// The store, as the booted system sees it.
    pub store: PathBuf,
    /// Folders outside of the store that the seed serves from.
    pub in_place: Vec<PathBuf>,
}

/// Unit name to text, target first in name order.
pub type Units = BTreeMap<String, String>;

/// The units of a site.
///
/// # Errors
/// A path that a unit can't carry: the sentence names it.
pub fn render(site: &Site, places: &Places) -> Result<Units, String> {
    let mut units = Units::new();
    let mut wanted = Vec::new();
    for port in ports(site) {
        let (socket, service) = templates(port.name);
        let values = values(site, places, port.name, Some(port))?;
        let name = format!("boottorrent-{}", port.name);
        // One unit opens all sockets of a daemon.
        if units.insert(format!("{name}.socket"), fill(socket, &values)).is_none() {
            units.insert(format!("{name}.service"), fill(service, &values));
            wanted.push(format!("{name}.socket"));
        }
    }
    if site.services.ra {
        let name = "boottorrent-ra.service".to_owned();
        units.insert(name.clone(), fill(RA_TEMPLATE, &values(site, places, "ra", None)?));
        wanted.push(name);
    }
    let target = [("SITE", site.name.clone()), ("WANTS", wanted.join(" "))];
    units.insert(TARGET.to_owned(), fill(TARGET_TEMPLATE, &target));
    for text in units.values_mut() {
        *text = format!("{MARK}\"{}\". Change the folder it came from, or add a drop-in.\n{text}", site.name);
    }
    Ok(units)
}

/// The site that a unit was made for, or none: then it is not ours.
#[must_use]
pub fn site_of(unit: &str) -> Option<&str> {
    let (name, _) = unit.strip_prefix(MARK)?.strip_prefix('"')?.split_once('"')?;
    Some(name)
}

fn templates(name: &str) -> (&'static str, &'static str) {
    macro_rules! pair {
        ($name:literal) => {
            (
                include_str!(concat!("../templates/boottorrent-", $name, ".socket.in")),
                include_str!(concat!("../templates/boottorrent-", $name, ".service.in")),
            )
        };
    }
    match name {
        "dhcp" => pair!("dhcp"),
        "tftp" => pair!("tftp"),
        "tracker" => pair!("tracker"),
        "seed" => pair!("seed"),
        _ => pair!("log"),
    }
}

type Values = Vec<(&'static str, String)>;

fn values(site: &Site, places: &Places, name: &str, port: Option<Port>) -> Result<Values, String> {
    let mut needed: Vec<&Path> = vec![&places.bindir, &places.store];
    if name == "seed" {
        needed.extend(places.in_place.iter().map(PathBuf::as_path));
    }
    let mut binds = Vec::new();
    for path in needed {
        let text = escape(path)?;
        if HIDDEN_FROM_UNITS.iter().any(|h| path.starts_with(h)) && !binds.contains(&text) {
            binds.push(text);
        }
    }
    let binds: Vec<String> = binds.iter().map(|b| format!("BindReadOnlyPaths={b}")).collect();
    let sandbox = fill(SANDBOX, &[("BINDS", binds.join("\n"))]);
    Ok(vec![
        ("SANDBOX", sandbox.trim_end().to_owned()),
        ("BINDIR", escape(&places.bindir)?),
        ("STORE", escape(&places.store)?),
        ("INTERFACE", site.interface.value.replace('%', "%%")),
        ("ADDRESS", site.address.value.to_string()),
        ("PORT", port.map_or(0, |p| p.address.port()).to_string()),
    ])
}

/// A path as a unit spells it. Those with characters that mean something there are refused rather than quoted:
/// the rules differ from directive to directive.
fn escape(path: &Path) -> Result<String, String> {
    let legal = |c: char| c.is_alphanumeric() || "/._-+%@,=~".contains(c);
    match path.to_str() {
        Some(text) if text.starts_with('/') && text.chars().all(legal) => Ok(text.replace('%', "%%")),
        _ => Err(format!(
            "{}: a unit can't name this path; use one of letters, digits and \"._-+@,=~\" only",
            path.display()
        )),
    }
}

/// Replaces @KEY@; a line that nothing is left of goes.
fn fill(template: &str, values: &[(&'static str, String)]) -> String {
    let mut text = String::with_capacity(template.len());
    for line in template.lines() {
        let mut filled = line.to_owned();
        for (key, value) in values {
            filled = filled.replace(&format!("@{key}@"), value);
        }
        if filled.is_empty() && !line.is_empty() {
            continue;
        }
        text.push_str(&filled);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_names_its_site() {
        assert_eq!(site_of("# Made by boottorrent-gen for site \"lab\". Change\n[Unit]\n"), Some("lab"));
        assert_eq!(site_of("[Unit]\nDescription=mine\n"), None);
    }

    #[test]
    fn empty_values_leave_no_empty_lines() {
        assert_eq!(fill("a\n@X@\n\nb=@Y@\n", &[("X", String::new()), ("Y", "1".into())]), "a\n\nb=1\n");
    }

    #[test]
    fn paths_that_mean_something_to_systemd_are_refused() {
        assert_eq!(escape(Path::new("/srv/100%")).unwrap(), "/srv/100%%");
        for bad in ["/srv/a b", "/srv/$x", "relative", "/srv/a:b", "/srv/\"q\""] {
            assert!(escape(Path::new(bad)).is_err(), "{bad}");
        }
    }
}
