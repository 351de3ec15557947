//! Simulated time and randomness.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta};
use machine::Timestamp;
use service::ports::{Clock, Entropy};
use uuid::Uuid;

/// Where simulated time begins: 2026-01-01T00:00:00Z, in seconds.
const EPOCH_SECONDS: i64 = 1_767_225_600;

/// The wall clock of the simulation: its epoch and the simulated time since.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimClock;

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        DateTime::from_timestamp_nanos(0)
            + TimeDelta::seconds(EPOCH_SECONDS)
            + TimeDelta::milliseconds(elapsed_ms)
    }
}

/// Identifiers counted from a seed: the same in every run, unlike those of another seed.
#[derive(Debug)]
pub struct SimEntropy {
    seed: u64,
    drawn: AtomicU64,
}

impl SimEntropy {
    /// Identifiers of this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Entropy for SimEntropy {
    fn uuid(&self) -> Uuid {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u64_pair(self.seed, drawn)
    }
}
