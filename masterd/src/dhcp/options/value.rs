//! From a TOML value to the bytes of an option, by its form. An error is the form that was wanted, as a noun phrase
//! with an example, so that the sentence around it can say what was found instead.

use std::net::Ipv4Addr;

use dhcproto::Name;
use dhcproto::v4::{DhcpOption, Encodable};
use toml::Value;

use super::table::Kind;
use crate::dhcp::config::Network;
use crate::dhcp::hex;

type Wanted = &'static str;

const HEX: Wanted = "bytes as \"hex:0102ff\"";
const ADDRESS: Wanted = "an IPv4 address as \"10.0.0.1\"";
const ADDRESSES: Wanted = "IPv4 addresses as [\"10.0.0.1\", \"10.0.0.2\"]";
const PAIRS: Wanted = "pairs of IPv4 addresses as [\"10.1.0.0 255.255.0.0\"]";
const TEXT: Wanted = "a text that is not empty";
const SECONDS: Wanted = "seconds, as 600 or \"10m\"";
const DOMAINS: Wanted = "domain names as [\"lab.example\", \"example\"]";
const ROUTES: Wanted = "routes as [\"10.1.0.0/16 10.0.0.254\"]";
const UNTYPED: Wanted = "a value with its type, as \"hex:0102\", \"ip:10.0.0.1\", \"text:word\", \"u8:1\", \"u16:1\" or \"u32:1\"";

/// `kind` is `None` for a number that has no name.
pub(super) fn encode(kind: Option<Kind>, value: &Value) -> Result<Vec<u8>, Wanted> {
    // Bytes fit every option: whoever writes them knows better than the table.
    if let Some(digits) = value.as_str().and_then(|text| text.strip_prefix("hex:")) {
        return hex::parse(digits).ok_or(HEX);
    }
    let Some(kind) = kind else { return untyped(value) };
    match kind {
        Kind::Address => address(value.as_str(), ADDRESS),
        Kind::Addresses => addresses(value).and_then(|bytes| non_empty(bytes, ADDRESSES)),
        Kind::AddressesOrNone => addresses(value),
        Kind::AddressPairs => pairs(value),
        Kind::Text => text(value),
        Kind::U8 { min } => integer(value, i64::from(min), i64::from(u8::MAX))
            .map(|n| n.to_be_bytes()[7..].to_vec())
            .ok_or("a number from 1 to 255"),
        Kind::OneOf(allowed) => one_of(value, allowed),
        Kind::U16 { min } => u16_bytes(value, min),
        Kind::U16s { min } => {
            let items =
                list(value).into_iter().map(|item| u16_bytes(item, min)).collect::<Result<Vec<_>, _>>()?;
            non_empty(items.concat(), "numbers as [576, 1500]")
        }
        Kind::U32 => integer(value, 0, i64::from(u32::MAX))
            .map(|n| n.to_be_bytes()[4..].to_vec())
            .ok_or("a number from 0 to 4294967295"),
        Kind::I32 => integer(value, i64::from(i32::MIN), i64::from(i32::MAX))
            .map(|n| n.to_be_bytes()[4..].to_vec())
            .ok_or("a number from -2147483648 to 2147483647"),
        Kind::Seconds => seconds(value).map(|n| n.to_be_bytes().to_vec()).ok_or(SECONDS),
        Kind::Flag => value.as_bool().map(|on| vec![u8::from(on)]).ok_or("true or false"),
        Kind::Domains => domains(value),
        Kind::Routes => routes(value),
        Kind::Bytes => Err(HEX),
        Kind::Protocol(_) => Err("to be left out"),
    }
}

fn untyped(value: &Value) -> Result<Vec<u8>, Wanted> {
    let (kind, rest) = value.as_str().and_then(|text| text.split_once(':')).ok_or(UNTYPED)?;
    let number = |max: u32| rest.parse::<u32>().ok().filter(|n| *n <= max).ok_or(UNTYPED);
    match kind {
        "ip" => rest
            .split(',')
            .map(|item| address(Some(item.trim()), UNTYPED))
            .collect::<Result<Vec<_>, _>>()
            .map(|a| a.concat()),
        "text" => text(&Value::from(rest)),
        "u8" => number(u32::from(u8::MAX)).map(|n| n.to_be_bytes()[3..].to_vec()),
        "u16" => number(u32::from(u16::MAX)).map(|n| n.to_be_bytes()[2..].to_vec()),
        "u32" => number(u32::MAX).map(|n| n.to_be_bytes().to_vec()),
        _ => Err(UNTYPED),
    }
}

/// A single value stands for a list of one.
fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

fn non_empty(bytes: Vec<u8>, wanted: Wanted) -> Result<Vec<u8>, Wanted> {
    if bytes.is_empty() { Err(wanted) } else { Ok(bytes) }
}

fn address(text: Option<&str>, wanted: Wanted) -> Result<Vec<u8>, Wanted> {
    text.and_then(|text| text.parse::<Ipv4Addr>().ok()).map(|a| a.octets().to_vec()).ok_or(wanted)
}

fn addresses(value: &Value) -> Result<Vec<u8>, Wanted> {
    let each = list(value).into_iter().map(|item| address(item.as_str(), ADDRESSES));
    each.collect::<Result<Vec<_>, _>>().map(|all| all.concat())
}

/// Each pair is `"A B"`, `["A", "B"]`, or `"A/24"` for an address and its mask.
fn pairs(value: &Value) -> Result<Vec<u8>, Wanted> {
    let mut bytes = Vec::new();
    for item in list(value) {
        if let Some(network) = item.as_str().and_then(|text| text.parse::<Network>().ok()) {
            bytes.extend(network.address().octets());
            bytes.extend(network.mask().octets());
            continue;
        }
        let words: Vec<&str> = match item {
            Value::String(text) => text.split_whitespace().collect(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            _ => return Err(PAIRS),
        };
        let [a, b] = words.as_slice() else { return Err(PAIRS) };
        bytes.extend(address(Some(a), PAIRS)?);
        bytes.extend(address(Some(b), PAIRS)?);
    }
    non_empty(bytes, PAIRS)
}

/// RFC 2132 2: no NUL at the end; clients take control characters badly, so they are refused.
fn text(value: &Value) -> Result<Vec<u8>, Wanted> {
    let text = value.as_str().filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
    text.map(|text| text.as_bytes().to_vec()).ok_or(TEXT)
}

fn integer(value: &Value, min: i64, max: i64) -> Option<i64> {
    value.as_integer().filter(|n| (min..=max).contains(n))
}

fn one_of(value: &Value, allowed: &[u8]) -> Result<Vec<u8>, Wanted> {
    let wanted = if allowed.len() == 2 { "0 or 1" } else { "1 (B), 2 (P), 4 (M) or 8 (H)" };
    let number = value.as_integer().and_then(|n| u8::try_from(n).ok());
    number.filter(|n| allowed.contains(n)).map(|n| vec![n]).ok_or(wanted)
}

fn u16_bytes(value: &Value, min: u16) -> Result<Vec<u8>, Wanted> {
    let wanted = match min {
        68 => "a number from 68 to 65535",
        576 => "a number from 576 to 65535",
        _ => "a number from 0 to 65535",
    };
    let number = integer(value, i64::from(min), i64::from(u16::MAX)).ok_or(wanted)?;
    Ok(number.to_be_bytes()[6..].to_vec())
}

fn seconds(value: &Value) -> Option<u32> {
    if let Some(number) = value.as_integer() {
        return u32::try_from(number).ok();
    }
    let text = value.as_str()?;
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    digits.parse::<u32>().ok()?.checked_mul(factor)
}

/// RFC 3397: names with compression over the whole option, which dhcproto does.
fn domains(value: &Value) -> Result<Vec<u8>, Wanted> {
    let name = |item: &Value| {
        let text = item.as_str().filter(|text| !text.is_empty() && text.is_ascii())?;
        let mut name = Name::from_ascii(text).ok()?;
        name.set_fqdn(true);
        Some(name)
    };
    let names =
        list(value).into_iter().map(|item| name(item).ok_or(DOMAINS)).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Err(DOMAINS);
    }
    joined(&DhcpOption::DomainSearch(names)).ok_or(DOMAINS)
}

fn routes(value: &Value) -> Result<Vec<u8>, Wanted> {
    let mut bytes = Vec::new();
    for item in list(value) {
        let (network, router) = item.as_str().and_then(|text| text.split_once(' ')).ok_or(ROUTES)?;
        let network = network.parse::<Network>().map_err(|_| ROUTES)?;
        let significant = usize::from(network.prefix().div_ceil(8));
        bytes.push(network.prefix());
        bytes.extend(network.address().octets().iter().take(significant));
        bytes.extend(address(Some(router.trim()), ROUTES)?);
    }
    non_empty(bytes, ROUTES)
}

/// The value of an option that dhcproto encoded: without the code and length before each 255 bytes.
fn joined(option: &DhcpOption) -> Option<Vec<u8>> {
    let encoded = option.to_vec().ok()?;
    let mut rest = encoded.as_slice();
    let mut value = Vec::with_capacity(rest.len());
    while let [_code, length, tail @ ..] = rest {
        let (part, after) = tail.split_at_checked(usize::from(*length))?;
        value.extend_from_slice(part);
        rest = after;
    }
    Some(value)
}
