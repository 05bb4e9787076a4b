//! The switch's counters, a port for each host in the order in which they were made: what crossed which link.

use crate::error::LabError;
use crate::process::run;
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes from and to each port's host.
#[derive(Default)]
pub(crate) struct Ports(BTreeMap<u32, (f64, f64)>);

impl Ports {
    pub(crate) fn now(switch: &str) -> Result<Self, LabError> {
        let text = run(&["ip", "-n", switch, "-s", "-j", "link", "show", "type", "veth"])?;
        Ok(Self::parse(&serde_json::from_str(&text).unwrap_or_default()))
    }

    fn parse(links: &Value) -> Self {
        let port = |link: &Value| {
            let number = link.get("ifname")?.as_str()?.strip_prefix('v')?.parse().ok()?;
            let bytes = |way: &str| link.pointer(&format!("/stats64/{way}/bytes"))?.as_f64();
            Some((number, (bytes("rx")?, bytes("tx")?)))
        };
        Self(links.as_array().into_iter().flatten().filter_map(port).collect())
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        let moved = |(port, (from, to)): (&u32, &(f64, f64))| {
            let (from_before, to_before) = before.0.get(port).copied().unwrap_or_default();
            (*port, (from - from_before, to - to_before))
        };
        Self(self.0.iter().map(moved).collect())
    }

    /// The first host is the master.
    pub(crate) fn sent_by_first(&self) -> f64 {
        self.0.values().next().map_or(f64::NAN, |(from, _)| *from)
    }

    pub(crate) fn most_received_by_others(&self) -> f64 {
        self.0.values().skip(1).map(|(_, to)| *to).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stand_in_the_order_of_their_numbers() {
        let link = |name: &str, rx: u64, tx: u64| serde_json::json!({ "ifname": name, "stats64": { "rx": { "bytes": rx }, "tx": { "bytes": tx } } });
        let before = Ports::parse(&serde_json::json!([link("v10", 0, 5), link("v2", 3, 0)]));
        let after =
            Ports::parse(&serde_json::json!([link("v10", 1, 25), link("v2", 103, 7), link("br0", 9, 9)]));
        let moved = after.since(&before);
        assert_eq!((moved.sent_by_first() as u64, moved.most_received_by_others() as u64), (100, 20));
    }
}
