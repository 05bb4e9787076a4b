//! Local announces (BEP 14): any datagram of the group; what is read is said again in the same words.
#![no_main]

use boottorrent_fuzz::seeds;
use boottorrent_swarm::InfoHash;
use boottorrent_swarm::local::LocalAnnounce;
use libfuzzer_sys::fuzz_target;

fn inputs() -> Vec<Vec<u8>> {
    let announce = |hashes, cookie| {
        let mut out = Vec::new();
        LocalAnnounce { port: 6881, hashes, cookie }.emit(&mut out);
        out
    };
    vec![announce(vec![InfoHash([1; 20])], None), announce(vec![InfoHash([0xab; 20]); 3], Some(7))]
}

fuzz_target!(init: seeds(&inputs()), |data: &[u8]| {
    let Some(announce) = LocalAnnounce::parse(data) else { return };
    assert!(announce.port != 0 && !announce.hashes.is_empty());
    let mut out = Vec::new();
    announce.emit(&mut out);
    assert_eq!(LocalAnnounce::parse(&out), Some(announce));
});
