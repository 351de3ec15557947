//! The simulated PostgreSQL: held to the suite of stores, to a real server, and to its own faults.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "postgres/arrives.rs"]
mod arrives;
#[path = "postgres/conformance.rs"]
mod conformance;
#[path = "postgres/faults.rs"]
mod faults;
#[path = "postgres/real.rs"]
mod real;
#[path = "postgres/support.rs"]
mod support;
