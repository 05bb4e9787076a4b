//! The DHCP server (RFC 2131): who gets which address and which boot file, and a journal that never forgets an
//! acknowledged lease. It never looks at interfaces and runs without any privilege on a socket it was given.

mod hex;
pub mod config;
pub mod options;
mod packet;
pub mod origin;
mod plan;
mod boot;
mod once;
mod leases;
mod reply;
mod answer;
mod server;
mod journal;
mod socket;
mod state;
mod serve;
// Public for tests/fuzz alone: what a stranger can reach must be reachable by its fuzz target.
pub mod probe;

pub use serve::{DhcpError, serve};
