//! `engine_unreachable`: the container is gone; asked again when it is back, and now and then.

use super::admin::{self, Drain};
use super::draft::Draft;
use super::health::{self, Voice};
use super::{Context, Verdict, repair};
use crate::audit::OperationKind;
use crate::event::{Event, HealthReport};
use crate::record::{Pending, Repair, Runtime, Status, Summary, TurnClock};
use crate::rejection::{Conflict, Ignored, Rejection};

pub(super) fn step(
    rt: &Runtime,
    clock: TurnClock,
    repair: &Repair,
    pending: Option<&Pending>,
    event: &Event,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    match event {
        Event::Register(_) => Err(Rejection::Conflict(Conflict::AlreadyRegistered)),
        Event::Force => {
            admin::nothing_pending(pending)?;
            Err(Rejection::NotRunning(Status::EngineUnreachable))
        }
        Event::Stop { reason } => admin::stop(rt, pending, reason, Drain::AtOnce, cx),
        Event::Patch { version, image_ref, turn_guard } => {
            admin::patch(rt, pending, (version, image_ref, *turn_guard), cx)
        }
        Event::Reconcile => repair::reconcile(rt, repair, pending, cx),
        Event::ProbeDone(ticket, result) => {
            repair::answered(rt, clock, pending, *ticket, result, cx)
        }
        Event::WorkLeaseExpired => repair::lease_expired(rt, repair, cx),
        Event::Abandoned(ticket) => repair::abandoned(rt, repair, *ticket, cx),
        Event::RetryDue => repair::retry_due(rt, repair, pending, cx),
        Event::Health(report) => container_report(rt, repair, pending, report, cx),
        Event::SummaryDue => health::summary_due(rt, cx),
        Event::StopDone(ticket, result) => admin::stop_done(rt, *ticket, result, cx),
        Event::PatchDone(ticket, result) => admin::patch_done(rt, *ticket, result, cx),
        Event::PendingLeaseExpired => admin::lease_expired(rt, pending, cx),
        Event::Tick => Err(Rejection::Ignored(Ignored::Status)),
        Event::InitDone(..) | Event::TurnDone(..) => Err(Rejection::Stale),
    }
}

/// A healthy container is asked where it stands, unless it is being asked already or is about to
/// be taken down.
fn container_report(
    rt: &Runtime,
    repair: &Repair,
    pending: Option<&Pending>,
    report: &HealthReport,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let ask = report.summary == Summary::Healthy && pending.is_none() && repair.probe.is_none();
    if !ask {
        return health::summary_only(rt, report, Voice::Published, cx);
    }
    health::check(rt, report, cx)?;
    let mut d = Draft::of(rt, cx);
    d.next.health.summary = report.summary;
    d.next.health.cursor = Some(report.id);
    health::publish_if_allowed(&mut d);
    Ok(repair::ask(d, None, OperationKind::Retry))
}
