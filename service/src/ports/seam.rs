//! Time and randomness.

use chrono::{DateTime, SubsecRound};
use machine::Timestamp;
use uuid::{Builder, Uuid};

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

/// Version 7 identifiers: random, and sorted by time for the benefit of indexes. The random part is
/// drawn from a generator of the thread, which the system seeds now and then: a request draws several,
/// and asking the system for each would be a call into the kernel every time.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the seam")]
    fn uuid(&self) -> Uuid {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let millis = now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
    }
}
