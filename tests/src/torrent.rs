//! Data and its .torrent for benches, made without the product: a yardstick may not stand on what it measures.
//! One file, v1 (BEP 3): SHA-1 in the .torrent, and beside it the list of SHA-256 by which a node verifies.

use crate::error::LabError;
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::io::Write;
use std::path::{Path, PathBuf};

pub struct Torrent {
    pub data: PathBuf,
    pub file: PathBuf,
    /// 32 bytes of SHA-256 a piece, in their order, as the store has them.
    pub pieces: PathBuf,
    /// 40 hex digits.
    pub info_hash: String,
    pub bytes: u64,
}

impl Torrent {
    /// The same torrent with a tracker's URL in it, for clients that take it from nowhere else; its info-hash is the same.
    ///
    /// # Errors
    /// `Io`.
    pub fn announced(&self, url: &str) -> Result<PathBuf, LabError> {
        let plain = std::fs::read(&self.file).map_err(LabError::io("read", &self.file))?;
        let inside = plain.strip_prefix(b"d").unwrap_or(&plain);
        let file = self.file.with_extension("announced.torrent");
        let whole = [format!("d8:announce{}:{url}", url.len()).as_bytes(), inside].concat();
        std::fs::write(&file, whole).map_err(LabError::io("write", &file))?;
        Ok(file)
    }
}

/// Writes `name` with so many pieces of bytes that nothing compresses, with `name.torrent` and `name.pieces` beside it.
///
/// # Errors
/// `Io`.
pub fn make(folder: &Path, name: &str, pieces: u32, piece_length: u32) -> Result<Torrent, LabError> {
    let data = folder.join(name);
    let file = folder.join(format!("{name}.torrent"));
    let pieces_file = folder.join(format!("{name}.pieces"));
    let mut out = std::fs::File::create(&data).map_err(LabError::io("write", &data))?;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut piece = vec![0; piece_length as usize];
    let (mut hashes, mut list) = (Vec::new(), Vec::new());
    for _ in 0..pieces {
        for word in piece.chunks_exact_mut(8) {
            word.copy_from_slice(&xorshift(&mut random).to_le_bytes());
        }
        out.write_all(&piece).map_err(LabError::io("write", &data))?;
        hashes.extend_from_slice(&Sha1::digest(&piece));
        list.extend_from_slice(&Sha256::digest(&piece));
    }
    std::fs::write(&pieces_file, list).map_err(LabError::io("write", &pieces_file))?;
    let bytes = u64::from(pieces) * u64::from(piece_length);
    let info = info(name, bytes, piece_length, &hashes);
    let info_hash = Sha1::digest(&info).iter().map(|byte| format!("{byte:02x}")).collect();
    let torrent = [b"d4:info", &info[..], b"e"].concat();
    std::fs::write(&file, torrent).map_err(LabError::io("write", &file))?;
    Ok(Torrent { data, file, pieces: pieces_file, info_hash, bytes })
}

/// The info dictionary; its keys stand in order, as bencode wants them.
fn info(name: &str, bytes: u64, piece_length: u32, hashes: &[u8]) -> Vec<u8> {
    let head = format!(
        "d6:lengthi{bytes}e4:name{}:{name}12:piece lengthi{piece_length}e6:pieces{}:",
        name.len(),
        hashes.len()
    );
    [head.as_bytes(), hashes, b"e"].concat()
}

/// Marsaglia's xorshift64: fast, and the same bytes in every run.
fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_torrent_is_as_bep_3_says() {
        let folder = std::env::temp_dir().join(format!("bt-torrent-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let torrent = make(&folder, "x", 2, 16).unwrap();
        let data = std::fs::read(&torrent.data).unwrap();
        assert_eq!((data.len(), torrent.bytes), (32, 32));
        let text = std::fs::read(&torrent.file).unwrap();
        assert!(text.starts_with(b"d4:infod6:lengthi32e4:name1:x12:piece lengthi16e6:pieces40:"));
        assert!(text.windows(20).any(|part| part == &Sha1::digest(&data[16..])[..]) && text.ends_with(b"ee"));
        assert_eq!(std::fs::read(&torrent.pieces).unwrap()[32..], Sha256::digest(&data[16..])[..]);
        let announced = std::fs::read(torrent.announced("http://a/b").unwrap()).unwrap();
        assert_eq!(announced, [b"d8:announce10:http://a/b", &text[1..]].concat());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
