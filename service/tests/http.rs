//! The HTTP API, asked over real sockets, with an application behind it that is a fake.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

#[path = "http/client.rs"]
mod client;
#[path = "http/contract.rs"]
mod contract;
#[path = "http/fake.rs"]
mod fake;

#[path = "http/bad_input.rs"]
mod bad_input;
#[path = "http/callers.rs"]
mod callers;
#[path = "http/catalogue/mod.rs"]
mod catalogue;
#[path = "http/changes.rs"]
mod changes;
#[path = "http/insight.rs"]
mod insight;
#[path = "http/limits.rs"]
mod limits;
#[path = "http/operations.rs"]
mod operations;
