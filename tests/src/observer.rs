//! A silent peer: it connects to nodes, listens which pieces they announce, and knows when they hold a copy together.
//! It asks for nothing and offers nothing, so it changes nothing but a few links.

use crate::clock::Deadline;
use crate::error::LabError;
use crate::peer::{self, BITFIELD, HAVE, Link};
use std::net::SocketAddrV4;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

struct Union {
    pieces: Vec<bool>,
    closed: bool,
}

struct Shared {
    union: Mutex<Union>,
    grown: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Union> {
        self.union.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens to several nodes from a host's network namespace until it is dropped.
pub struct Observer {
    shared: Arc<Shared>,
}

impl Observer {
    /// # Errors
    /// `Io` when there is no such namespace.
    pub fn new(
        netns: &str,
        nodes: &[SocketAddrV4],
        info_hash: [u8; 20],
        pieces: usize,
    ) -> Result<Self, LabError> {
        let union = Union { pieces: vec![false; pieces], closed: false };
        let shared = Arc::new(Shared { union: Mutex::new(union), grown: Condvar::new() });
        for node in nodes.iter().copied() {
            let shared = Arc::clone(&shared);
            peer::inside(netns, move || {
                while !shared.lock().closed {
                    // A node that is not there yet, or that has left, is tried again.
                    let _ = listen(node, info_hash, &shared);
                }
            })?;
        }
        Ok(Self { shared })
    }

    /// Waits until every piece was announced by one of the nodes.
    ///
    /// # Errors
    /// `Timeout` with the number of pieces seen.
    pub fn expect_copy(&self, limit: Duration) -> Result<(), LabError> {
        let deadline = Deadline::after(limit);
        let mut union = self.shared.lock();
        loop {
            let seen = union.pieces.iter().filter(|piece| **piece).count();
            if seen == union.pieces.len() {
                return Ok(());
            }
            let Some(left) = deadline.left() else {
                let what = "one copy of the image among the nodes";
                return Err(deadline.timeout(what, format!("{seen} of {} pieces", union.pieces.len())));
            };
            union = match self.shared.grown.wait_timeout(union, left) {
                Ok((union, _)) => union,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
    }
}

fn listen(node: SocketAddrV4, info_hash: [u8; 20], shared: &Shared) -> std::io::Result<()> {
    let mut link = Link::dial(node, info_hash, b"-LB0100-observer0000")?;
    while !shared.lock().closed {
        note(link.next()?, shared);
    }
    Ok(())
}

fn note(message: &[u8], shared: &Shared) {
    let mut union = shared.lock();
    match message {
        [HAVE, index @ ..] => {
            let index = index.try_into().map(u32::from_be_bytes).ok();
            if let Some(piece) = index.and_then(|index| union.pieces.get_mut(index as usize)) {
                *piece = true;
            }
        }
        [BITFIELD, bits @ ..] => {
            for (index, piece) in union.pieces.iter_mut().enumerate() {
                *piece |= bits.get(index / 8).is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0);
            }
        }
        _ => return,
    }
    shared.grown.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(pieces: usize) -> Shared {
        let union = Union { pieces: vec![false; pieces], closed: false };
        Shared { union: Mutex::new(union), grown: Condvar::new() }
    }

    #[test]
    fn pieces_of_two_nodes_make_a_copy() {
        let shared = Arc::new(shared(10));
        let observer = Observer { shared: Arc::clone(&shared) };
        note(&[BITFIELD, 0b1111_1110, 0], &shared);
        assert!(observer.expect_copy(Duration::ZERO).is_err());
        for index in [7, 8, 9, 10, u32::MAX] {
            let mut have = vec![HAVE];
            have.extend_from_slice(&index.to_be_bytes());
            note(&have, &shared);
        }
        observer.expect_copy(Duration::ZERO).unwrap();
    }

    #[test]
    fn other_messages_are_passed_over() {
        let shared = shared(8);
        for message in [&[][..], &[1], &[HAVE, 0, 0], &[20, 0, 0, 0, 0]] {
            note(message, &shared);
        }
        assert!(shared.lock().pieces.iter().all(|piece| !piece));
    }
}
