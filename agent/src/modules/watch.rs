//! Devices that show up later: the kernel's announcements on netlink, each served like the ones found at the start.
//!
//! Decides which announcement is of interest; the loader decides what to load. Ends never, and fails only to silence.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket, sockopt,
};

use super::firmware::Kmsg;
use super::loader::{Loader, Summary};

/// The kernel's own announcements (udev's are group 2).
const KERNEL_GROUP: u32 = 1;
/// Bytes of one announcement: UEVENT_BUFFER_SIZE of the kernel, plus its headline.
const MAX_EVENT: usize = 4096;
/// A hub with a dozen devices announces hundreds of things at once.
const RECEIVE_BUFFER: usize = 1 << 20;

/// The ears: open, but not yet heard.
pub(super) struct Ears {
    events: Option<OwnedFd>,
    kmsg: Option<Kmsg>,
}

/// A loader that waits for devices.
pub(super) struct Watch {
    ears: Ears,
    loader: Loader,
}

impl Watch {
    /// Serves later devices, for ever; `report` gets a sentence a trouble and a new driver.
    pub(super) fn run(mut self, report: &mut dyn FnMut(&str)) {
        while self.round(report).is_ok() {}
    }

    /// Waits for one bundle of news and serves it.
    fn round(&mut self, report: &mut dyn FnMut(&str)) -> Result<(), Errno> {
        let events = self.ears.events.as_ref().map(|fd| fd.as_fd());
        let kmsg = self.ears.kmsg.as_ref().map(|kmsg| kmsg.as_fd());
        let mut fds: Vec<PollFd<'_>> =
            events.into_iter().chain(kmsg).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if fds.is_empty() {
            return Err(Errno::ENOTCONN);
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let mut summary = Summary::default();
        if let Some(events) = &self.ears.events {
            let mut buffer = [0; MAX_EVENT];
            loop {
                match recvfrom::<NetlinkAddr>(events.as_raw_fd(), &mut buffer) {
                    // Only the kernel speaks as port 0.
                    Ok((length, Some(from))) if from.pid() == 0 => {
                        if let Some(alias) = added(&buffer[..length]) {
                            self.loader.serve(alias, &mut summary, report);
                        }
                    }
                    Ok(_) | Err(Errno::EINTR) => {}
                    // Announcements were lost: the walk finds what they were about.
                    Err(Errno::ENOBUFS) => summary = self.loader.cold_plug(Path::new("/sys"), report),
                    Err(_) => break,
                }
            }
        }
        if !summary.loaded.is_empty() {
            report(&format!("new hardware: loaded {}", summary.loaded.join(" ")));
        }
        if let Some(kmsg) = &mut self.ears.kmsg {
            kmsg.read(report);
        }
        Ok(())
    }
}

impl Ears {
    /// Opens both sources. One that can't be opened is done without: what is plugged in now is found by the walk.
    pub(super) fn open() -> Ears {
        Ears { events: listen().ok(), kmsg: Kmsg::open().ok() }
    }

    /// Hands the loader over, and tells what the log already has to say.
    pub(super) fn with(mut self, loader: Loader, report: &mut dyn FnMut(&str)) -> Watch {
        if let Some(kmsg) = &mut self.kmsg {
            kmsg.read(report);
        }
        Watch { ears: self, loader }
    }
}

fn listen() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkKObjectUEvent;
    let fd = socket(AddressFamily::Netlink, SockType::Datagram, flags, protocol)?;
    setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
    Ok(fd)
}

/// The modalias of a device that was added: `add@/devices/...\0ACTION=add\0...\0MODALIAS=pci:...\0`.
fn added(event: &[u8]) -> Option<&str> {
    let mut fields = event.split(|&byte| byte == 0).filter_map(|field| str::from_utf8(field).ok());
    if !fields.next()?.starts_with("add@") {
        return None;
    }
    fields.find_map(|field| field.strip_prefix("MODALIAS=")).filter(|alias| !alias.is_empty())
}

#[cfg(test)]
mod tests {
    use super::added;

    #[test]
    fn takes_the_modalias_of_what_was_added() {
        let event =
            b"add@/devices/pci0/usb1/1-1\0ACTION=add\0SUBSYSTEM=usb\0MODALIAS=usb:v0627p0001\0SEQNUM=9\0";
        assert_eq!(added(event), Some("usb:v0627p0001"));
    }

    #[test]
    fn leaves_the_rest() {
        assert_eq!(added(b"remove@/devices/x\0ACTION=remove\0MODALIAS=usb:v1\0"), None);
        assert_eq!(added(b"add@/devices/x\0ACTION=add\0"), None);
        assert_eq!(added(b"add@/devices/x\0MODALIAS=\0"), None);
        assert_eq!(added(b"\xff\xfe\0MODALIAS=usb:v1\0"), None);
        assert_eq!(added(b""), None);
    }
}
