//! What runs by itself: each worker a small loop around the driver.

mod health;
mod relay;
mod scheduler;

pub use health::{HealthConsumer, Start};
pub use relay::Relay;
pub use scheduler::Scheduler;
