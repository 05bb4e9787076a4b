//! The file behind a transfer: block by block, as it is or translated to netascii (RFC 764, as RFC 1350 asks).
//! Reads only; what the client has acknowledged is forgotten.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode as Permissions;

use super::packet::Mode;

/// Opens a file below `root`, which is looked up anew, so that the generation that is current now is the one that is
/// served. Below it no symbolic link is followed and nothing but names is walked.
///
/// Component by component: openat2(2) would do it at once, but systemd's RestrictSUIDSGID=, which DynamicUser= brings
/// along, cannot look into its arguments and answers ENOSYS.
pub(super) fn open_below(root: &Path, path: &Path) -> io::Result<File> {
    let folder = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = open(root, folder, Permissions::empty())?;
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Component::Normal(name) = name else { return Err(Errno::EXDEV.into()) };
        let kind = match names.peek() {
            Some(_) => folder,
            None => OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC,
        };
        at = openat(&at, name, kind | OFlag::O_NOFOLLOW, Permissions::empty())?;
    }
    let file = File::from(at);
    if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::EISDIR.into()) }
}

#[derive(Debug)]
pub(super) enum Source {
    Plain { file: File, size: u64 },
    Netascii(Box<Netascii<BufReader<File>>>),
}

impl Source {
    pub(super) fn new(file: File, mode: Mode, block_size: u16) -> io::Result<Self> {
        Ok(match mode {
            Mode::Octet => Self::Plain { size: file.metadata()?.len(), file },
            Mode::Netascii => Self::Netascii(Box::new(Netascii::new(BufReader::new(file), block_size))),
        })
    }

    /// The last block's number, where it is known: a file that fills its last block is followed by an empty one.
    pub(super) fn last_block(&self, block_size: u16) -> Option<u64> {
        match self {
            Self::Plain { size, .. } => Some(size / u64::from(block_size) + 1),
            Self::Netascii(_) => None,
        }
    }

    /// Appends up to `count` blocks from `first` on to `out`; short of `count * block_size` bytes, the file has
    /// ended.
    pub(super) fn read(
        &mut self,
        first: u64,
        count: u16,
        block_size: u16,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let wanted = usize::from(count) * usize::from(block_size);
        match self {
            Self::Plain { file, .. } => {
                let begin = out.len();
                out.resize(begin + wanted, 0);
                let buffer = out.get_mut(begin..).unwrap_or_default();
                let read = read_at(file, buffer, (first - 1) * u64::from(block_size))?;
                out.truncate(begin + read);
            }
            Self::Netascii(text) => {
                for block in first..first + u64::from(count) {
                    let bytes = text.block(block)?;
                    out.extend_from_slice(bytes);
                    if bytes.len() < usize::from(block_size) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Blocks up to this one will not be asked for again.
    pub(super) fn forget(&mut self, acked: u64) {
        if let Self::Netascii(text) = self {
            text.forget(acked);
        }
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// A text on its way: LF becomes CR LF, a lone CR becomes CR NUL.
#[derive(Debug)]
pub(super) struct Netascii<R> {
    text: R,
    block_size: usize,
    /// Number of the first block that is kept.
    first: u64,
    kept: VecDeque<Vec<u8>>,
    /// The second byte of a pair that did not fit into the last block.
    carry: Option<u8>,
    ended: bool,
}

impl<R: Read> Netascii<R> {
    fn new(text: R, block_size: u16) -> Self {
        Self {
            text,
            block_size: block_size.into(),
            first: 1,
            kept: VecDeque::new(),
            carry: None,
            ended: false,
        }
    }

    /// Block `number`; empty behind the end.
    fn block(&mut self, number: u64) -> io::Result<&[u8]> {
        while !self.ended && self.first + self.kept.len() as u64 <= number {
            let block = self.translate()?;
            self.ended = block.len() < self.block_size;
            self.kept.push_back(block);
        }
        let index = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        Ok(self.kept.get(index).map_or(&[], Vec::as_slice))
    }

    fn translate(&mut self) -> io::Result<Vec<u8>> {
        let mut block = Vec::with_capacity(self.block_size);
        block.extend(self.carry.take());
        let mut byte = [0];
        while block.len() < self.block_size && self.text.read(&mut byte)? == 1 {
            let pair = match byte {
                [b'\n'] => [b'\r', b'\n'],
                [b'\r'] => [b'\r', 0],
                [plain] => {
                    block.push(plain);
                    continue;
                }
            };
            block.push(pair[0]);
            if block.len() < self.block_size {
                block.push(pair[1]);
            } else {
                self.carry = Some(pair[1]);
            }
        }
        Ok(block)
    }

    fn forget(&mut self, acked: u64) {
        while self.first <= acked && self.kept.pop_front().is_some() {
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &[u8], size: u16) -> Vec<Vec<u8>> {
        let mut source = Netascii::new(text, size);
        let mut all = vec![];
        for number in 1.. {
            let block = source.block(number).unwrap().to_vec();
            assert_eq!(source.block(number).unwrap(), block, "a repeat is the same");
            let short = block.len() < size.into();
            all.push(block);
            if short {
                return all;
            }
            source.forget(number - 1);
        }
        unreachable!()
    }

    #[test]
    fn netascii_pairs_may_straddle_blocks() {
        assert_eq!(blocks(b"a\nb\rc", 512).concat(), b"a\r\nb\r\0c");
        assert_eq!(blocks(b"1234567\nx", 8), [&b"1234567\r"[..], b"\nx"]);
        assert_eq!(blocks(b"123456\n", 8), [&b"123456\r\n"[..], b""]);
        assert_eq!(blocks(b"", 8), [b""]);
        let long = b"\r\n\n".repeat(1000);
        assert_eq!(blocks(&long, 8).concat(), b"\r\0\r\n\r\n".repeat(1000));
    }

    #[test]
    fn links_and_ways_out_of_the_root_are_refused() {
        let dir = std::env::temp_dir().join(format!("boottorrent-tftp-source-{}", std::process::id()));
        let root = dir.join("root");
        std::fs::create_dir_all(root.join("boot")).unwrap();
        std::fs::write(dir.join("secret"), "s").unwrap();
        std::fs::write(root.join("boot/file"), "f").unwrap();
        for (link, to) in [("out", "../secret"), ("abs", "/etc/passwd"), ("in", "boot/file"), ("up", "..")] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let open = |name: &str| open_below(&root, Path::new(name));
        assert!(open("boot/file").is_ok());
        for name in
            ["out", "abs", "in", "up/secret", "../secret", "/etc/passwd", "boot", "none", "boot/file/x"]
        {
            assert!(open(name).is_err(), "{name}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn last_blocks() {
        let file = std::env::temp_dir().join(format!("boottorrent-tftp-blocks-{}", std::process::id()));
        for (size, last) in [(0, 1), (511, 1), (512, 2), (1024, 3), (1025, 3)] {
            std::fs::write(&file, vec![7; size]).unwrap();
            let mut source = Source::new(File::open(&file).unwrap(), Mode::Octet, 512).unwrap();
            assert_eq!(source.last_block(512), Some(last), "{size}");
            let mut out = vec![];
            source.read(1, 8, 512, &mut out).unwrap();
            assert_eq!(out.len(), size);
        }
        std::fs::remove_file(&file).unwrap();
    }
}
