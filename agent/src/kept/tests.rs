use super::*;
use crate::lease::Resolver;
use boottorrent_swarm::catalog::Catalog;
use boottorrent_swarm::nodefile::{NodeFile, Overlay};
use sha2::{Digest as _, Sha256};

const MAC: Mac = Mac([0x52, 0x54, 0, 0, 0, 1]);

struct Site {
    keys: minisign::KeyPair,
    key: SiteKey,
}

impl Site {
    fn new() -> Self {
        let keys = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let key = SiteKey::parse(&keys.pk.to_base64()).unwrap();
        Self { keys, key }
    }

    fn sign(&self, bytes: Vec<u8>) -> Signed {
        let signature = minisign::sign(None, &self.keys.sk, bytes.as_slice(), Some("test"), None).unwrap();
        Signed { bytes, signature: signature.into_string().into_bytes() }
    }

    fn catalog(&self) -> Signed {
        let catalog = Catalog {
            site: "lab".into(),
            generation: 7,
            default: None,
            timeout_ms: None,
            tracker_port: 6969,
            seed_port: 6881,
            images: Vec::new(),
        };
        self.sign(catalog.emit())
    }

    fn node(&self, overlay: &[u8]) -> Signed {
        let overlay = Overlay { length: overlay.len() as u64, sha256: Sha256::digest(overlay).into() };
        let node = NodeFile {
            site: "lab".into(),
            mac: MAC,
            name: "n01".into(),
            os: Some("debian".into()),
            cmdline: String::new(),
            overlay: Some(overlay),
        };
        self.sign(node.emit())
    }
}

fn folder() -> (tempfile::TempDir, Kept) {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::at(folder.path().join("kept"));
    (folder, kept)
}

#[test]
fn what_the_site_said_is_there_for_the_next_worker() {
    let (site, (_folder, kept)) = (Site::new(), folder());
    assert!(kept.offer(&site.key, MAC).is_none());
    kept.keep_offer(&site.catalog(), Some(&site.node(b"overlay")), b"overlay");
    let offer = kept.offer(&site.key, MAC).unwrap();
    assert_eq!((offer.catalog.generation, offer.node.unwrap().name.as_str()), (7, "n01"));
    assert_eq!(&offer.overlay[..], b"overlay");
    // A node that lost its entry does not get it back.
    kept.keep_offer(&site.catalog(), None, b"");
    let offer = kept.offer(&site.key, MAC).unwrap();
    assert!(offer.node.is_none() && offer.overlay.is_empty());
}

#[test]
fn lying_here_proves_nothing() {
    let (site, (folder, kept)) = (Site::new(), folder());
    kept.keep_offer(&site.catalog(), Some(&site.node(b"overlay")), b"overlay");
    assert!(kept.offer(&Site::new().key, MAC).is_none(), "another site's key");
    assert!(kept.offer(&site.key, Mac([2; 6])).is_none(), "another node's file");
    for name in [CATALOG, NODE, OVERLAY] {
        let path = folder.path().join("kept").join(name);
        let good = fs::read(&path).unwrap();
        fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(kept.offer(&site.key, MAC).is_none(), "{name} was changed");
        fs::write(&path, good).unwrap();
    }
    assert!(kept.offer(&site.key, MAC).is_some());
    // A worker that died while it wrote a new one: the catalog is written last.
    fs::remove_file(folder.path().join("kept").join(CATALOG)).unwrap();
    assert!(kept.offer(&site.key, MAC).is_none());
}

#[test]
fn other_nodes_are_found_again() {
    let (_folder, kept) = folder();
    assert!(kept.nodes().is_empty());
    let nodes = ["10.0.0.12:6881".parse().unwrap(), "10.0.0.13:6881".parse().unwrap()];
    kept.keep_nodes(&nodes);
    assert_eq!(kept.nodes(), nodes);
}

#[test]
fn a_lease_is_its_cards() {
    let (_folder, kept) = folder();
    let card = Card { name: "eth0".into(), index: 2, mac: MAC };
    assert_eq!(kept.lease(&card), None);
    let lease = Lease {
        card: card.clone(),
        address: [10, 0, 0, 9].into(),
        prefix: 24,
        router: None,
        server: [10, 0, 0, 1].into(),
        next_server: Some([10, 0, 0, 2].into()),
        host_name: Some("n01".into()),
        resolver: Resolver { servers: vec![[10, 0, 0, 3].into()], domain: None },
    };
    kept.keep_lease(&lease);
    assert_eq!(kept.lease(&card), Some(lease));
    assert_eq!(kept.lease(&Card { mac: Mac([2; 6]), ..card }), None);
}
