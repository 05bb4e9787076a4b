//! A modelled network under the real swarm code, in virtual time: one seed replays a run.
//! Decides rates and delays; never what a peer does, which is the swarm's.

mod idle;
mod plan;
mod network;
mod addresses;
mod agenda;
mod world;
mod real;
mod table;
pub mod wire;

pub use idle::Idle;
pub use plan::{Fault, FaultKind, Plan, Racks, Report};
pub use table::{large_table, table};

/// Runs a plan until every node that is alive is complete, or until the plan's limit.
#[must_use]
pub fn run(plan: &Plan) -> Report {
    world::World::new(plan).run()
}

#[cfg(test)]
mod tests;
