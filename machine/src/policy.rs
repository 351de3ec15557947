//! The numbers that the rules are applied with. Deployments set them; the rules do not change.

use chrono::TimeDelta;

/// Durations and bounds of the lifecycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How long an init or status question may take before anybody may fence it off. Must exceed
    /// the call's own deadline, or a slow answer would be fenced off for nothing.
    pub probe_lease: TimeDelta,
    /// The same for a turn, which takes longer.
    pub turn_lease: TimeDelta,
    /// The same for a call to Runtime Manager.
    pub rtm_lease: TimeDelta,
    /// How long a stop waits for a running turn.
    pub drain: TimeDelta,
    /// At most one snapshot in this time for a change of the health summary alone.
    pub health_debounce: TimeDelta,
    /// From how many failed probes in a row `probe_failed` counts.
    pub probe_failed_threshold: u32,
    /// The delay before the first unbidden question to an unwell engine; doubled each time.
    pub retry_base: TimeDelta,
    /// The longest such delay.
    pub retry_cap: TimeDelta,
    /// How often a failed generation is looked at unbidden before it waits for an operator. An
    /// unreachable engine is asked without end, at the capped delay.
    pub max_tries: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            probe_lease: TimeDelta::seconds(15),
            turn_lease: TimeDelta::seconds(90),
            rtm_lease: TimeDelta::seconds(90),
            drain: TimeDelta::seconds(60),
            health_debounce: TimeDelta::seconds(10),
            probe_failed_threshold: 3,
            retry_base: TimeDelta::seconds(2),
            retry_cap: TimeDelta::minutes(5),
            max_tries: 8,
        }
    }
}

impl Policy {
    /// The delay before the next unbidden question after `tries` of them: doubles up to the cap.
    pub fn retry_delay(&self, tries: u32) -> TimeDelta {
        // 2^20 base delays exceed any sensible cap; the clamp keeps the shift in range.
        let factor = 1_i32 << tries.min(20);
        self.retry_base.checked_mul(factor).map_or(self.retry_cap, |d| d.min(self.retry_cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let policy = Policy::default();
        let seconds: Vec<i64> =
            (0..10).map(|tries| policy.retry_delay(tries).num_seconds()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(policy.retry_delay(u32::MAX), policy.retry_cap);
    }
}
