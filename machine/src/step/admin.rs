//! What Runtime Manager is asked to do, the same in every status that is not final.

use super::draft::Draft;
use super::{Context, Verdict};
use crate::audit::{OperationKind, Outcome};
use crate::effect::Call;
use crate::failure::{Failure, FailureCode, RtmFailure};
use crate::ids::{ContainerId, StopReason, Ticket};
use crate::record::{Life, Pending, PendingKind, PendingState, Runtime, Summary};
use crate::rejection::{Conflict, Ignored, Rejection};
use crate::version::{EngineVersion, ImageRef};

/// What is in the way of another admin operation.
pub(super) fn conflict_with(pending: &Pending) -> Rejection {
    Rejection::Conflict(match pending.what {
        PendingKind::Stop { .. } => Conflict::StopPending,
        PendingKind::Patch { .. } => Conflict::PatchPending,
    })
}

/// Refuses where an admin operation is under way.
pub(super) fn nothing_pending(pending: Option<&Pending>) -> Result<(), Rejection> {
    pending.map_or(Ok(()), |p| Err(conflict_with(p)))
}

/// Whether a stop waits for the running turn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// A turn is being generated: wait for it, within the deadline.
    WaitForTurn,
    /// There is nothing to wait for.
    AtOnce,
}

/// A stop takes the place of a pending patch; a second stop is a conflict.
pub(super) fn stop(
    rt: &Runtime,
    pending: Option<&Pending>,
    reason: &StopReason,
    drain: Drain,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let mut d = Draft::of(rt, cx);
    match pending {
        None => {}
        Some(p) if matches!(p.what, PendingKind::Patch { .. }) => {
            d.close(p.operation, Outcome::Superseded);
        }
        Some(p) => return Err(conflict_with(p)),
    }
    let operation = d.open(OperationKind::Stop);
    let what = PendingKind::Stop { reason: reason.clone() };
    let state = match drain {
        Drain::WaitForTurn => PendingState::Draining { until: cx.now + cx.policy.drain },
        Drain::AtOnce => ask(&mut d, &what),
    };
    d.set_pending(Some(Pending { what, operation, state }));
    Ok(d.commit())
}

/// A patch keeps `major.minor`. Whether the engine honours `expected_turn` may change with it.
pub(super) fn patch(
    rt: &Runtime,
    pending: Option<&Pending>,
    (version, image_ref, turn_guard): (&EngineVersion, &ImageRef, bool),
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    nothing_pending(pending)?;
    if !rt.engine.version.can_be_patched_to(version) {
        return Err(Rejection::SemverPatchOnly {
            from: rt.engine.version.clone(),
            to: version.clone(),
        });
    }
    let mut d = Draft::of(rt, cx);
    let operation = d.open(OperationKind::Patch);
    let what =
        PendingKind::Patch { version: version.clone(), image_ref: image_ref.clone(), turn_guard };
    let state = ask(&mut d, &what);
    d.set_pending(Some(Pending { what, operation, state }));
    Ok(d.commit())
}

/// Asks Runtime Manager under a new attempt number: an answer to an earlier question about the same
/// operation no longer counts, so that a late failure cannot undo a repeat that succeeded.
fn ask(d: &mut Draft<'_>, what: &PendingKind) -> PendingState {
    let call = match what {
        PendingKind::Stop { reason } => Call::Stop { reason: reason.clone() },
        PendingKind::Patch { image_ref, .. } => Call::Patch { image_ref: image_ref.clone() },
    };
    let lease = d.cx.policy.rtm_lease;
    let (attempt, lease) = d.ask(call, lease);
    PendingState::Asked { attempt, lease }
}

/// What is pending once no turn runs any more: a stop that drained goes out.
pub(super) fn release(d: &mut Draft<'_>, pending: Option<&Pending>) -> Option<Pending> {
    let pending = pending?;
    let state = match pending.state {
        PendingState::Draining { .. } => ask(d, &pending.what),
        PendingState::Asked { .. } => pending.state.clone(),
    };
    Some(Pending { state, ..pending.clone() })
}

/// The lease of the call, or the drain deadline, ran out: ask (again).
pub(super) fn lease_expired(
    rt: &Runtime,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let Some(pending) = pending else {
        return Err(Rejection::Ignored(Ignored::Status));
    };
    let ends_at = match &pending.state {
        PendingState::Draining { until } => *until,
        PendingState::Asked { lease, .. } => lease.expires_at,
    };
    if ends_at > cx.now {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    Ok(ask_again(rt, pending, cx))
}

/// The process that asked Runtime Manager is gone.
pub(super) fn abandoned(
    rt: &Runtime,
    ticket: Ticket,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    Ok(ask_again(rt, answered(rt, ticket)?, cx))
}

fn ask_again(rt: &Runtime, pending: &Pending, cx: &Context<'_>) -> Verdict {
    let mut d = Draft::of(rt, cx);
    d.note(OperationKind::Recovery, Outcome::Succeeded);
    let state = ask(&mut d, &pending.what);
    d.set_pending(Some(Pending { state, ..pending.clone() }));
    d.commit()
}

/// Runtime Manager's answer to a stop.
pub(super) fn stop_done(
    rt: &Runtime,
    ticket: Ticket,
    result: &Result<(), RtmFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let pending = answered(rt, ticket)?;
    if !matches!(pending.what, PendingKind::Stop { .. }) {
        return Err(Rejection::Stale);
    }
    let mut d = Draft::of(rt, cx);
    if let Err(failure) = result {
        return Ok(refused(d, pending, failure));
    }
    d.close(pending.operation, Outcome::Succeeded);
    let stopped = Failure::new(FailureCode::Conflict, "the runtime was stopped");
    d.abandon(rt.work(), Outcome::Failed(stopped));
    d.next.life = Life::Stopped { at: cx.now };
    d.snapshot();
    Ok(d.commit())
}

/// Runtime Manager's answer to a patch: the engine runs in a new container, of which nothing is
/// known yet.
pub(super) fn patch_done(
    rt: &Runtime,
    ticket: Ticket,
    result: &Result<ContainerId, RtmFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let pending = answered(rt, ticket)?;
    let PendingKind::Patch { version, image_ref, turn_guard } = &pending.what else {
        return Err(Rejection::Stale);
    };
    let mut d = Draft::of(rt, cx);
    let container = match result {
        Ok(container) => container,
        Err(failure) => return Ok(refused(d, pending, failure)),
    };
    d.close(pending.operation, Outcome::Succeeded);
    d.next.engine.version = version.clone();
    d.next.engine.image_ref = image_ref.clone();
    d.next.engine.turn_guard = *turn_guard;
    if d.next.engine.container_id.replace(container.clone()).as_ref() != Some(container) {
        d.next.health.summary = Summary::Unknown;
    }
    d.set_pending(None);
    super::health::publish_if_allowed(&mut d);
    if let Life::Unreachable { repair, .. } = &rt.life {
        d.abandon(repair.probe.as_ref(), Outcome::Superseded);
        let operation = d.open(OperationKind::Retry);
        let probe = Some(d.probe(operation));
        if let Life::Unreachable { repair, .. } = &mut d.next.life {
            repair.probe = probe;
            repair.retry_at = None;
        }
    }
    Ok(d.commit())
}

fn answered(rt: &Runtime, ticket: Ticket) -> Result<&Pending, Rejection> {
    let pending = rt.pending().filter(|_| rt.pending_matches(ticket));
    pending.ok_or(Rejection::Stale)
}

fn refused(mut d: Draft<'_>, pending: &Pending, failure: &RtmFailure) -> Verdict {
    let failure = failure.to_failure();
    d.close(pending.operation, Outcome::Failed(failure.clone()));
    d.next.last_failure = Some(failure);
    d.set_pending(None);
    // A container that went down meanwhile was held to be Runtime Manager's doing; it is not.
    if d.next.health.summary.means_down() && !matches!(d.next.life, Life::Unreachable { .. }) {
        super::health::lose_engine(&mut d);
    }
    d.commit()
}
