//! The log service: the nodes' stage records into the journal and into one table of nodes.
//! What a node sends is shown and counted; nothing that it sends is ever acted on.

pub mod config;
mod limits;
mod text;
mod rate;
mod known;
mod figures;
pub(crate) mod nodes;
mod journal;
mod core;
mod daemon;
// Public for tests/fuzz alone: what a stranger can reach must be reachable by its fuzz target.
pub mod probe;

pub use daemon::{Error, run};
pub(crate) use text::clean;
