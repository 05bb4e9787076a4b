//! The seed: the swarm that starts complete. Serves what boottorrent-gen hashed, from the files themselves, and refuses
//! by name a file that changed since. Never writes an image.

pub mod config;
mod limits;
mod image;
mod roster;
mod foreground;
mod state;
mod daemon;

pub use daemon::{Error, run};
pub use foreground::Foreign;
