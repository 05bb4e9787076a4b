//! "Boot from local disk": UEFI is told to start one of its own entries next time (BootNext), and the node reboots.
//!
//! Decides which entry that is. Never writes anything else, and never to a disk. A BIOS takes no such order from a
//! running Linux, and no kexec leads back to its disk services: there it is the master who lets one boot pass.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

const EFI: &str = "/sys/firmware/efi";
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// The driver, where the bootstrap image has it as a module.
const MODULE: &str = "/modules/efivarfs.ko";
/// EFI_GLOBAL_VARIABLE (UEFI 2.10, 3.3).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// EFI_VARIABLE_NON_VOLATILE, BOOTSERVICE_ACCESS and RUNTIME_ACCESS.
const ATTRIBUTES: u32 = 7;
/// LOAD_OPTION_ACTIVE.
const ACTIVE: u32 = 1;
/// Letters of an entry's name that are shown.
const MAX_NAME: usize = 40;
/// What a BIOS starts when the network has nothing for it.
const BEHIND_NETWORK: &str = "what stands behind the network in the BIOS";

#[derive(Debug)]
pub(crate) enum Error {
    Variables(io::Error),
    NoEntry,
    Refused(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variables(error) => write!(f, "cannot read UEFI's variables: {error}"),
            Self::NoEntry => write!(f, "UEFI's boot order has no disk"),
            Self::Refused(error) => write!(f, "UEFI refuses BootNext: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// What the next boot from a disk starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalDisk {
    /// The entry of UEFI's boot order; none: a BIOS, whose order nobody can read.
    number: Option<u16>,
    pub(crate) name: String,
}

impl LocalDisk {
    /// UEFI: the first disk of the boot order, an installed system before a disk that may have one.
    pub(crate) fn find() -> Result<Self, Error> {
        if !Path::new(EFI).is_dir() {
            return Ok(Self { number: None, name: BEHIND_NETWORK.to_owned() });
        }
        let order = match variable("BootOrder") {
            Ok(order) => order,
            Err(_) => {
                let is_open = fs::read_dir(VARIABLES).is_ok_and(|mut all| all.next().is_some());
                if !is_open {
                    open_variables().map_err(Error::Variables)?;
                }
                variable("BootOrder").map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Error::NoEntry,
                    _ => Error::Variables(error),
                })?
            }
        };
        let entries = order.as_chunks::<2>().0.iter().filter_map(|number| {
            let number = u16::from_le_bytes(*number);
            let (name, kind) = parse(&variable(&format!("Boot{number:04X}")).ok()?)?;
            Some((kind, Self { number: Some(number), name }))
        });
        let disks = entries.filter(|(kind, _)| *kind != Kind::Other);
        // min_by_key gives the first of equals: the order is the firmware's.
        disks.min_by_key(|(kind, _)| *kind).map(|(_, disk)| disk).ok_or(Error::NoEntry)
    }

    /// Tells the firmware; the next reboot starts it. False: this one can't be told.
    pub(crate) fn start_next(&self) -> Result<bool, Error> {
        let Some(number) = self.number else { return Ok(false) };
        let mut value = ATTRIBUTES.to_le_bytes().to_vec();
        value.extend(number.to_le_bytes());
        // efivarfs takes a variable in one write(2).
        let path = format!("{VARIABLES}/BootNext-{GLOBAL}");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        file.and_then(|mut file| file.write_all(&value)).map_err(Error::Refused)?;
        Ok(true)
    }
}

fn open_variables() -> io::Result<()> {
    if let Ok(module) = fs::File::open(MODULE) {
        let _ = finit_module(&module, c"", ModuleInitFlags::empty()); // loaded already: the mount tells
    }
    Ok(mount(Some("efivarfs"), VARIABLES, Some("efivarfs"), MsFlags::MS_NOSUID, None::<&str>)?)
}

/// A variable's value, without the attributes that efivarfs puts before it.
fn variable(name: &str) -> io::Result<Vec<u8>> {
    let bytes = fs::read(format!("{VARIABLES}/{name}-{GLOBAL}"))?;
    bytes.get(4..).map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// What an entry starts, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A file of a partition: an installed system.
    Partition,
    /// A whole disk, from which firmware tries the default loader.
    Disk,
    Other,
}

/// An EFI_LOAD_OPTION (UEFI 2.10, 3.1.3): its name and what it starts. None: inactive or torn.
fn parse(option: &[u8]) -> Option<(String, Kind)> {
    let (attributes, rest) = option.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    if u32::from_le_bytes(*attributes) & ACTIVE == 0 {
        return None;
    }
    let (units, _) = rest.as_chunks::<2>();
    let name: Vec<u16> =
        units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).collect();
    let path = rest.get((name.len() + 1) * 2..)?.get(..u16::from_le_bytes(*length).into())?;
    let name: String = String::from_utf16_lossy(&name).chars().take(MAX_NAME).collect();
    Some((name, kind(path)))
}

/// Walks a device path (UEFI 2.10, 10.3): nodes of type, subtype and length.
fn kind(mut path: &[u8]) -> Kind {
    let mut kind = Kind::Other;
    while let Some(([class, sub, low, high], _)) = path.split_first_chunk::<4>() {
        match (class, sub) {
            // Network: MAC, IPv4, IPv6, URI. USB: nobody installed the node there. CD-ROM, files of the firmware.
            (3, 5 | 11 | 12 | 13 | 15 | 16 | 24) | (4, 2 | 6 | 7) => return Kind::Other,
            (4, 1) => kind = Kind::Partition,
            // A PCI device with nothing behind it is a virtio disk, one with a bus node one of ATA, SCSI, NVMe or SD.
            (1, 1) | (3, 1 | 2 | 18 | 23 | 26 | 29) => kind = kind.min(Kind::Disk),
            // BIOS boot specification: its device type says what it is, 2 is a hard disk.
            (5, _) => return if path.get(4) == Some(&2) { Kind::Disk } else { Kind::Other },
            (0x7f, _) => break,
            _ => {}
        }
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        // Shorter than its own head: torn, and no end in sight.
        match path.get(length..).filter(|_| length >= 4) {
            Some(rest) => path = rest,
            None => return Kind::Other,
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCI: &[u8] = &[1, 1, 6, 0, 0, 3];
    const END: &[u8] = &[0x7f, 0xff, 4, 0];

    fn option(attributes: u32, name: &str, nodes: &[&[u8]]) -> Vec<u8> {
        let path = [nodes.concat(), END.to_vec()].concat();
        let mut bytes = attributes.to_le_bytes().to_vec();
        bytes.extend((path.len() as u16).to_le_bytes());
        bytes.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        [bytes, path].concat()
    }

    #[test]
    fn an_installed_system_a_disk_and_everything_else() {
        let partition = [&[4, 1, 42, 0][..], &[0; 38]].concat();
        let file = [4, 4, 6, 0, 0, 0];
        let mac = [&[3, 11, 37, 0][..], &[0; 33]].concat();
        let sata = [3, 18, 10, 0, 0, 0, 0, 0, 0, 0];
        let shell = [&[4, 6, 20, 0][..], &[0; 16]].concat();
        for (nodes, expected) in [
            (&[PCI, &sata, &partition, &file][..], Kind::Partition),
            (&[partition.as_slice(), &file], Kind::Partition),
            (&[PCI, &sata], Kind::Disk),
            (&[PCI], Kind::Disk),
            (&[PCI, &mac], Kind::Other),
            (&[shell.as_slice()], Kind::Other),
            (&[], Kind::Other),
        ] {
            assert_eq!(parse(&option(1, "debian", nodes)), Some(("debian".into(), expected)), "{nodes:?}");
        }
        assert_eq!(parse(&option(0, "inactive", &[PCI])), None);
    }

    #[test]
    fn torn_entries_end() {
        let whole = option(1, "debian", &[PCI]);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        assert_eq!(kind(&[1, 1, 0, 0]), Kind::Other, "a node of no length would never end");
        assert_eq!(kind(&[1, 1, 200, 0]), Kind::Other);
    }
}
