//! Torrents and the bencode under them: whatever a tracker's operator or a download page hands out.
#![no_main]

use boottorrent_fuzz::seeds;
use boottorrent_swarm::bencode::{self, Value, Writer};
use boottorrent_swarm::metainfo::Metainfo;
use libfuzzer_sys::fuzz_target;

/// Our writer knows no negative numbers, since no format of ours has one.
fn emit(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Int(n) => out.extend_from_slice(format!("i{n}e").as_bytes()),
        Value::Bytes(bytes) => {
            let mut writer = Writer::new();
            writer.bytes(bytes);
            out.extend_from_slice(&writer.finish());
        }
        Value::List(items) => {
            out.push(b'l');
            items.iter().for_each(|item| emit(item, out));
            out.push(b'e');
        }
        Value::Dict(dict) => {
            let start = out.len();
            out.push(b'd');
            for (key, value) in dict.iter() {
                emit(&Value::Bytes(key), out);
                emit(value, out);
            }
            out.push(b'e');
            assert_eq!(&out[start..], dict.source, "an info-hash is taken over the source");
        }
    }
}

fn torrent(single: bool) -> Vec<u8> {
    let mut w = Writer::new();
    w.dict(|w| {
        w.str("announce").str("udp://10.0.0.1:6969").str("announce-list").list(|w| {
            w.list(|w| {
                w.str("udp://10.0.0.2:6969");
            });
        });
        w.str("info").dict(|w| {
            if single {
                w.str("length").int(40_000);
            } else {
                w.str("files").list(|w| {
                    for name in ["vmlinuz", "initrd"] {
                        w.dict(|w| {
                            w.str("length").int(20_000).str("path").list(|w| {
                                w.str("boot").str(name);
                            });
                        });
                    }
                });
            }
            w.str("name").str("os").str("piece length").int(32_768).str("pieces").bytes(&[7; 40]);
            w.str("private").int(1);
        });
    });
    w.finish()
}

fuzz_target!(init: seeds(&[torrent(true), torrent(false), b"d1:ali-3ei0e2:xyee".to_vec()]), |data: &[u8]| {
    if let Ok((value, used)) = bencode::parse_prefix(data) {
        let mut out = Vec::new();
        emit(&value, &mut out);
        assert_eq!(out, &data[..used], "bencode has one spelling of a value");
        assert_eq!(bencode::parse(&data[..used]), Ok(value));
    }
    if let Ok(torrent) = Metainfo::parse(data) {
        let total: u64 = torrent.files.iter().map(|f| f.length).sum();
        assert_eq!(total, torrent.geometry.total());
        assert_eq!(torrent.sha1_list().len(), torrent.geometry.pieces() as usize);
        for part in torrent.files.iter().flat_map(|f| &f.path).chain([&torrent.name]) {
            assert!(!part.is_empty() && part != "." && part != ".." && !part.contains(['/', '\0']), "{part:?}");
        }
        let bytes: u64 = torrent.geometry.all().map(|p| u64::from(torrent.geometry.piece_size(p))).sum();
        assert_eq!(bytes, total, "pieces cover the files");
    }
});
