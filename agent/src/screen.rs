//! The full screen: a model of the boot, the pages drawn from it, and the bytes that show them on a terminal.
//!
//! Decides what a person sees and what a key means there. Never opens a terminal, waits, or asks a clock.

mod model;
mod layout;
mod view;
mod pages;
mod glyphs;
pub(crate) mod ansi;

pub(crate) use glyphs::{Glyphs, harmless};
pub(crate) use layout::Layout;
pub(crate) use model::{Download, Entry, Menu, Model, Pressed, Question};
pub(crate) use view::{bytes, render, wrapped};

#[cfg(test)]
mod tests;
