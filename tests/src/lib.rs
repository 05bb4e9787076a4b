//! The lab: a network, a master and nodes made of namespaces, a container and QEMU, for tests, demo and benches.
//! It knows the product only from outside: programs, files, packets and consoles.

pub mod error;
pub mod clock;
pub mod programs;
pub mod process;
pub mod sweep;
pub mod network;
pub mod lab;
pub mod installation;
pub mod master;
pub mod site;
mod qmp;
pub mod picture;
pub mod console;
pub mod node;
pub mod os;
pub mod guest;
pub mod board;
pub mod room;
pub mod peer;
pub mod observer;
pub mod straight;
pub mod torrent;
pub mod ram;
pub mod bench;
pub mod interrupt;
pub mod demo;
