//! The driver and the workers over the embedded store, with neighbours that do as the test says and
//! time that only tokio's paused clock moves.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

mod engine;
mod mortal;
mod slow_store;
mod tape;
mod world;

mod admin;
mod cancelled;
mod claims;
mod deaths;
mod fairness;
mod faults;
mod fleet;
mod health;
mod instances;
mod operations;
mod players;
mod recovery;
mod relay;
mod scheduler;
mod supervision;
mod sweep;
