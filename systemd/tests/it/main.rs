//! boottorrent-gen on whole folders: folder in, folder out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

mod broken;
mod host;
mod publish;
mod tree;
mod units;
