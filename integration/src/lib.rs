//! What the integration tests share.

pub mod contracts;
pub mod harness;
