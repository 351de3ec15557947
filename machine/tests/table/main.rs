//! The transition table, cell by cell: one file for each column (status), one test for each row
//! (event), one case for each sub-state in which the cell reads differently. A case asserts ALL
//! that the step does (see [`common::show`]); `matrix` asserts that no cell is left out.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod absent;
mod banish;
mod failed;
mod finals;
mod generating;
mod generating_probe;
mod health;
mod matrix;
mod running;
mod starting;
mod unreachable;
