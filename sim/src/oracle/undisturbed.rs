//! What must hold besides in lives in which nothing goes wrong: processes end only when they are told
//! to, and finish first what they have begun.
//!
//! Where things do go wrong, leases that run out and looks at the store mend what was left behind, and
//! would hide that it was left without need.

use machine::{AuditMark, OperationKind, Timestamp};
use service::ports::Commit;

use super::Oracle;

impl Oracle {
    /// Nothing will go wrong; a timer may be struck so late all the same.
    pub fn nothing_goes_wrong(&self, late_ms: i64) {
        super::lock(&self.inner).undisturbed = Some(late_ms);
    }

    /// What was begun is finished by whoever began it.
    pub(super) fn was_abandoned(commit: &Commit) -> bool {
        let is_recovery = |mark: &AuditMark| match mark {
            AuditMark::Opened { kind, .. } | AuditMark::Instant { kind, .. } => {
                *kind == OperationKind::Recovery
            }
            AuditMark::Closed(_) => false,
        };
        commit.audit.iter().any(|entry| is_recovery(&entry.mark))
    }

    /// Each timer strikes when it is due, seen at an instant.
    pub fn timers_strike(&self, now: Timestamp) {
        let Some(late_ms) = super::lock(&self.inner).undisturbed else { return };
        for (game, record) in self.records() {
            let due = record.as_deref().and_then(machine::Runtime::next_timer);
            if let Some((at, timer)) = due
                && (now - at).num_milliseconds() > late_ms
            {
                let how = format!("the timer {timer:?} of {at} has not struck by {now}");
                self.violated("every_timer_strikes_on_time", Some(&game), &how);
            }
        }
    }
}
