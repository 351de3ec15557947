//! What Runtime Manager says of the container.

use super::draft::Draft;
use super::{Context, Verdict};
use crate::audit::{OperationKind, Outcome};
use crate::event::HealthReport;
use crate::failure::{Failure, FailureCode};
use crate::record::{Life, Pending, Repair, Runtime, Summary};
use crate::rejection::{Ignored, Rejection};

/// Whether a change of the summary alone is told to the world.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// Published, debounced.
    Published,
    /// Recorded only.
    Silent,
}

/// Refuses what was applied before, what speaks of another container, and probes that failed too
/// few times in a row to mean anything.
///
/// INVARIANT `health_events_once_in_order`.
pub(super) fn check(
    rt: &Runtime,
    report: &HealthReport,
    cx: &Context<'_>,
) -> Result<(), Rejection> {
    let ignored = |why| Err(Rejection::Ignored(why));
    if rt.health.cursor.is_some_and(|cursor| report.id <= cursor) {
        return ignored(Ignored::AppliedBefore);
    }
    if rt.engine.container_id.as_ref().is_some_and(|known| *known != report.container_id) {
        return ignored(Ignored::OtherContainer);
    }
    let few = report.consecutive_failures < cx.policy.probe_failed_threshold;
    if report.summary == Summary::ProbeFailed && few {
        return ignored(Ignored::BelowThreshold);
    }
    Ok(())
}

/// Records the summary and nothing else.
pub(super) fn summary_only(
    rt: &Runtime,
    report: &HealthReport,
    voice: Voice,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    check(rt, report, cx)?;
    // SUBTLE: a repeated end moves the cursor all the same. Passed over, it would count when it is
    // delivered again after the engine came back. What repeats that all is well can do no harm.
    if report.summary == rt.health.summary && !report.summary.means_down() {
        return Err(Rejection::Ignored(Ignored::NothingNew));
    }
    let mut d = Draft::of(rt, cx);
    record(&mut d, report);
    if voice == Voice::Published {
        publish_if_allowed(&mut d);
    }
    Ok(d.commit())
}

/// Takes a checked report into the record.
pub(super) fn record(d: &mut Draft<'_>, report: &HealthReport) {
    d.next.health.summary = report.summary;
    d.next.health.cursor = Some(report.id);
    d.note(OperationKind::Health, Outcome::Succeeded);
}

/// The container is gone, unasked: whatever the engine was doing is fenced off.
///
/// While an admin operation is pending Runtime Manager takes the container down on purpose, and
/// only the summary changes.
pub(super) fn container_report(
    rt: &Runtime,
    pending: Option<&Pending>,
    report: &HealthReport,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if pending.is_some() || !report.summary.means_down() {
        return summary_only(rt, report, Voice::Published, cx);
    }
    check(rt, report, cx)?;
    let mut d = Draft::of(rt, cx);
    record(&mut d, report);
    lose_engine(&mut d);
    Ok(d.commit())
}

/// A game that was started has no engine any more; it is asked after now and then.
pub(super) fn lose_engine(d: &mut Draft<'_>) {
    let Some(clock) = d.next.clock() else { return };
    let summary = d.next.health.summary.as_str();
    let failure = Failure::new(
        FailureCode::EngineUnreachable,
        format!("the engine's container is down: {summary}"),
    );
    let work = d.next.work().cloned();
    d.abandon(work.as_ref(), Outcome::Failed(failure.clone()));
    d.next.last_failure = Some(failure);
    let retry_at = Some(d.cx.now + d.cx.policy.retry_delay(d.next.tries));
    let repair = Repair { probe: None, retry_at };
    d.next.life = Life::Unreachable { clock, repair, pending: None };
    d.snapshot();
}

/// Publishes a summary that differs from the one last published, where the debounce window allows;
/// else the end of the window will.
pub(super) fn publish_if_allowed(d: &mut Draft<'_>) {
    let health = &d.next.health;
    let news = health.published != Some(health.summary);
    if news && health.publish_at.is_none_or(|at| at <= d.cx.now) {
        d.next.health.publish_at = Some(d.cx.now + d.cx.policy.health_debounce);
        d.snapshot();
    }
}

/// The debounce window ended.
pub(super) fn summary_due(rt: &Runtime, cx: &Context<'_>) -> Result<Verdict, Rejection> {
    if rt.health.published == Some(rt.health.summary) {
        return Err(Rejection::Ignored(Ignored::NothingNew));
    }
    if rt.health.publish_at.is_some_and(|at| at > cx.now) {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    let mut d = Draft::of(rt, cx);
    d.note(OperationKind::HealthPublish, Outcome::Succeeded);
    publish_if_allowed(&mut d);
    Ok(d.commit())
}
