//! Simulated time and randomness.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta};
use machine::Timestamp;
use service::ports::{Clock, Entropy};
use uuid::Uuid;

/// Where simulated time begins: 2026-01-01T00:00:00Z, in seconds.
pub const EPOCH_SECONDS: u64 = 1_767_225_600;

/// A wall clock of the simulation: its epoch, the simulated time since, and how far it is off.
#[derive(Clone, Debug, Default)]
pub struct SimClock {
    skew_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that is off by what the lever says, in milliseconds.
    pub fn skewed(skew_ms: Arc<AtomicI64>) -> Self {
        Self { skew_ms }
    }

    /// Unix milliseconds.
    pub fn unix_ms(&self) -> i64 {
        self.unix_ms_at(elapsed_ms())
    }

    fn unix_ms_at(&self, elapsed_ms: i64) -> i64 {
        let skew = self.skew_ms.load(Ordering::Relaxed);
        i64::try_from(EPOCH_SECONDS).unwrap_or_default() * 1000 + elapsed_ms + skew
    }

    /// What it shows so many simulated milliseconds after the beginning.
    pub fn at(&self, elapsed_ms: i64) -> Timestamp {
        let unix_ms = self.unix_ms_at(elapsed_ms);
        DateTime::from_timestamp_nanos(0) + TimeDelta::milliseconds(unix_ms)
    }
}

/// Simulated milliseconds since the beginning.
pub fn elapsed_ms() -> i64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.at(elapsed_ms())
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
