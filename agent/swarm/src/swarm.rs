//! The state machine of one torrent: what comes in from links, timers and storage, and what is to be done.
//! Decides who is asked and who is served; never touches payload, sockets or a clock.

mod contract;

pub use contract::{Admit, CloseReason, Config, Conn, Have, Input, Limits, Output, PeerStat, Progress};

use crate::Time;
use alloc::collections::VecDeque;

/// One torrent on one peer.
#[derive(Debug)]
pub struct Swarm {
    outputs: VecDeque<Output>,
    config: Config,
}

impl Swarm {
    #[must_use]
    pub fn new(now: Time, config: Config) -> Swarm {
        let _ = now;
        Swarm { outputs: VecDeque::new(), config }
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        let _ = (now, input);
    }

    /// The next thing to do; ask until `None` after each round of inputs.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn wake_at(&self) -> Option<Time> {
        None
    }

    /// Asked when the header of a piece message has been read, before its payload.
    pub fn admit_block(&mut self, conn: Conn, index: u32, begin: u32, length: u32) -> Admit {
        let _ = (conn, self.config.geometry.claim(index, begin, length));
        Admit::Close
    }

    #[must_use]
    pub fn is_complete(&self) -> bool {
        false
    }

    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress::default()
    }

    /// Every peer that gave or took, the departed ones too.
    pub fn peer_stats(&self) -> impl Iterator<Item = PeerStat> + '_ {
        core::iter::empty()
    }

    /// Nobody that we are linked to needs anything that we have.
    #[must_use]
    pub fn lonely(&self) -> bool {
        true
    }
}
