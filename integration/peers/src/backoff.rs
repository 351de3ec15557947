//! How long to wait before the next try.

use std::time::Duration;

/// Doubling delays between a first one and a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// The delay that is never exceeded.
    pub cap: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row (1 is the first).
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        self.first.saturating_mul(1 << doublings).min(self.cap)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(200), cap: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(5) };
        let delays: Vec<u64> = (0..6).map(|tries| backoff.delay(tries).as_secs()).collect();
        assert_eq!(delays, [1, 1, 2, 4, 5, 5]);
        assert_eq!(backoff.delay(u32::MAX), backoff.cap);
    }
}
