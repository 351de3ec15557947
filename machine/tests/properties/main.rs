//! What must hold, whatever happens: long random histories of one game in a small world of an
//! engine and a Runtime Manager that are slow, down, lossy or lying, with every invariant checked
//! after every commit; and, once the faults stop, that the game comes to rest.
//!
//! `PROPTEST_CASES=20000 cargo test --release -p machine --test properties` looks further; see
//! [`histories::CASES`] for what runs by default.

// Clippy exempts test functions, not the helpers they share.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;

mod directed;
mod explained;
mod histories;
mod ledger;
mod records;
mod world;
