//! What kind of boot client has sent a message, and which file it is told to fetch: by iPXE (options 77 and 175) and
//! by architecture (option 93, RFC 4578). It decides nothing about addresses.

use std::collections::HashMap;

use boottorrent_swarm::{Mac, Time};

use super::config::BootRule;
use super::leases::moved;
use super::origin::Told;
use super::packet::{Request, code};

/// A client that asks for something to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BootClient {
    /// The maker's PXE firmware.
    Firmware,
    Ipxe,
}

impl BootClient {
    /// `None`: a client that has booted already and only wants its address.
    pub(super) fn of(request: &Request) -> Option<Self> {
        if is_ipxe(request) {
            Some(Self::Ipxe)
        } else if request.option(code::VENDOR_CLASS).is_some_and(|class| class.starts_with(b"PXEClient")) {
            Some(Self::Firmware)
        } else {
            None
        }
    }

    /// The file of the first rule that fits.
    pub(super) fn file<'r>(self, request: &Request, rules: &'r [BootRule]) -> Option<&'r str> {
        let architectures = architectures(request);
        rules
            .iter()
            .filter(|rule| rule.ipxe == (self == Self::Ipxe))
            .find(|rule| rule.arch.is_empty() || rule.arch.iter().any(|arch| architectures.contains(arch)))
            .map(|rule| rule.file.as_str())
    }
}

/// iPXE's user class comes raw, without the length byte of RFC 3004; other builds write it as the RFC says.
fn is_ipxe(request: &Request) -> bool {
    let Some(class) = request.option(code::USER_CLASS) else { return request.option(code::IPXE).is_some() };
    let mut rest = class;
    while let [length, tail @ ..] = rest {
        let Some((item, after)) = tail.split_at_checked(usize::from(*length)) else { break };
        if item == b"iPXE" {
            return true;
        }
        rest = after;
    }
    class == b"iPXE" || request.option(code::IPXE).is_some()
}

/// The client's architectures in its order. Firmware without option 93 names one in its vendor class
/// (`PXEClient:Arch:00007:...`), and the oldest names none: that is a BIOS.
pub(super) fn architectures(request: &Request) -> Vec<u16> {
    if let Some(list) = request.option(code::ARCHITECTURE) {
        return list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    }
    let class = request.option(code::VENDOR_CLASS).and_then(|class| std::str::from_utf8(class).ok());
    let named = class.and_then(|class| class.strip_prefix("PXEClient:Arch:")?.get(..5)?.parse().ok());
    vec![named.unwrap_or(0)]
}

/// When firmware was last given its address, so that a file that is fetched from there is known to be its.
#[derive(Debug, Default)]
pub(super) struct BootTimes {
    by_mac: HashMap<Mac, Time>,
}

impl BootTimes {
    pub(super) fn acknowledged(&mut self, now: Time, request: &Request) {
        if BootClient::of(request).is_some() {
            self.by_mac.insert(request.mac, now);
        }
    }

    pub(super) fn of(&self, mac: Mac) -> Option<Time> {
        self.by_mac.get(&mac).copied()
    }

    /// Forgets those without a lease, so that there are never more of them than leases.
    pub(super) fn retain(&mut self, has_lease: impl Fn(Mac) -> bool) {
        self.by_mac.retain(|mac, _| has_lease(*mac));
    }

    /// The machine's clock was set.
    pub(super) fn shift(&mut self, from: Time, to: Time) {
        self.by_mac.values_mut().for_each(|time| *time = moved(*time, from, to));
    }

    /// What an earlier run of this server wrote down.
    pub(super) fn recall(&mut self, told: &[Told]) {
        let known =
            told.iter().filter_map(|told| Some((told.mac?, Time(told.booted?.saturating_mul(1_000_000)))));
        self.by_mac.extend(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::packet::tests::message;

    fn request(options: &[(u8, &[u8])]) -> Request {
        Request::parse(&message(1, [2, 0, 0, 0, 0, 1], options)).unwrap()
    }

    fn rules() -> Vec<BootRule> {
        let rule = |ipxe, arch: &[u16], file: &str| BootRule { ipxe, arch: arch.to_vec(), file: file.into() };
        vec![
            rule(true, &[], "boot.ipxe"),
            rule(false, &[0], "undionly.kpxe"),
            rule(false, &[7, 9], "snponly.efi"),
        ]
    }

    fn file(options: &[(u8, &[u8])]) -> Option<String> {
        let request = request(options);
        let client = BootClient::of(&request)?;
        client.file(&request, &rules()).map(str::to_owned)
    }

    #[test]
    fn firmware_by_its_architecture() {
        let bios = b"PXEClient:Arch:00000:UNDI:002001";
        let uefi = b"PXEClient:Arch:00007:UNDI:003000";
        assert_eq!(file(&[(60, bios), (93, &[0, 0])]).as_deref(), Some("undionly.kpxe"));
        assert_eq!(file(&[(60, uefi), (93, &[0, 7])]).as_deref(), Some("snponly.efi"));
        assert_eq!(file(&[(60, b"PXEClient"), (93, &[0, 6, 0, 9])]).as_deref(), Some("snponly.efi"));
        assert_eq!(file(&[(60, uefi)]).as_deref(), Some("snponly.efi"));
        assert_eq!(file(&[(60, b"PXEClient")]).as_deref(), Some("undionly.kpxe"));
        assert_eq!(file(&[(60, b"PXEClient"), (93, &[0, 11])]), None);
    }

    #[test]
    fn ipxe_however_it_says_so() {
        for ipxe in [(77, &b"iPXE"[..]), (77, b"\x04iPXE"), (77, b"\x03abc\x04iPXE"), (175, b"\xb1\x01\x01")]
        {
            assert_eq!(
                file(&[(60, b"PXEClient:Arch:00007"), (93, &[0, 7]), ipxe]).as_deref(),
                Some("boot.ipxe")
            );
        }
        assert_eq!(file(&[(77, b"gPXE"), (60, b"PXEClient")]).as_deref(), Some("undionly.kpxe"));
    }

    #[test]
    fn others_are_told_nothing_to_boot() {
        for other in
            [(60, &b"udhcp 1.35.0"[..]), (60, b"HTTPClient:Arch:00016"), (77, b"\xffiPXE"), (55, &[66, 67])]
        {
            assert_eq!(BootClient::of(&request(&[other])), None);
        }
    }
}
