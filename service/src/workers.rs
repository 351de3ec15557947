//! What runs by itself: each worker a small loop around the driver, started again where it falls.

mod attendance;
mod feed;
mod health;
mod jitter;
mod relay;
mod scheduler;
mod supervisor;
mod sweep;

pub use attendance::Attendance;
pub use feed::FeedWorker;
pub use health::{HealthConsumer, Start};
pub use relay::{Relay, RelayError};
pub use scheduler::Scheduler;
pub use supervisor::{Supervisor, WorkerPanicked};
pub use sweep::Sweep;
