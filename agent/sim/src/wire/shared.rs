//! A node's storage, of which only what differs from the image takes memory: a hundred nodes have the bytes of one. Decides
//! nothing: what was written is read back, right or wrong, and what was not is zeros.

use boottorrent_net::storage::{Error, Store};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Written {
    /// Ranges that were written: where each begins, and ends.
    ranges: BTreeMap<u64, u64>,
    /// Bytes among them that are not the image's.
    wrong: BTreeMap<u64, u8>,
}

impl Written {
    fn add(&mut self, mut from: u64, mut to: u64) {
        // All that touch the new range become one with it.
        while let Some((&start, &end)) = self.ranges.range(..=to).next_back()
            && end >= from
        {
            self.ranges.remove(&start);
            (from, to) = (from.min(start), to.max(end));
        }
        self.ranges.insert(from, to);
    }

    fn covers(&self, from: u64, to: u64) -> bool {
        self.ranges.range(..=from).next_back().is_some_and(|(_, end)| *end >= to)
    }
}

pub(super) struct Shared {
    image: Arc<[u8]>,
    written: Mutex<Written>,
}

impl Shared {
    pub(super) fn empty(image: Arc<[u8]>) -> Shared {
        Shared { image, written: Mutex::default() }
    }

    pub(super) fn full(image: Arc<[u8]>) -> Shared {
        let store = Shared::empty(image);
        store.written().add(0, store.image.len() as u64);
        store
    }

    /// Nobody panics while holding it.
    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn range(&self, at: u64, length: u64) -> Option<&[u8]> {
        let from = usize::try_from(at).ok()?;
        self.image.get(from..from.checked_add(usize::try_from(length).ok()?)?)
    }
}

impl Store for Shared {
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        let right = self.range(at, length).ok_or(Error::Outside)?;
        let mut written = self.written();
        written.add(at, at + length);
        if bytes == right && written.wrong.is_empty() {
            return Ok(());
        }
        for (n, (byte, right)) in (at..).zip(bytes.iter().zip(right)) {
            if byte == right {
                written.wrong.remove(&n)
            } else {
                written.wrong.insert(n, *byte)
            };
        }
        Ok(())
    }

    fn digest(&self, at: u64, length: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        let right = self.range(at, length).ok_or(Error::Outside)?;
        let written = self.written();
        let mut wrong = written.wrong.range(at..at + length).peekable();
        if written.covers(at, at + length) && wrong.peek().is_none() {
            sink(right);
            return Ok(());
        }
        let mut bytes = vec![0; right.len()];
        for (start, end) in written.ranges.range(..at + length) {
            let (from, to) = ((*start).max(at), (*end).min(at + length));
            if from < to {
                let place = (from - at) as usize..(to - at) as usize;
                bytes[place.clone()].copy_from_slice(&right[place]);
            }
        }
        wrong.for_each(|(n, byte)| bytes[(n - at) as usize] = *byte);
        sink(&bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(store: &Shared, at: u64, length: u64) -> Vec<u8> {
        let mut all = vec![];
        store.digest(at, length, &mut |bytes| all.extend_from_slice(bytes)).unwrap();
        all
    }

    #[test]
    fn it_holds_what_a_plain_store_would() {
        let image: Arc<[u8]> = (0..200).map(|n| n as u8).collect();
        let store = Shared::empty(Arc::clone(&image));
        let mut plain = [0; 200];
        let mut lots = boottorrent_swarm::Rng::new(1);
        for round in 0..400 {
            let at = lots.below(200) as usize;
            let length = lots.below(201 - at as u32) as usize;
            let mut bytes = image[at..at + length].to_vec();
            if round % 3 == 0 && length > 0 {
                bytes[lots.below(length as u32) as usize] ^= 0x55;
            }
            store.write(at as u64, &bytes).unwrap();
            plain[at..at + length].copy_from_slice(&bytes);
            let (from, to) = (lots.below(100) as usize, 100 + lots.below(100) as usize);
            assert_eq!(read(&store, from as u64, (to - from) as u64), plain[from..to], "round {round}");
        }
        store.write(0, &image).unwrap();
        assert!(store.written().wrong.is_empty() && store.written().ranges.len() == 1);
        assert_eq!(read(&Shared::full(Arc::clone(&image)), 3, 9), image[3..12]);
        assert!(store.write(190, &[0; 11]).is_err() && store.digest(201, 1, &mut |_| ()).is_err());
    }
}
