//! A node's own file, read by TFTP like the catalog.
#![no_main]

use boottorrent_fuzz::seeds;
use boottorrent_swarm::Mac;
use boottorrent_swarm::nodefile::{MAX_OVERLAY, NodeFile, Overlay};
use libfuzzer_sys::fuzz_target;

fn node() -> NodeFile {
    NodeFile {
        site: "lab".into(),
        mac: Mac([0x52, 0x54, 0, 0, 0, 1]),
        name: "n01".into(),
        os: Some("debian".into()),
        cmdline: "role=worker".into(),
        overlay: Some(Overlay { length: 512, sha256: [5; 32] }),
    }
}

fuzz_target!(init: seeds(&[node().emit(), NodeFile { os: None, overlay: None, ..node() }.emit()]), |data: &[u8]| {
    let Ok(node) = NodeFile::parse(data) else { return };
    assert_eq!(NodeFile::parse(&node.emit()).as_ref(), Ok(&node));
    assert!(node.overlay.is_none_or(|o| o.length <= MAX_OVERLAY));
    let mac = node.mac;
    assert_eq!(mac.to_string().parse(), Ok(mac));
    assert_eq!(mac.hyphenated().parse(), Ok(mac));
});
