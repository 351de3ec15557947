//! The contracts in `api/` are frozen: these tests fail when an operation, a message, a channel, a
//! field, an enum value or an error code appears, disappears or changes. Whoever means it changes
//! the tables here in the same commit, and thinks of those who rely on the old form.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the helpers of a test fail the way the test does"
)]

#[path = "contracts/agreement.rs"]
mod agreement;
#[path = "contracts/examples.rs"]
mod examples;
#[path = "contracts/frozen.rs"]
mod frozen;
#[path = "contracts/internal.rs"]
mod internal;
#[path = "contracts/neighbours.rs"]
mod neighbours;
#[path = "contracts/shape.rs"]
mod shape;
#[path = "contracts/streams.rs"]
mod streams;
#[path = "contracts/walk.rs"]
mod walk;
