//! A tap of its own for a program's guest on the node's network card: a macvtap (rtnetlink(7)), given to the program as an
//! open descriptor.
//!
//! Decides its name and its MAC address. Never touches the card's own address: a bridge would have to take that over, with
//! the lease that is renewed on it, and give it back however the program ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use boottorrent_swarm::Mac;

use super::Error;
use crate::link::Card;
use crate::sys;

const NAME: &str = "guest0";
/// Of netlink(7) and rtnetlink(7), and of if_link.h.
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const REQUEST_ACK: u16 = 1 | 4;
const CREATE_EXCL: u16 = 0x400 | 0x200;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
/// Guests of one card hear each other, should there be several.
const MACVLAN_MODE_BRIDGE: u32 = 4;
/// An acknowledgement repeats our message, which has some hundred bytes.
const MAX_REPLY: usize = 4096;

pub(crate) struct Tap {
    file: File,
    mac: Mac,
}

impl Tap {
    /// A tap on a card; one that a program before us has left goes first.
    pub(crate) fn open(card: &Card) -> Result<Self, Error> {
        remove();
        let mac = mac_of_guest(card.mac);
        let failed = |cause| Error::Tap { card: card.name.clone(), cause };
        ask(&creation(card.index, mac)).map_err(failed)?;
        let opened = sys::control_socket().and_then(|control| {
            sys::interface_up(&control, NAME)?;
            let index = fs::read_to_string(format!("/sys/class/net/{NAME}/ifindex"))?;
            let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(flags)
                .open(format!("/dev/tap{}", index.trim()))
        });
        match opened {
            Ok(file) => Ok(Self { file, mac }),
            Err(cause) => {
                remove();
                Err(failed(cause))
            }
        }
    }

    /// The descriptor that the program finds it under.
    pub(crate) fn number(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// What the guest's card must have: the kernel passes no other's frames on.
    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        remove();
    }
}

/// Takes the tap away, if there is one.
pub(super) fn remove() {
    if fs::exists(format!("/sys/class/net/{NAME}")).unwrap_or(true) {
        let _ = ask(&removal()); // the next one is refused with a sentence if this one stays
    }
}

/// Another one than the node's, the same at each start: a guest keeps its lease. The second bit says that no maker has
/// given it out, the third keeps it from the node's where that has the same bit.
fn mac_of_guest(Mac([first, rest @ ..]): Mac) -> Mac {
    let [b, c, d, e, f] = rest;
    Mac([(first ^ 0x04) | 0x02, b, c, d, e, f])
}

fn creation(card: u32, mac: Mac) -> Vec<u8> {
    let mode = attribute(IFLA_MACVLAN_MODE, &MACVLAN_MODE_BRIDGE.to_ne_bytes());
    let kind = [attribute(IFLA_INFO_KIND, b"macvtap"), attribute(IFLA_INFO_DATA, &mode)].concat();
    let attributes = [
        name(),
        attribute(IFLA_LINK, &card.to_ne_bytes()),
        attribute(IFLA_ADDRESS, &mac.0),
        attribute(IFLA_LINKINFO, &kind),
    ];
    message(RTM_NEWLINK, REQUEST_ACK | CREATE_EXCL, &attributes.concat())
}

fn removal() -> Vec<u8> {
    message(RTM_DELLINK, REQUEST_ACK, &name())
}

fn name() -> Vec<u8> {
    attribute(IFLA_IFNAME, format!("{NAME}\0").as_bytes())
}

/// `struct nlmsghdr`, `struct ifinfomsg` of any family, and the attributes.
fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = (HEADER + INFO + attributes.len()) as u32;
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.resize(HEADER + INFO, 0); // sequence number and port: one question a socket
    bytes.extend(attributes);
    bytes
}

const HEADER: usize = 16;
const INFO: usize = 16;

/// `struct rtattr` and its value, up to a multiple of four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ask(question: &[u8]) -> io::Result<()> {
    let mut socket = File::from(sys::route_socket()?);
    socket.write_all(question)?;
    let mut answer = [0; MAX_REPLY];
    let length = socket.read(&mut answer)?;
    verdict(answer.get(..length).unwrap_or_default())
}

/// What the kernel acknowledges: `struct nlmsgerr` behind the header.
fn verdict(answer: &[u8]) -> io::Result<()> {
    let field =
        |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match (kind, field(HEADER)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_address_is_its_own_and_nobody_elses() {
        for mac in [[0x52, 0x54, 0, 1, 2, 3], [0x00, 0x1b, 0x21, 1, 2, 3], [0x02; 6], [0x06; 6]] {
            let Mac([first, rest @ ..]) = mac_of_guest(Mac(mac));
            assert_ne!(first, mac[0]);
            assert_eq!((first & 3, &rest[..]), (2, &mac[1..]), "local, one machine's, else as the card's");
        }
    }

    #[test]
    fn messages_have_the_kernels_form() {
        let bytes = creation(7, Mac([0x56, 0x54, 0, 0, 0, 1]));
        assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(
            attribute(IFLA_IFNAME, b"ab\0"),
            [7, 0, 3, 0, b'a', b'b', 0, 0],
            "on a little-endian machine"
        );
        assert!(bytes.windows(8).any(|part| part == b"macvtap\0"));
        assert_eq!(removal().len(), 32 + 12);
    }

    #[test]
    fn the_kernels_answer_is_an_errno() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; 20];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..].copy_from_slice(&code.to_ne_bytes());
            verdict(&bytes)
        };
        assert!(answer(NLMSG_ERROR, 0).is_ok());
        assert_eq!(
            answer(NLMSG_ERROR, -libc::EOPNOTSUPP).unwrap_err().raw_os_error(),
            Some(libc::EOPNOTSUPP)
        );
        assert!(answer(RTM_NEWLINK, 0).is_err() && verdict(&[]).is_err());
    }
}
