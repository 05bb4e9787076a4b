//! The lab: a network, a master and nodes made of namespaces, a container and QEMU, for tests, demo and benches.
//! It knows the product only from outside: programs, files, packets and consoles.

pub mod error;
pub mod clock;
pub mod programs;
