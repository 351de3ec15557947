//! How an engine that failed or went silent is asked where it stands; shared by
//! `generation_failed` and `engine_unreachable`.

use super::draft::Draft;
use super::{Context, Verdict, admin, turn};
use crate::audit::{OperationKind, Outcome};
use crate::event::EngineState;
use crate::failure::{EngineFailure, Failure, FailureCode};
use crate::ids::Ticket;
use crate::record::{Life, Pending, Repair, Runtime, TurnClock, Work};
use crate::rejection::{Ignored, Rejection};

/// Asks on behalf of a new operation; a question under way is superseded.
pub(super) fn ask(mut d: Draft<'_>, under_way: Option<&Work>, kind: OperationKind) -> Verdict {
    d.abandon(under_way, Outcome::Superseded);
    let operation = d.open(kind);
    let probe = d.probe(operation);
    set_repair(&mut d, Repair { probe: Some(probe), retry_at: None });
    d.commit()
}

fn set_repair(d: &mut Draft<'_>, value: Repair) {
    if let Life::Failed { repair, .. } | Life::Unreachable { repair, .. } = &mut d.next.life {
        *repair = value;
    }
}

/// An administrator asks: the count of unbidden questions begins anew.
pub(super) fn reconcile(
    rt: &Runtime,
    repair: &Repair,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    admin::nothing_pending(pending)?;
    let mut d = Draft::of(rt, cx);
    d.next.tries = 0;
    Ok(ask(d, repair.probe.as_ref(), OperationKind::Reconcile))
}

/// Game Master asks by itself.
pub(super) fn retry_due(
    rt: &Runtime,
    repair: &Repair,
    pending: Option<&Pending>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    if pending.is_some() {
        return Err(Rejection::Ignored(Ignored::Pending));
    }
    if repair.probe.is_some() || repair.retry_at.is_none_or(|at| at > cx.now) {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    let mut d = Draft::of(rt, cx);
    d.next.tries = d.next.tries.saturating_add(1);
    Ok(ask(d, None, OperationKind::Retry))
}

/// The lease of the question ran out.
pub(super) fn lease_expired(
    rt: &Runtime,
    repair: &Repair,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let Some(work) = &repair.probe else {
        return Err(Rejection::Ignored(Ignored::Status));
    };
    if work.lease.expires_at > cx.now {
        return Err(Rejection::Ignored(Ignored::NotDue));
    }
    Ok(ask_again(rt, work, cx))
}

/// The process that asked the engine, or Runtime Manager, is gone.
pub(super) fn abandoned(
    rt: &Runtime,
    repair: &Repair,
    ticket: Ticket,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    match &repair.probe {
        Some(work) if rt.work_matches(ticket) => Ok(ask_again(rt, work, cx)),
        Some(_) | None => admin::abandoned(rt, ticket, cx),
    }
}

/// The asker is gone: fence it off and ask again. A failed game that was asked often enough waits
/// for an operator instead; an unreachable engine is asked without end.
fn ask_again(rt: &Runtime, work: &Work, cx: &Context<'_>) -> Verdict {
    let mut d = Draft::of(rt, cx);
    d.note(OperationKind::Recovery, Outcome::Succeeded);
    let exhausted = matches!(rt.life, Life::Failed { .. }) && rt.tries >= cx.policy.max_tries;
    let probe = if exhausted {
        let message = "the engine was asked where it stands and no answer was ever recorded";
        let failure = Failure::new(FailureCode::EngineUnreachable, message);
        d.abandon(Some(work), Outcome::Failed(failure.clone()));
        d.next.last_failure = Some(failure);
        None
    } else {
        d.next.tries = d.next.tries.saturating_add(1);
        Some(d.probe(work.operation))
    };
    set_repair(&mut d, Repair { probe, retry_at: None });
    d.commit()
}

/// What the engine says of itself.
pub(super) fn answered(
    rt: &Runtime,
    clock: TurnClock,
    pending: Option<&Pending>,
    ticket: Ticket,
    result: &Result<EngineState, EngineFailure>,
    cx: &Context<'_>,
) -> Result<Verdict, Rejection> {
    let Some(work) = rt.work().filter(|_| rt.work_matches(ticket)) else {
        return Err(Rejection::Stale);
    };
    let operation = Some(work.operation);
    let mut d = Draft::of(rt, cx);
    let state = match result {
        Ok(state) => state,
        Err(failure) => return Ok(no_answer(d, clock, work, pending, failure)),
    };
    let stats = match turn::standings(&rt.roster, state) {
        Ok(stats) => stats,
        Err(problem) => {
            let failure = Failure::new(FailureCode::EngineProtocolViolation, problem);
            return Ok(turn::fail(d, clock, operation, pending, failure));
        }
    };
    if Some(state.turn) == rt.current_turn.checked_add(1) {
        return Ok(turn::complete(d, clock, operation, pending, state, stats));
    }
    if state.turn != rt.current_turn {
        let failure = turn::impossible_turn(rt.current_turn, state.turn);
        return Ok(turn::fail(d, clock, operation, pending, failure));
    }
    d.close(work.operation, Outcome::Succeeded);
    d.next.player_turn_stats = stats;
    if state.finished {
        return Ok(turn::finish(d, pending));
    }
    // An outage says nothing of how the next turn will fare. Out of a failed generation the count
    // stays until a turn succeeds, or a turn that always fails would be tried without end.
    if matches!(rt.life, Life::Unreachable { .. }) {
        d.next.tries = 0;
    }
    // `next_generation_at` stays: where it passed meanwhile, one turn is due at once.
    d.next.life = Life::Running { clock, pending: pending.cloned() };
    d.snapshot();
    Ok(d.commit())
}

/// A silent engine is asked again, later each time; one that answers and refuses, or answers
/// nonsense, is not, and shows as failed rather than as unreachable.
fn no_answer(
    mut d: Draft<'_>,
    clock: TurnClock,
    work: &Work,
    pending: Option<&Pending>,
    failure: &EngineFailure,
) -> Verdict {
    let failure = failure.to_failure();
    if !failure.code.may_pass() {
        return turn::fail(d, clock, Some(work.operation), pending, failure);
    }
    d.close(work.operation, Outcome::Failed(failure.clone()));
    d.next.last_failure = Some(failure);
    let unreachable = matches!(d.next.life, Life::Unreachable { .. });
    let again = unreachable || d.next.tries < d.cx.policy.max_tries;
    let retry_at = again.then(|| d.cx.now + d.cx.policy.retry_delay(d.next.tries));
    set_repair(&mut d, Repair { probe: None, retry_at });
    d.commit()
}
