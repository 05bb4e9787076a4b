//! [dhcp]: subnets, ranges and options.
//! Decides that no address can be given twice and that every option can be sent; never gives out one.

use super::finding::{At, Findings, Place};
use super::section::Section;
use super::value::Spelt;
use crate::dhcp::config::{Network, Range, RawOption};
use crate::dhcp::options;
use std::net::Ipv4Addr;
use std::time::Duration;
use toml::de::DeValue;

/// Leases unless the site says otherwise: a working day, so that an address survives a lunch break without a renewal.
const LEASE_TIME: Duration = Duration::from_secs(12 * 3600);
/// A shorter lease is renewed faster than a slow boot takes.
const MIN_LEASE: Duration = Duration::from_secs(60);
/// Fits the 32 bits of option 51 with its "infinite" left out (RFC 2131, 3.3).
const MAX_LEASE: Duration = Duration::from_secs(365 * 86_400);

/// IP address lease time (RFC 2132, 9.2).
const LEASE_TIME_OPTION: u8 = 51;

/// The DHCP server's part of a site.
#[derive(Debug, Clone)]
pub struct Dhcp {
    pub lease_time: Duration,
    pub subnets: Vec<Subnet>,
}

/// A network that addresses are given out of.
#[derive(Debug, Clone)]
pub struct Subnet {
    pub network: At<Network>,
    pub ranges: Vec<At<Range>>,
    /// Its own and those of [dhcp].
    pub options: Vec<RawOption>,
}

enum Mode {
    Server,
    Proxy,
    Off,
}

impl Spelt for Mode {
    const KIND: &'static str = "\"server\" or \"off\"";

    fn read(text: &str) -> Result<Mode, String> {
        match text {
            "server" => Ok(Mode::Server),
            "proxy" => Ok(Mode::Proxy),
            "off" => Ok(Mode::Off),
            _ => Err(format!("{text:?} is no mode")),
        }
    }
}

/// Reads [dhcp]; none where it is off.
pub(crate) fn read(root: &Section<'_>, master: Option<&At<Ipv4Addr>>) -> Option<Dhcp> {
    let section = root.section("dhcp");
    let findings = section.findings();
    let mode = section.get::<Mode>("mode");
    let lease = section.get::<Duration>("lease-time");
    if let Some(At { value, place }) = &lease
        && !(MIN_LEASE..=MAX_LEASE).contains(value)
    {
        findings.add(place, "\"lease-time\" is out of bounds", "write a duration from \"60s\" to \"365d\"");
    }
    let common = read_options(&section, "options");
    let subnets: Vec<Subnet> = section
        .sections("subnet", "[[dhcp.subnet]]")
        .into_iter()
        .filter_map(|subnet| read_subnet(subnet, &common, master))
        .collect();
    check_overlaps(&subnets, findings);
    let place = section.place().clone();
    let has_section = section.exists();
    section.finish();
    match mode.as_ref().map(|m| &m.value) {
        Some(Mode::Off) => return None,
        Some(Mode::Proxy) => {
            let place = mode.map_or(place, |m| m.place);
            let what = "mode \"proxy\" comes with a later version";
            findings.add(
                &place,
                what,
                "write mode = \"server\", or \"off\" and let your own server name the boot file",
            );
            return None;
        }
        Some(Mode::Server) | None => {}
    }
    let lost = master.filter(|m| !subnets.iter().any(|s| s.network.value.has_host(m.value)));
    if subnets.is_empty() {
        let what = if has_section { "[dhcp] has no [[dhcp.subnet]]" } else { "there is no [[dhcp.subnet]]" };
        findings.add(&place, what, "add one with network = and range =, or write [dhcp] mode = \"off\"");
    } else if let Some(At { value, place }) = lost {
        let what = format!("\"address\" {value} lies in no [[dhcp.subnet]]");
        findings.add(
            place,
            what,
            "correct the address, or add its subnet (without range = if only relays serve it)",
        );
    }
    Some(Dhcp { lease_time: lease.map_or(LEASE_TIME, |l| l.value), subnets })
}

fn read_subnet(subnet: Section<'_>, common: &[RawOption], master: Option<&At<Ipv4Addr>>) -> Option<Subnet> {
    let findings = subnet.findings();
    let network = subnet.need::<Network>("network", "\"10.0.0.0/24\"");
    let ranges = subnet.get_list::<Range>("range");
    let mut options = read_options(&subnet, "options");
    options.extend(
        common.iter().filter(|c| !options.iter().any(|o| o.code == c.code)).cloned().collect::<Vec<_>>(),
    );
    options.sort_by_key(|o| o.code);
    subnet.finish();
    let network = network?;
    for range in &ranges {
        let value = range.value;
        if !network.value.has_host(value.first()) || !network.value.has_host(value.last()) {
            let what = format!("the range {value} does not lie in {}", network.value);
            findings.add(&range.place, what, hosts_of(network.value));
        }
        if let Some(master) = master.filter(|m| value.contains(m.value)) {
            let what = format!("the range {value} contains this master's own address {}", master.value);
            findings.add(
                &range.place,
                what,
                format!("leave it out ({} says the address)", master.place.in_words()),
            );
        }
    }
    Some(Subnet { network, ranges, options })
}

/// "hosts of 10.0.0.0/24 are ...", the remedy for an address outside of a subnet.
pub(crate) fn hosts_of(network: Network) -> String {
    let first = Ipv4Addr::from_bits(network.address().to_bits().saturating_add(1));
    let last = Ipv4Addr::from_bits(network.broadcast().to_bits().saturating_sub(1));
    format!("the addresses of {network} are {first} to {last}")
}

fn check_overlaps(subnets: &[Subnet], findings: &Findings) {
    let tell = |place: &Place, what: String, other: &Place| {
        findings.add(place, what, format!("change it, or what {} says", other.in_words()));
    };
    for (i, subnet) in subnets.iter().enumerate() {
        for earlier in &subnets[..i] {
            let (a, b) = (subnet.network.value, earlier.network.value);
            if a.contains(b.address()) || b.contains(a.address()) {
                tell(
                    &subnet.network.place,
                    format!("the subnets {a} and {b} overlap"),
                    &earlier.network.place,
                );
            }
        }
    }
    let ranges: Vec<&At<Range>> = subnets.iter().flat_map(|s| &s.ranges).collect();
    for (i, range) in ranges.iter().enumerate() {
        for earlier in &ranges[..i] {
            if range.value.overlaps(earlier.value) {
                let what = format!("the ranges {} and {} overlap", range.value, earlier.value);
                tell(&range.place, what, &earlier.place);
            }
        }
    }
}

/// The options of a table, encoded for the wire; each that cannot be is a finding.
pub(crate) fn read_options(section: &Section<'_>, key: &'static str) -> Vec<RawOption> {
    let mut options: Vec<RawOption> = Vec::new();
    for (name, value) in section.get_entries(key) {
        match options::encode(&name.value, &to_toml(value.value)) {
            Ok((LEASE_TIME_OPTION, value)) if !is_lease(&value) => {
                let what = format!("\"{}\" is out of bounds", name.value);
                let remedy = "write a duration from \"60s\" to \"365d\", best as lease-time = in [dhcp]";
                section.findings().add(&name.place, what, remedy);
            }
            Ok((code, value)) => {
                if options.iter().any(|o| o.code == code) {
                    let what = format!("\"{}\" is option {code}, which stands here already", name.value);
                    section.findings().add(&name.place, what, "keep one of the two");
                } else {
                    options.push(RawOption { code, value });
                }
            }
            Err(e) => {
                let sentence = e.to_string();
                let (what, remedy) = sentence.split_once("; ").unwrap_or((&sentence, "correct the value"));
                section.findings().add(&name.place, what, remedy);
            }
        }
    }
    options
}

/// The bounds of lease-time hold for the option, too: however it is written, it becomes how long an address is kept.
fn is_lease(value: &[u8]) -> bool {
    let seconds = value.try_into().ok().map(u32::from_be_bytes);
    seconds.is_some_and(|s| (MIN_LEASE..=MAX_LEASE).contains(&Duration::from_secs(s.into())))
}

fn to_toml(value: &DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(s) => toml::Value::String(s.to_string()),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(n) => toml::Value::Integer(n),
            Err(_) => toml::Value::String(i.to_string()),
        },
        DeValue::Float(f) => {
            f.as_str().parse().map_or_else(|_| toml::Value::String(f.to_string()), toml::Value::Float)
        }
        DeValue::Boolean(b) => toml::Value::Boolean(*b),
        DeValue::Datetime(d) => toml::Value::Datetime(*d),
        DeValue::Array(a) => toml::Value::Array(a.iter().map(|v| to_toml(v.get_ref())).collect()),
        DeValue::Table(t) => toml::Value::Table(
            t.iter().map(|(k, v)| (k.get_ref().to_string(), to_toml(v.get_ref()))).collect(),
        ),
    }
}
