//! Performs the swarm core's outputs with files and kernel sockets: where bytes lie, whether they are the right ones, and
//! one epoll loop for many torrents; with the feature `smoltcp` also TCP in user space on frames. Decides nothing about who
//! gets what: that is the core's.

pub mod storage;
pub mod verify;
mod stream;
mod trackers;
pub mod driver;
pub mod probe;
#[cfg(feature = "smoltcp")]
pub mod smol;

mod sys;
