//! The HTTP API, asked over real sockets, with an application behind it that is a fake.

#![expect(clippy::expect_used, reason = "helpers of tests are tests")]

#[path = "http/client.rs"]
mod client;
#[path = "http/fake.rs"]
mod fake;

#[path = "http/bad_input.rs"]
mod bad_input;
#[path = "http/limits.rs"]
mod limits;
#[path = "http/operations.rs"]
mod operations;
