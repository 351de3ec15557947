//! What the integration tests share.

pub mod contracts;
pub mod harness;
pub mod redis_server;
pub mod servers;
