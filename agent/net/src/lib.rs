//! Performs the swarm core's outputs with files and kernel sockets: where bytes lie, whether they are the right ones, and
//! one epoll loop for many torrents. Decides nothing about who gets what: that is the core's.

pub mod storage;
pub mod verify;
mod stream;
mod trackers;
pub mod driver;

mod sys;
