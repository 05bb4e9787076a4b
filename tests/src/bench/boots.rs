//! Seconds from switch-on to the OS's first line: by the product, and the same OS straight by iPXE over HTTP from nginx.
//! The same link, the same emulated machines, one after the other.

use super::Figure;
use crate::error::LabError;
use crate::lab::Lab;
use crate::node::{Node, NodeSpec};
use crate::os;
use crate::room::Room;
use crate::site::{Os, Site};
use crate::straight::Straight;
use std::time::Duration;

const BOOT: Duration = Duration::from_secs(600);
const FIRST_LINE: &str = "BT-OS-UP";

/// # Errors
/// When a node does not boot.
pub fn measure(mbit: u32) -> Result<Vec<Figure>, LabError> {
    let mut figures = Vec::new();
    for nodes in [1, 4] {
        let ours = product(nodes, mbit)?;
        let theirs = straight(nodes, mbit)?;
        let what = format!("{nodes} node{}, master at {mbit} Mbit/s", if nodes == 1 { "" } else { "s" });
        figures.push(Figure::new(
            format!("{what}: BootTorrent, last first line"),
            format!("{ours:.1} s"),
            "",
        ));
        figures.push(Figure::new(
            format!("{what}: iPXE over HTTP, last first line"),
            format!("{theirs:.1} s"),
            "",
        ));
    }
    Ok(figures)
}

fn specs(nodes: u8) -> Vec<NodeSpec> {
    (1..=nodes).map(NodeSpec::new).collect()
}

fn product(nodes: u8, mbit: u32) -> Result<f64, LabError> {
    let specs = specs(nodes);
    let site = Site::with(&[Os::small("small", "")]);
    let site = specs.iter().fold(site, |site, spec| site.node(spec, "os = \"small\""));
    let room = Room::serving(&site)?;
    room.master.host.limit(mbit)?;
    last_of(specs.iter().map(|spec| room.node(spec)).collect::<Result<_, _>>()?)
}

fn straight(nodes: u8, mbit: u32) -> Result<f64, LabError> {
    let image = os::small()?;
    let lab = Lab::new()?;
    let wrapped = [("payload.bin", "/wrapped/payload.bin")];
    let server = Straight::start(&lab, &image, "initrd", &wrapped, "console=ttyS0 quiet")?;
    server.host.limit(mbit)?;
    last_of(specs(nodes).into_iter().map(|spec| Node::switch_on(&lab, spec)).collect::<Result<_, _>>()?)
}

/// When the last of them said its OS's first line.
fn last_of(nodes: Vec<Node>) -> Result<f64, LabError> {
    let mut last = 0.0_f64;
    for node in &nodes {
        last = last.max(node.console.expect(FIRST_LINE, BOOT)?.after.as_secs_f64());
    }
    Ok(last)
}
