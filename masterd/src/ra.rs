//! Answers IPv6 router solicitations with "no router here" (RFC 4861, lifetime 0), which ends iPXE's 16 s wait.
//! Never announces a prefix, a route or itself as a router, and is silent where a real router answers.

pub mod config;
mod packet;
mod answer;
mod socket;
mod daemon;
// Public for tests/fuzz alone: what a stranger can reach must be reachable by its fuzz target.
pub mod probe;

pub use daemon::{Error, run};
