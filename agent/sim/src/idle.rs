//! Where the links' time goes: samples of who is idle, and why. Decides what counts as the cause.

use boottorrent_swarm::swarm::Swarm;

/// Counts of samples: each is one node's link, in one direction, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Idle {
    /// Downlinks of incomplete nodes: something comes in.
    pub receiving: u32,
    /// Something is asked for, and its sender is busy otherwise, or it is on its way.
    pub awaiting: u32,
    /// Somebody has something new, and offers no turn.
    pub not_offered: u32,
    /// Nobody near has a piece that is not asked for already.
    pub nothing_new: u32,
    /// Uplinks of nodes that have something: something goes out.
    pub sending: u32,
    /// Somebody lacks what is there, and has not been asked or has not accepted.
    pub not_taken: u32,
    /// Nobody near lacks anything.
    pub not_needed: u32,
}

impl Idle {
    pub(crate) fn sample(&mut self, swarm: &Swarm, sends: bool, receives: bool, complete: bool) {
        let prospect = if sends && (receives || complete) { Default::default() } else { swarm.prospect() };
        if !complete {
            *match () {
                () if receives => &mut self.receiving,
                () if prospect.awaited > 0 => &mut self.awaiting,
                () if prospect.sources > 0 => &mut self.not_offered,
                () => &mut self.nothing_new,
            } += 1;
        }
        if sends {
            self.sending += 1;
        } else if swarm.have().count() > 0 {
            *if prospect.takers > 0 { &mut self.not_taken } else { &mut self.not_needed } += 1;
        }
    }
}
