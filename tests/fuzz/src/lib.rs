//! What the fuzz targets share: a script that reads an input as choices, and where a target's first inputs go.
//! Decides nothing about what is tested.

pub mod swarm;

use std::path::PathBuf;

/// Reads the fuzzer's bytes as numbers and strings; the script is over when they are.
#[derive(Debug, Clone)]
pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Script<'a> {
        Script { rest: bytes }
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// A number below `limit`, of one byte.
    pub fn below(&mut self, limit: u8) -> Option<u8> {
        self.byte().map(|b| b % limit.max(1))
    }

    pub fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    pub fn long(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]))
    }

    /// So many bytes, or what is left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        head
    }

    /// A string behind its length in two bytes: how a script holds a packet.
    pub fn packet(&mut self) -> Option<&'a [u8]> {
        let length = self.word()?;
        Some(self.take(usize::from(length)))
    }

    pub fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// The other direction of [`Script::packet`], for first inputs.
#[must_use]
pub fn framed(packet: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    out.extend_from_slice(packet);
    out
}

/// Writes a target's first inputs into the folder that `./run` names, so that none stands in the tree as a blob.
///
/// # Panics
/// The folder cannot be written: the run would fuzz without them and look better than it is.
pub fn seeds(inputs: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    for (number, input) in inputs.iter().enumerate() {
        let path = folder.join(format!("seed-{number}"));
        std::fs::write(&path, input).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
