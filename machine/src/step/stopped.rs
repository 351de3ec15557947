//! `stopped`: final. The summary of the container that was taken down is still recorded.

use super::health::{self, Voice};
use super::{Context, Verdict};
use crate::event::Event;
use crate::record::{Runtime, Status};
use crate::rejection::{Conflict, Ignored, Rejection};

pub(super) fn step(rt: &Runtime, event: &Event, cx: &Context<'_>) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::Force | Event::Patch { .. } | Event::Reconcile => {
            Err(Rejection::NotRunning(Status::Stopped))
        }
        Event::Stop { .. } => Ok(Verdict::Unchanged),
        Event::Health(report) => health::summary_only(rt, report, Voice::Silent, cx),
        Event::Tick
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
