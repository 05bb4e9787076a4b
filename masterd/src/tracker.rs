//! The tracker: BEP 15 over UDP and BEP 3 over HTTP, for the torrents of the catalog only.
//! The core decides and forgets by itself, `daemon` moves packets; no connection state is ever kept.

pub mod config;
mod limits;
mod connection;
mod torrents;
mod racks;
mod core;
mod state;
mod http;
mod daemon;
// Public for tests/fuzz alone: what a stranger can reach must be reachable by its fuzz target.
pub mod probe;

pub use daemon::{Error, run};
