//! What the integration tests share.

pub mod contracts;
pub mod harness;
pub mod proxy;
pub mod redis_server;
pub mod servers;
pub mod soak;
pub mod world;
