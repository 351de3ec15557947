//! Why a game is as it is: whole stories played by the rules themselves, and the exact words that
//! explain them.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod ledger;
mod story;
mod why;
