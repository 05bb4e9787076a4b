//! Where a torrent's files go below the given folder, and which of its trackers we can ask. Decides that a name can be
//! represented here; a name that could leave the folder was refused when the torrent was parsed.

use boottorrent_net::storage::Backing;
use boottorrent_swarm::metainfo::Metainfo;
use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

/// NAME_MAX and PATH_MAX of Linux, with room for the folder's own path.
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 3072;

/// One place a file, in the torrent's order.
pub(super) fn places(to: &Path, metainfo: &Metainfo) -> Result<Vec<Backing>, String> {
    // What a path is: a file, or a folder that others lie in.
    let mut taken: BTreeMap<PathBuf, bool> = BTreeMap::new();
    metainfo
        .files
        .iter()
        .map(|file| {
            let mut path = PathBuf::new();
            if !metainfo.single_file {
                path.push(component(&metainfo.name)?);
            }
            for (n, name) in file.path.iter().enumerate() {
                path.push(component(name)?);
                let is_file = n + 1 == file.path.len();
                let clash = match taken.insert(path.clone(), is_file) {
                    None => false,
                    Some(was_file) => is_file || was_file,
                };
                if clash {
                    return Err(format!(
                        "the torrent has two things named {path:?}; it can't be stored as files"
                    ));
                }
            }
            if path.as_os_str().len() > MAX_PATH {
                return Err(format!("the torrent's path {path:?} is longer than a path can be"));
            }
            Ok(Backing { path: to.join(path), size: file.length })
        })
        .collect()
}

fn component(name: &str) -> Result<&str, String> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if !plain || name.len() > MAX_NAME {
        return Err(format!("the torrent's name {name:?} can't be a file's name here"));
    }
    Ok(name)
}

/// UDP trackers with a numeric address: a static program has no resolver.
pub(super) fn trackers(metainfo: &Metainfo) -> Vec<SocketAddrV4> {
    let numeric = |url: &String| {
        let rest = url.strip_prefix("udp://")?;
        rest.split('/').next()?.parse().ok()
    };
    metainfo.announce.iter().flatten().filter_map(numeric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use boottorrent_swarm::bencode::Writer;

    fn torrent(paths: &[&[&str]]) -> Metainfo {
        let mut w = Writer::new();
        w.dict(|w| {
            w.str("announce").str("udp://10.0.0.1:6969/announce").str("info").dict(|w| {
                w.str("files").list(|w| {
                    for path in paths {
                        w.dict(|w| {
                            w.str("length").int(1).str("path").list(|w| {
                                path.iter().for_each(|p| {
                                    w.str(p);
                                });
                            });
                        });
                    }
                });
                w.str("name").str("os").str("piece length").int(32768).str("pieces").bytes(&[0; 20]);
            });
        });
        Metainfo::parse(&w.finish()).unwrap()
    }

    #[test]
    fn files_lie_in_the_torrents_own_folder() {
        let m = torrent(&[&["a"], &["b", "c"], &["b", "d"]]);
        let got: Vec<PathBuf> = places(Path::new("/to"), &m).unwrap().into_iter().map(|b| b.path).collect();
        assert_eq!(got, ["/to/os/a", "/to/os/b/c", "/to/os/b/d"].map(PathBuf::from));
        assert_eq!(trackers(&m), ["10.0.0.1:6969".parse().unwrap()]);
    }

    #[test]
    fn what_can_not_be_files_side_by_side_is_refused() {
        let long = "x".repeat(256);
        for paths in [&[&["a"][..], &["a"]][..], &[&["a"], &["a", "b"]], &[&["a", "b"], &["a"]], &[&[&long]]]
        {
            assert!(places(Path::new("/to"), &torrent(paths)).is_err(), "{paths:?}");
        }
    }
}
