//! The options by name: all of RFC 2132, and those of later RFCs that servers are asked for. Names are those of
//! dhcp-options(5), which maintainers know. The table says what a value looks like; it encodes nothing.

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Address,
    Addresses,
    /// Like `Addresses`, and none at all is a value too.
    AddressesOrNone,
    /// Address and mask, or destination and router.
    AddressPairs,
    Text,
    U8 {
        min: u8,
    },
    /// One of these numbers.
    OneOf(&'static [u8]),
    U16 {
        min: u16,
    },
    U16s {
        min: u16,
    },
    U32,
    I32,
    /// Seconds: a number, or a duration with its unit.
    Seconds,
    Flag,
    Domains,
    /// Destinations with prefix length and their routers (RFC 3442).
    Routes,
    Bytes,
    /// Not for the maintainer to set; the text says who sends it.
    Protocol(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) code: u8,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const fn known(code: u8, name: &'static str, kind: Kind) -> Known {
    Known { code, name, kind }
}

const BY_SERVER: &str = "the server sets it by itself";
const BY_CLIENT: &str = "only clients send it";

use Kind::{
    Address, AddressPairs, Addresses, AddressesOrNone, Bytes, Domains, Flag, I32, OneOf, Protocol, Routes,
    Seconds, Text, U8, U16, U16s, U32,
};

/// In the order of their codes.
#[rustfmt::skip] // a table reads by column
pub(super) const TABLE: &[Known] = &[
    known(0, "pad", Protocol("it carries no value")),
    known(1, "subnet-mask", Address),
    known(2, "time-offset", I32),
    known(3, "routers", Addresses),
    known(4, "time-servers", Addresses),
    known(5, "ien116-name-servers", Addresses),
    known(6, "domain-name-servers", Addresses),
    known(7, "log-servers", Addresses),
    known(8, "cookie-servers", Addresses),
    known(9, "lpr-servers", Addresses),
    known(10, "impress-servers", Addresses),
    known(11, "resource-location-servers", Addresses),
    known(12, "host-name", Text),
    known(13, "boot-size", U16 { min: 0 }),
    known(14, "merit-dump", Text),
    known(15, "domain-name", Text),
    known(16, "swap-server", Address),
    known(17, "root-path", Text),
    known(18, "extensions-path", Text),
    known(19, "ip-forwarding", Flag),
    known(20, "non-local-source-routing", Flag),
    known(21, "policy-filter", AddressPairs),
    known(22, "max-dgram-reassembly", U16 { min: 576 }),
    known(23, "default-ip-ttl", U8 { min: 1 }),
    known(24, "path-mtu-aging-timeout", Seconds),
    known(25, "path-mtu-plateau-table", U16s { min: 68 }),
    known(26, "interface-mtu", U16 { min: 68 }),
    known(27, "all-subnets-local", Flag),
    known(28, "broadcast-address", Address),
    known(29, "perform-mask-discovery", Flag),
    known(30, "mask-supplier", Flag),
    known(31, "router-discovery", Flag),
    known(32, "router-solicitation-address", Address),
    known(33, "static-routes", AddressPairs),
    known(34, "trailer-encapsulation", Flag),
    known(35, "arp-cache-timeout", Seconds),
    known(36, "ieee802-3-encapsulation", Flag),
    known(37, "default-tcp-ttl", U8 { min: 1 }),
    known(38, "tcp-keepalive-interval", Seconds),
    known(39, "tcp-keepalive-garbage", Flag),
    known(40, "nis-domain", Text),
    known(41, "nis-servers", Addresses),
    known(42, "ntp-servers", Addresses),
    known(43, "vendor-encapsulated-options", Bytes),
    known(44, "netbios-name-servers", Addresses),
    known(45, "netbios-dd-server", Addresses),
    known(46, "netbios-node-type", OneOf(&[1, 2, 4, 8])),
    known(47, "netbios-scope", Text),
    known(48, "font-servers", Addresses),
    known(49, "x-display-manager", Addresses),
    known(50, "dhcp-requested-address", Protocol(BY_CLIENT)),
    known(51, "dhcp-lease-time", Seconds),
    known(52, "dhcp-option-overload", Protocol(BY_SERVER)),
    known(53, "dhcp-message-type", Protocol(BY_SERVER)),
    known(54, "dhcp-server-identifier", Protocol(BY_SERVER)),
    known(55, "dhcp-parameter-request-list", Protocol(BY_CLIENT)),
    known(56, "dhcp-message", Text),
    known(57, "dhcp-max-message-size", Protocol(BY_CLIENT)),
    known(58, "dhcp-renewal-time", Seconds),
    known(59, "dhcp-rebinding-time", Seconds),
    known(60, "vendor-class-identifier", Text),
    known(61, "dhcp-client-identifier", Protocol("the client sends it and the server repeats it (RFC 6842)")),
    known(62, "nwip-domain", Text),
    known(63, "nwip-suboptions", Bytes),
    known(64, "nisplus-domain", Text),
    known(65, "nisplus-servers", Addresses),
    known(66, "tftp-server-name", Text),
    known(67, "bootfile-name", Text),
    known(68, "mobile-ip-home-agent", AddressesOrNone),
    known(69, "smtp-server", Addresses),
    known(70, "pop-server", Addresses),
    known(71, "nntp-server", Addresses),
    known(72, "www-server", Addresses),
    known(73, "finger-server", Addresses),
    known(74, "irc-server", Addresses),
    known(75, "streettalk-server", Addresses),
    known(76, "streettalk-directory-assistance-server", Addresses),
    known(77, "user-class", Protocol(BY_CLIENT)),
    known(78, "slp-directory-agent", Bytes),
    known(79, "slp-service-scope", Bytes),
    known(80, "rapid-commit", Protocol("BootTorrent always asks before it commits")),
    known(81, "fqdn", Bytes),
    known(82, "relay-agent-information", Protocol("relays add it and the server repeats it (RFC 3046)")),
    known(85, "nds-servers", Addresses),
    known(86, "nds-tree-name", Text),
    known(87, "nds-context", Text),
    known(88, "bcms-controller-names", Domains),
    known(89, "bcms-controller-address", Addresses),
    known(93, "pxe-system-type", U16s { min: 0 }),
    known(94, "pxe-interface-id", Bytes),
    known(97, "pxe-client-id", Bytes),
    known(98, "uap-servers", Text),
    known(99, "geoconf-civic", Bytes),
    known(100, "pcode", Text),
    known(101, "tcode", Text),
    known(108, "v6-only-preferred", Seconds),
    known(112, "netinfo-server-address", Addresses),
    known(113, "netinfo-server-tag", Text),
    known(114, "default-url", Text),
    known(116, "auto-config", OneOf(&[0, 1])),
    known(117, "name-service-search", U16s { min: 0 }),
    known(118, "subnet-selection", Protocol(BY_CLIENT)),
    known(119, "domain-search", Domains),
    known(120, "sip-servers", Bytes),
    known(121, "classless-static-routes", Routes),
    known(124, "vivco", Bytes),
    known(125, "vivso", Bytes),
    known(136, "pana-agent", Addresses),
    known(137, "v4-lost", Domains),
    known(138, "capwap-ac-v4", Addresses),
    known(150, "tftp-server-address", Addresses),
    known(161, "mud-url", Text),
    known(175, "ipxe", Bytes),
    known(208, "pxelinux-magic", Bytes),
    known(209, "pxelinux-config-file", Text),
    known(210, "pxelinux-path-prefix", Text),
    known(211, "pxelinux-reboot-time", U32),
    known(212, "option-6rd", Bytes),
    known(213, "v4-access-domain", Domains),
    known(220, "subnet-allocation", Bytes),
    known(249, "ms-classless-static-routes", Routes),
    known(252, "wpad-url", Text),
    known(255, "end", Protocol("it carries no value")),
];

pub(super) fn by_code(code: u8) -> Option<&'static Known> {
    TABLE.binary_search_by_key(&code, |known| known.code).ok().map(|at| &TABLE[at])
}

pub(super) fn by_name(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_names_are_unique() {
        assert!(TABLE.windows(2).all(|pair| pair[0].code < pair[1].code));
        let mut names: Vec<_> = TABLE.iter().map(|known| known.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn all_of_rfc_2132_is_there() {
        assert!((1..=76).all(|code| by_code(code).is_some()));
    }
}
