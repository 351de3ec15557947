//! `finished`: final. Nothing changes it, not even the summary.

use super::Verdict;
use crate::event::Event;
use crate::record::Status;
use crate::rejection::{Conflict, Ignored, Rejection};

pub(super) fn step(event: &Event) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::Stop { .. } => Err(Rejection::Conflict(Conflict::Finished)),
        Event::Force | Event::Patch { .. } | Event::Reconcile => {
            Err(Rejection::NotRunning(Status::Finished))
        }
        Event::Tick
        | Event::Health(_)
        | Event::WorkLeaseExpired
        | Event::PendingLeaseExpired
        | Event::RetryDue
        | Event::SummaryDue => Err(Rejection::Ignored(Ignored::Status)),
        Event::Abandoned(_)
        | Event::InitDone(..)
        | Event::TurnDone(..)
        | Event::ProbeDone(..)
        | Event::StopDone(..)
        | Event::PatchDone(..) => Err(Rejection::Stale),
    }
}
