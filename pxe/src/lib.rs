//! What a node fetches before our code runs: kernel, initramfs with the agent and its drivers, iPXE and its script;
//! and QEMU as a tree that a node can run.
//!
//! Decides what goes into the bootstrap image and the bundle. Same inputs, same bytes. Never writes outside the folder it
//! is given.

// In the order of the flow: what was asked for, what the kernel is, what it needs, how it is packed, how it is started.
mod error;
mod elf;
mod kernel;
mod modinfo;
mod library;
mod drivers;
mod closure;
mod index;
mod initramfs;
mod script;
mod bootstrap;
mod demands;
pub mod bundle;

pub use bootstrap::{Bootstrap, DEFAULT_IPXE, Part, Report, build, check_busybox};
pub use demands::{Demands, demands};
pub use drivers::Purpose;
pub use error::Error;
pub use script::check_cmdline;
