//! What the peers came to when they were first measured on the project's machine, alone (64 MiB in 256 KiB pieces over
//! links of 100 Mbit/s; 1 GiB over an unlimited link). A peer that is far from it now is badly tuned or disturbed, and
//! beating it proves nothing: the report says so.

use super::race::Case;

/// A peer within this of its baseline is as it should be.
const TOLERANCE: f64 = 0.25;
/// Bytes of the pieces in which the swarms were measured.
pub(crate) const PIECE: u32 = 256 << 10;
const NODES: [u8; 4] = [1, 4, 8, 16];

/// Seconds until the last node was done, for 1, 4, 8 and 16 nodes.
const SWARM: [(&str, [f64; 4]); 7] = [
    ("http", [5.7, 22.6, 45.0, 89.9]),
    ("udpcast", [8.3, 8.3, 8.3, 8.5]),
    ("lt-tcp", [5.6, 11.0, 11.9, 15.5]),
    ("lt-hp", [5.6, 10.3, 13.5, 12.9]),
    ("aria2", [8.6, 9.9, 12.0, 15.7]),
    ("rqbit", [6.0, 15.6, 22.0, 30.8]),
    ("transmission", [24.7, 33.6, 37.1, 39.3]),
];

/// MB/s of one node.
const RAW: [(&str, f64); 5] =
    [("http", 698.0), ("lt-tcp", 452.0), ("lt-hp", 518.0), ("aria2", 199.0), ("rqbit", 331.0)];

/// Seconds that the contestant took then, if it was measured in this case.
pub(crate) fn seconds(name: &str, case: &Case) -> Option<f64> {
    match case {
        Case { mib: 64, mbit: Some(100), nodes } => {
            let column = NODES.iter().position(|known| known == nodes)?;
            SWARM.iter().find(|(known, _)| *known == name).map(|(_, seconds)| seconds[column])
        }
        Case { mib: 1024, mbit: None, nodes: 1 } => {
            RAW.iter().find(|(known, _)| *known == name).map(|(_, rate)| case.bytes() / 1e6 / rate)
        }
        _ => None,
    }
}

/// The contestant was quicker then.
pub(crate) fn is_slow(name: &str, case: &Case, measured: f64) -> bool {
    seconds(name, case).is_some_and(|baseline| measured > baseline * (1.0 + TOLERANCE))
}

/// How the time compares, in words, where there is something to compare with.
pub(crate) fn verdict(name: &str, case: &Case, measured: f64) -> Option<String> {
    let baseline = seconds(name, case)?;
    let off = measured / baseline - 1.0;
    let percent = off * 100.0;
    let word = if off.abs() <= TOLERANCE { "as it was" } else { "NOT as it was" };
    Some(format!("{word}: {measured:.1} s, {percent:+.0} % of {baseline:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_compared_with_its_own_case() {
        let case = Case { nodes: 8, mib: 64, mbit: Some(100) };
        assert!(verdict("aria2", &case, 14.9).unwrap().starts_with("as it was: 14.9 s, +24 %"));
        assert!(verdict("aria2", &case, 8.9).unwrap().starts_with("NOT as it was: 8.9 s, -26 %"));
        for other in [Case { nodes: 2, ..case }, Case { mib: 256, ..case }, Case { mbit: Some(50), ..case }] {
            assert_eq!(seconds("aria2", &other), None);
        }
        assert!(is_slow("rqbit", &case, 30.5) && !is_slow("rqbit", &case, 15.0));
        assert_eq!(seconds("ours", &case), None);
        let raw = Case { nodes: 1, mib: 1024, mbit: None };
        assert!((seconds("lt-hp", &raw).unwrap() - 2.07).abs() < 0.01);
    }
}
