//! When a record wants attention by itself.
//!
//! Every timer is one variant of [`Timer`] and belongs to the record; a store keeps the earliest as
//! one column, so that one index finds whatever is due: ticks, leases, retries and debounce windows.

use crate::event::Event;
use crate::record::{Life, PendingState, Runtime};
use crate::time::Timestamp;

/// What a record waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The next regular turn.
    Tick,
    /// The end of the lease of the question to the engine.
    WorkLease,
    /// The end of the lease of the question to Runtime Manager, or of the drain.
    PendingLease,
    /// The next unbidden question to an unwell engine.
    Retry,
    /// The end of the debounce window.
    Summary,
}

impl Timer {
    /// What happens when it strikes.
    pub fn event(self) -> Event {
        match self {
            Self::Tick => Event::Tick,
            Self::WorkLease => Event::WorkLeaseExpired,
            Self::PendingLease => Event::PendingLeaseExpired,
            Self::Retry => Event::RetryDue,
            Self::Summary => Event::SummaryDue,
        }
    }
}

impl Runtime {
    /// The timers that are set. Each, once its instant is reached, is an event that `step` accepts:
    /// a due timer never comes to nothing, so that nobody spins on it.
    pub fn timers(&self) -> impl Iterator<Item = (Timestamp, Timer)> {
        let pending = self.pending().map(|p| match &p.state {
            PendingState::Draining { until } => (*until, Timer::PendingLease),
            PendingState::Asked { lease, .. } => (lease.expires_at, Timer::PendingLease),
        });
        let engine = match &self.life {
            Life::Starting { work, .. } | Life::Generating { work, .. } => {
                Some((work.lease.expires_at, Timer::WorkLease))
            }
            Life::Running { clock, pending: None } => Some((clock.next_generation_at, Timer::Tick)),
            Life::Failed { repair, pending, .. } | Life::Unreachable { repair, pending, .. } => {
                match &repair.probe {
                    Some(probe) => Some((probe.lease.expires_at, Timer::WorkLease)),
                    None if pending.is_none() => repair.retry_at.map(|at| (at, Timer::Retry)),
                    None => None,
                }
            }
            Life::Running { pending: Some(_), .. }
            | Life::Stopped { .. }
            | Life::Finished { .. } => None,
        };
        let told = self.health.published == Some(self.health.summary);
        let speaks = match self.life {
            Life::Starting { .. } | Life::Stopped { .. } | Life::Finished { .. } => false,
            Life::Running { .. }
            | Life::Generating { .. }
            | Life::Failed { .. }
            | Life::Unreachable { .. } => true,
        };
        let summary = (speaks && !told)
            .then(|| (self.health.publish_at.unwrap_or(self.updated_at), Timer::Summary));
        [engine, pending, summary].into_iter().flatten()
    }

    /// The timer that strikes first.
    pub fn next_timer(&self) -> Option<(Timestamp, Timer)> {
        self.timers().min()
    }
}
