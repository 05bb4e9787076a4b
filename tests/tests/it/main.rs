//! The one integration-test binary: a module per step of the flow, in flow order.
//! Every test makes the network that it needs and waits for events; run it with `--test-threads=1` (two cores).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod house;
mod lab;
mod dhcp;
mod ra;
mod tftp;
mod tracker;
mod units;
mod boot;
mod firmware;
mod menu;
mod memory;
mod rescue;
mod bundle;
mod guests;
mod swarm;
mod racks;
mod cable;
mod interop_swarm;
mod smoltcp;
mod hostile;
mod trust;
mod ctl;
mod faults;
mod hardware;
mod worker;
mod run;
mod debian;
mod tidy;
