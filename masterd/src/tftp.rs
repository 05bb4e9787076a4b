//! The TFTP server: read only, files of the current generation only (RFC 1350, 2347, 2348, 2349, 7440).
//! The parts decide, `daemon` moves bytes; nothing here ever writes a file.

pub mod config;
mod limits;
mod packet;
mod name;
mod options;
mod source;
mod transfer;
mod sockets;
mod session;
mod server;
mod state;
mod daemon;
// Public for tests/fuzz alone: what a stranger can reach must be reachable by its fuzz target.
pub mod probe;

pub use daemon::{Error, run};
