//! All that node and master must agree on: formats, wire and policy of the swarm.
//! Time and bytes are arguments; nothing here opens, sleeps, logs or asks for the clock.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod names;
mod time;
mod ring;
mod rng;

pub mod bencode;
pub mod metainfo;
pub mod catalog;
pub mod nodefile;
pub mod template;
pub mod record;
pub mod next_boot;
pub mod bitfield;
pub mod wire;
pub mod announce;
pub mod graph;
pub mod fair;
pub mod local;
mod limits;
mod pieces;
mod declined;
mod peers;
mod dial;
mod picker;
mod meter;
mod upload;
pub mod swarm;

pub use names::{InfoHash, Mac, PeerId};
pub use rng::Rng;
pub use time::Time;
