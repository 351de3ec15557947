//! Time and randomness.

use chrono::{DateTime, SubsecRound};
use machine::Timestamp;
use uuid::Uuid;

/// The wall clock. Waiting goes through tokio's timers, which the simulation drives as well.
pub trait Clock: Send + Sync + 'static {
    /// The present, in whole milliseconds.
    fn now(&self) -> Timestamp;
}

/// Identifiers that nobody else will draw.
pub trait Entropy: Send + Sync + 'static {
    /// A fresh identifier.
    fn uuid(&self) -> Uuid;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> Timestamp {
        DateTime::from(std::time::SystemTime::now()).trunc_subsecs(3)
    }
}

/// Version 7 identifiers: random, and sorted by time for the benefit of indexes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}
