//! A new site folder: a commented example that fits this machine, and a site key where there is none.
//! Decides the example's values; never overwrites a file.

use crate::error::Error;
use crate::key::{SiteKey, public_path};
use crate::options::Options;
use boottorrent_masterd::store::Context;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrIn;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;

const SITE: &str = include_str!("../example/boottorrent.toml");
const OS: &str = include_str!("../example/os/debian/os.toml");

/// The boot network of an example.
struct Example {
    interface: String,
    address: Ipv4Addr,
    prefix: u32,
}

/// Makes the key and the folder, each where it is missing; the lines say what was made and what comes next.
pub(crate) fn init(options: &Options) -> Result<Vec<String>, Error> {
    let dir = &options.dir;
    let site = dir.join("boottorrent.toml");
    let (has_site, has_key) = (site.symlink_metadata().is_ok(), options.key.symlink_metadata().is_ok());
    if has_site && has_key {
        let (site, key) = (site.display(), options.key.display());
        return Err(Error::Told(format!(
            "{site}: is there already, and so is the key {key}; init never overwrites"
        )));
    }
    let mut made = Vec::new();
    // The key first: where it cannot be made, a folder without one would be in the way of the next try.
    make_key(&options.key, has_key, &mut made)?;
    if has_site {
        made.push(format!("{}: the site was there already", site.display()));
    } else {
        make_folder(dir, &site, &mut made)?;
    }
    let dir = dir.display();
    made.push(String::new());
    made.push(match has_site {
        true => "Next:".to_owned(),
        false => {
            format!("Next: change {dir}/boottorrent.toml and {dir}/os/debian/os.toml to what you have, then")
        }
    });
    made.push(format!("  boottorrent-gen check {dir}\n  boottorrent-gen {dir}"));
    Ok(made)
}

fn make_key(key: &Path, has_key: bool, made: &mut Vec<String>) -> Result<(), Error> {
    let path = key.display();
    if has_key {
        made.push(format!("{path}: the site key was there already"));
        return Ok(());
    }
    SiteKey::create(key)?;
    made.push(format!("{path}: a new site key; keep a copy in a safe place"));
    let public = public_path(key);
    made.push(format!(
        "{}: its public half, which is built into the nodes' bootstrap image",
        public.display()
    ));
    Ok(())
}

fn make_folder(dir: &Path, site: &Path, made: &mut Vec<String>) -> Result<(), Error> {
    let os = dir.join("os/debian");
    for folder in [&os, &dir.join("nodes")] {
        fs::create_dir_all(folder).at(folder, "be made")?;
    }
    let image = os.join("os.toml");
    if image.symlink_metadata().is_ok() {
        made.push(format!("{}: was there already", image.display()));
    } else {
        create(&image, OS, made)?;
    }
    create(site, &fill(SITE, &example()), made)
}

fn create(path: &Path, text: &str, made: &mut Vec<String>) -> Result<(), Error> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).at(path, "be made")?;
    file.write_all(text.as_bytes()).at(path, "be written")?;
    made.push(format!("{}: made", path.display()));
    Ok(())
}

/// This machine's first network card with a private address, since boot networks have those; else a sample.
fn example() -> Example {
    let mut found = Vec::new();
    for entry in getifaddrs().into_iter().flatten() {
        let up = entry.flags.contains(InterfaceFlags::IFF_UP)
            && !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let address = |a: Option<nix::sys::socket::SockaddrStorage>| {
            a.as_ref().and_then(|a| a.as_sockaddr_in().map(SockaddrIn::ip))
        };
        if let (true, Some(address), Some(mask)) = (up, address(entry.address), address(entry.netmask)) {
            let prefix = mask.to_bits().leading_ones();
            if (8..=30).contains(&prefix) {
                found.push(Example { interface: entry.interface_name, address, prefix });
            }
        }
    }
    let private = found.iter().position(|e| e.address.is_private());
    match private {
        Some(first) => found.swap_remove(first),
        None => found.pop().unwrap_or(Example {
            interface: "eth1".into(),
            address: Ipv4Addr::new(10, 0, 0, 1),
            prefix: 24,
        }),
    }
}

/// The upper half of the subnet for anybody, or the lower one where this machine lives in the upper.
fn fill(template: &str, example: &Example) -> String {
    let host_bits = 32 - example.prefix;
    let network = example.address.to_bits() >> host_bits << host_bits;
    let half = 1 << (host_bits - 1);
    let (first, last) = match example.address.to_bits() - network >= half {
        true => (network + 1, network + half - 1),
        false => (network + half, network + 2 * half - 2),
    };
    // A home network's router answers DHCP too: a hundred addresses or so leave it its own.
    let last = last.min(first.saturating_add(100));
    template
        .replace("@INTERFACE@", &example.interface)
        .replace("@ADDRESS@", &example.address.to_string())
        .replace("@NETWORK@", &format!("{}/{}", Ipv4Addr::from_bits(network), example.prefix))
        .replace("@RANGE@", &format!("{}-{}", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_leaves_out_this_machine() {
        let range = |address: [u8; 4], prefix| {
            fill("@NETWORK@ @RANGE@", &Example { interface: "e".into(), address: address.into(), prefix })
        };
        assert_eq!(range([10, 0, 0, 1], 24), "10.0.0.0/24 10.0.0.128-10.0.0.228");
        assert_eq!(range([10, 0, 0, 200], 24), "10.0.0.0/24 10.0.0.1-10.0.0.101");
        assert_eq!(range([10, 0, 0, 1], 30), "10.0.0.0/30 10.0.0.2-10.0.0.2");
        assert_eq!(range([10, 0, 0, 2], 30), "10.0.0.0/30 10.0.0.1-10.0.0.1");
    }
}
