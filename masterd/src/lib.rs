//! The master: what each daemon decides and does. The programs under `bin/` only parse a command line and call in
//! here; nothing in this library needs root or knows about units.

pub mod service;
pub mod site;
pub mod store;
mod orders;
pub mod dhcp;
pub mod nodelog;
pub mod ra;
pub mod tftp;
pub mod tracker;
pub mod seed;
pub mod ctl;
mod sys;
